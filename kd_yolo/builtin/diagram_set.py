"""Writes the built-in diagrams as a YOLO detection set with ``plabels``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_yolo.base.files import write_image
from kd_yolo.builtin.diagram.render import Drawing, draw_diagram
from kd_yolo.builtin.diagram.tree import CLASS_NAMES
from kd_yolo.builtin.presets import DiagramPreset, get_diagram_preset
from kd_yolo.builtin.set_folder import SetKey, make_set, yaml_text
from kd_yolo.data.folder import Progress, Record
from kd_yolo.data.plabels import format_plabels

GENERATOR = "diagram"
VERSION = 1  # raise it whenever the same seed gives other images or labels
_KINDS = {"images": "jpg", "labels": "txt", "plabels": "txt"}
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class DiagramReport:
    """What ``make_diagram`` made, or found already made.

    Args:
        folder: the set.
        data_yaml: what training takes.
        images: images by split.
        boxes: boxes by split and class name.
        links: boxes with a parent by split.
        reused: the set was already there and was not drawn again.
    """

    folder: Path
    data_yaml: Path
    images: dict[str, int]
    boxes: dict[str, dict[str, int]]
    links: dict[str, int]
    reused: bool


def make_diagram(
    out_dir: Path,
    preset: str = "demo",
    seed: int = 0,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> DiagramReport:
    """Makes the built-in diagrams.

    The set holds ``images/<split>``, ``labels/<split>``, ``plabels/<split>`` (see :mod:`kd_yolo.data.plabels`),
    ``data.yaml`` and ``meta.json``; the splits are train and val. Parents are those of the drawn tree: data and
    annotations in a lane belong to its pool, a thing drawn over a border to what it was drawn for. Nothing appears
    under ``out_dir`` before the set is complete.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another diagram set that is in ``out_dir``.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_diagram_preset(preset), Path(out_dir).absolute()
    key = SetKey(GENERATOR, VERSION, plan.name, seed)
    header, reused = make_set(
        out_dir, key, _KINDS, lambda partial: _write_set(partial, plan, key, progress), force=force
    )
    counts = {key: header[key] for key in ("images", "boxes", "links")}
    return DiagramReport(out_dir, out_dir / "data.yaml", **counts, reused=reused)


def _write_set(folder: Path, plan: DiagramPreset, key: SetKey, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns what ``meta.json`` says of it."""
    boxes = {split: dict.fromkeys(CLASS_NAMES, 0) for split in plan.images}
    links = dict.fromkeys(plan.images, 0)
    done, total = 0, sum(plan.images.values())
    for split, count in plan.images.items():
        for kind in _KINDS:
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            drawing = draw_diagram(key.seed, split, index, plan.width_px, plan.height_px)
            _write_drawing(folder, split, f"{split}_{index:05d}", drawing)
            for name, number in Counter(CLASS_NAMES[c] for c in drawing.classes).items():
                boxes[split][name] += number
            links[split] += sum(parent >= 0 for parent in drawing.parents)
            done += 1
            if progress is not None:
                progress(done, total)
    (folder / "data.yaml").write_text(yaml_text(key, plan.images, CLASS_NAMES))
    return {
        "size_px": [plan.width_px, plan.height_px],
        "classes": list(CLASS_NAMES),
        "images": plan.images,
        "boxes": boxes,
        "links": links,
    }


def _write_drawing(folder: Path, split: str, stem: str, drawing: Drawing) -> None:
    file = folder / "images" / split / f"{stem}.jpg"
    write_image(file, drawing.image, jpeg_quality=_JPEG_QUALITY, sync=False)
    height, width = drawing.image.shape[:2]
    corners = drawing.boxes_xyxy / (width, height, width, height)
    boxes = np.hstack([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]])
    text = format_plabels(drawing.classes, boxes, drawing.parents)
    (folder / "plabels" / split / f"{stem}.txt").write_text(text)
    lines = [" ".join(line.split()[:5]) + "\n" for line in text.splitlines()]
    (folder / "labels" / split / f"{stem}.txt").write_text("".join(lines))
