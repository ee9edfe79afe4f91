"""The folder of a built-in set: drawn once, reused while it is whole, with a header; the lines that all sets have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from kd_yolo.data.folder import Record, find_made, write_whole


@dataclass(frozen=True)
class SetKey:
    """What tells a set from others; the first lines of its ``meta.json``.

    Attributes:
        generator: name of what draws it.
        version: of the drawing.
        preset: name of its size.
        seed: of everything in it.
    """

    generator: str
    version: int
    preset: str
    seed: int


def make_set(
    out_dir: Path,
    key: SetKey,
    kinds: Mapping[str, str],
    draw: Callable[[Path], Record],
    *,
    force: bool,
    listing: str = "data.yaml",
) -> tuple[Record, bool]:
    """Draws a set, unless it is there already.

    Args:
        out_dir: the set's folder.
        key: which set.
        kinds: folders with a file per image, and how these files end.
        draw: fills the folder that it is given and returns what the header says beyond ``key``.
        force: replace another set of this generator.
        listing: the file beside ``meta.json`` that a whole set has.

    Returns:
        The header, and whether the set was there already.

    Raises:
        ConfigError: ``out_dir`` holds something else, or another process uses it.
    """
    wanted = {"preset": key.preset, "seed": key.seed, "version": key.version}
    found = find_made(out_dir, key.generator, wanted, kinds, force=force, listing=listing)
    if found is not None:
        return found, True
    return write_whole(out_dir, lambda partial: {**asdict(key), **draw(partial)}), False


def label_line(class_id: int, box_xyxy: Sequence[float], size_wh: tuple[int, int]) -> str:
    """One line of a YOLO label file: class, centre and size of a box in pixels as shares of the image."""
    (x0, y0, x1, y1), (width, height) = box_xyxy, size_wh
    numbers = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
    return " ".join([str(class_id), *(f"{number:.6f}" for number in numbers)]) + "\n"


def yaml_text(key: SetKey, splits: Iterable[str], class_names: Sequence[str]) -> str:
    """``data.yaml``. No ``path`` key: ultralytics then takes the paths from the file's own folder, wherever it runs."""
    body: Record = {split: f"images/{split}" for split in splits}
    body["names"] = dict(enumerate(class_names))
    head = f"# kd-yolo data make {key.generator} --preset {key.preset} --seed {key.seed}\n"
    return head + yaml.safe_dump(body, sort_keys=False)
