"""Writes the built-in street images as a YOLO detection set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from kd_yolo.base.files import write_image
from kd_yolo.builtin.meta import GENERATOR, VERSION, image_record, set_facts
from kd_yolo.builtin.presets import SPLITS, StreetPreset, get_preset
from kd_yolo.builtin.set_folder import SetKey, label_line, make_set, yaml_text
from kd_yolo.builtin.street.actors import CLASS_NAMES
from kd_yolo.builtin.street_image import draw_images, is_labelled
from kd_yolo.data.folder import Progress, Record

_JPEG_QUALITY = 85


@dataclass(frozen=True)
class StreetReport:
    """What ``make_street`` made, or found already made.

    Args:
        folder: the set.
        data_yaml: what training takes.
        preset: name of the preset.
        seed: the seed.
        images: images by split.
        boxes: labelled boxes by split and class name.
        reused: the set was already there and was not drawn again.
    """

    folder: Path
    data_yaml: Path
    preset: str
    seed: int
    images: dict[str, int]
    boxes: dict[str, dict[str, int]]
    reused: bool


def make_street(
    out_dir: Path,
    preset: str = "demo",
    seed: int = 0,
    *,
    force: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> StreetReport:
    """Makes the built-in detection set.

    It holds ``images/<split>``, ``labels/<split>``, ``data.yaml``, ``meta.json`` (the set) and ``meta.jsonl`` (a line a
    image). Boxes surround what is seen of an object. An object is left out of the labels when less than 25 % of it is
    seen, or when its box is shorter than 8 px on the longer or 3 px on the shorter side; ``meta.jsonl`` keeps it, with
    its whole box, identity, occluders and parent. Nothing appears under ``out_dir`` before the set is complete.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another street set that is in ``out_dir``.
        workers: processes; the images do not depend on it.
        progress: called with (images done, images in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_preset(preset), Path(out_dir).absolute()
    key = SetKey(GENERATOR, VERSION, plan.name, seed)
    header, reused = make_set(
        out_dir, key, {"images": "jpg", "labels": "txt"},
        lambda partial: _write_set(partial, plan, key, workers, progress), force=force,
    )  # fmt: skip
    return _report(out_dir, header, reused=reused)


def _write_set(folder: Path, plan: StreetPreset, key: SetKey, workers: int, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns what ``meta.json`` says of it."""
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    total = sum(plan.images)
    records = []
    for record in _records(folder, plan, key.seed, workers):
        records.append(record)
        if progress is not None:
            progress(len(records), total)
    records.sort(key=lambda r: (SPLITS.index(r["split"]), r["index"]))
    (folder / "meta.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "data.yaml").write_text(yaml_text(key, SPLITS, CLASS_NAMES))
    return set_facts(plan, records)


def _records(folder: Path, plan: StreetPreset, seed: int, workers: int) -> Iterator[Record]:
    """Writes images and labels, camera by camera, and yields each image's meta line."""
    if workers <= 1:
        for camera in range(plan.cameras):
            yield from _write_camera(folder, plan, seed, camera)
        return
    # Spawned, not forked: a fork would inherit OpenCV's and torch's threads in whatever state they are.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_camera_records, folder, plan, seed, camera) for camera in range(plan.cameras)]
        for task in tasks:
            yield from task.result()


def _camera_records(folder: Path, plan: StreetPreset, seed: int, camera: int) -> list[Record]:
    return list(_write_camera(folder, plan, seed, camera))


def _write_camera(folder: Path, plan: StreetPreset, seed: int, camera: int) -> Iterator[Record]:
    for image in draw_images(plan, seed, camera):
        stem = f"{image.split}_{image.index:05d}_c{camera:02d}"
        file = folder / "images" / image.split / f"{stem}.jpg"
        write_image(file, image.frame.image, jpeg_quality=_JPEG_QUALITY, sync=False)
        lines = [
            label_line(CLASS_NAMES.index(truth.class_name), truth.visible_xyxy, (plan.width_px, plan.height_px))
            for truth in image.frame.objects
            if is_labelled(truth)
        ]
        (folder / "labels" / image.split / f"{stem}.txt").write_text("".join(lines))
        yield image_record(image, f"images/{image.split}/{stem}.jpg")


def _report(folder: Path, header: Record, *, reused: bool) -> StreetReport:
    return StreetReport(
        folder=folder,
        data_yaml=folder / "data.yaml",
        preset=header["preset"],
        seed=header["seed"],
        images=dict(header["images"]),
        boxes={split: dict(counts) for split, counts in header["boxes"].items()},
        reused=reused,
    )
