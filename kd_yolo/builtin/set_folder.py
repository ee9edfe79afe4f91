"""The folder of a built-in set: drawn once, reused while it is whole, with a header that says what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

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
