"""Writes the built-in shapes as a YOLO detection set: the easy one, which a network learns from scratch in a minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.base.files import write_image
from kd_yolo.builtin.presets import ShapesPreset, get_shapes_preset
from kd_yolo.builtin.set_folder import SetKey, label_line, make_set, yaml_text
from kd_yolo.builtin.shapes import CLASS_NAMES, ShapesImage, draw_shapes
from kd_yolo.data.folder import Progress, Record

GENERATOR = "shapes"
VERSION = 1  # raise it whenever the same seed gives other images or labels
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class ShapesReport:
    """What ``make_shapes`` made, or found already made.

    Args:
        folder: the set.
        data_yaml: what training takes.
        images: images by split.
        boxes: boxes by split and class name.
        reused: the set was already there and was not drawn again.
    """

    folder: Path
    data_yaml: Path
    images: dict[str, int]
    boxes: dict[str, dict[str, int]]
    reused: bool


def make_shapes(
    out_dir: Path,
    preset: str = "demo",
    seed: int = 0,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> ShapesReport:
    """Makes the built-in shapes: ``images/<split>``, ``labels/<split>``, ``data.yaml`` and ``meta.json``.

    Nothing appears under ``out_dir`` before the set is complete.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another set of shapes that is in ``out_dir``.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_shapes_preset(preset), Path(out_dir).absolute()
    key = SetKey(GENERATOR, VERSION, plan.name, seed)
    header, reused = make_set(
        out_dir, key, {"images": "jpg", "labels": "txt"},
        lambda partial: _write_set(partial, plan, key, progress), force=force,
    )  # fmt: skip
    return ShapesReport(out_dir, out_dir / "data.yaml", header["images"], header["boxes"], reused=reused)


def _write_set(folder: Path, plan: ShapesPreset, key: SetKey, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns what ``meta.json`` says of it."""
    boxes = {split: dict.fromkeys(CLASS_NAMES, 0) for split in plan.images}
    done, total = 0, sum(plan.images.values())
    for split, count in plan.images.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            drawn = draw_shapes(key.seed, split, index, plan.size_px)
            _write_image(folder, split, f"{split}_{index:05d}", drawn)
            for name, number in Counter(CLASS_NAMES[c] for c in drawn.classes).items():
                boxes[split][name] += number
            done += 1
            if progress is not None:
                progress(done, total)
    (folder / "data.yaml").write_text(yaml_text(key, plan.images, CLASS_NAMES))
    return {"size_px": plan.size_px, "classes": list(CLASS_NAMES), "images": plan.images, "boxes": boxes}


def _write_image(folder: Path, split: str, stem: str, drawn: ShapesImage) -> None:
    file = folder / "images" / split / f"{stem}.jpg"
    write_image(file, drawn.image, jpeg_quality=_JPEG_QUALITY, sync=False)
    size_px = drawn.image.shape[0]
    lines = [
        label_line(class_id, box, (size_px, size_px))
        for class_id, box in zip(drawn.classes, drawn.boxes_xyxy.tolist(), strict=True)
    ]
    (folder / "labels" / split / f"{stem}.txt").write_text("".join(lines))
