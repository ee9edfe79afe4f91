"""Writes the built-in street pictures as a YOLO detection set."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2

from kd_yolo.data.meta import GENERATOR, VERSION, Record, label_line, picture_record, set_header, yaml_text
from kd_yolo.data.picture import draw_pictures, is_labelled
from kd_yolo.data.presets import SPLITS, StreetPreset, get_preset
from kd_yolo.errors import ConfigError

_JPEG_QUALITY = 85
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StreetReport:
    """What ``make_street`` made, or found already made.

    Args:
        folder: the set.
        data_yaml: what training takes.
        preset: name of the preset.
        seed: the seed.
        images: pictures by split.
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
    picture). Boxes surround what is seen of an object. An object is left out of the labels when less than 25 % of it is
    seen, or when its box is shorter than 8 px on the longer or 3 px on the shorter side; ``meta.jsonl`` keeps it, with
    its whole box, identity, occluders and parent. Nothing appears under ``out_dir`` before the set is complete.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another street set that is in ``out_dir``.
        workers: processes; the pictures do not depend on it.
        progress: called with (pictures done, pictures in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_preset(preset), Path(out_dir).absolute()
    found = _find(out_dir, plan, seed, force=force)
    if found is not None:
        return found
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.partial-", dir=out_dir.parent))
    try:
        header = _write_set(partial, plan, seed, workers, progress)
        partial.chmod(0o755)
        _move_into_place(partial, out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _report(out_dir, header, reused=False)


def _find(out_dir: Path, plan: StreetPreset, seed: int, *, force: bool) -> StreetReport | None:
    """The set when it is there already; None when there is room for it."""
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    header = _read_header(out_dir)
    if header is None:
        raise ConfigError(
            f"{out_dir} is not empty and was not made by this generator: it is left alone."
            " Name another folder or move it away."
        )
    wanted = {"preset": plan.name, "seed": seed, "version": VERSION}
    if {key: header.get(key) for key in wanted} == wanted and _is_complete(out_dir, header):
        return _report(out_dir, header, reused=True)
    if force:
        return None
    there = ", ".join(f"{key} {header.get(key)}" for key in wanted)
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
    raise ConfigError(
        f"{out_dir} holds another street set, or an incomplete one ({there}; asked for: {asked})."
        " Use --force to replace it or name another folder."
    )


def _read_header(out_dir: Path) -> Record | None:
    try:
        header = json.loads((out_dir / "meta.json").read_text())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("generator") == GENERATOR else None


def _is_complete(out_dir: Path, header: Record) -> bool:
    """Whether somebody has taken pictures or labels out of the set."""
    return (out_dir / "data.yaml").is_file() and all(
        sum(1 for _ in (out_dir / kind / split).glob(f"*.{ending}")) == header["images"][split]
        for kind, ending in (("images", "jpg"), ("labels", "txt"))
        for split in SPLITS
    )


def _move_into_place(partial: Path, out_dir: Path) -> None:
    """Renames the finished set to its name; a set to be replaced is renamed first and removed afterwards."""
    old = partial.with_name(partial.name.replace(".partial-", ".old-"))
    if out_dir.exists():
        out_dir.rename(old)
    try:
        partial.rename(out_dir)
    except OSError as error:
        if old.exists() and not out_dir.exists():
            old.rename(out_dir)
        raise ConfigError(f"{out_dir} cannot be replaced ({error}): another process may use it. Try again.") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_set(folder: Path, plan: StreetPreset, seed: int, workers: int, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns the header of ``meta.json``."""
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    total = sum(plan.images)
    records = []
    for record in _records(folder, plan, seed, workers):
        records.append(record)
        if progress is not None:
            progress(len(records), total)
    records.sort(key=lambda r: (SPLITS.index(r["split"]), r["index"]))
    header = set_header(plan, seed, records)
    (folder / "meta.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "data.yaml").write_text(yaml_text(plan, seed))
    (folder / "meta.json").write_text(json.dumps(header, indent=2) + "\n")
    return header


def _records(folder: Path, plan: StreetPreset, seed: int, workers: int) -> Iterator[Record]:
    """Writes pictures and labels, camera by camera, and yields each picture's meta line."""
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
    for picture in draw_pictures(plan, seed, camera):
        stem = f"{picture.split}_{picture.index:05d}_c{camera:02d}"
        written = cv2.imwrite(
            str(folder / "images" / picture.split / f"{stem}.jpg"),
            picture.frame.image,
            [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
        )
        if not written:
            raise OSError(f"cannot write {stem}.jpg under {folder}: is the disk full?")
        lines = [label_line(truth, plan) for truth in picture.frame.objects if is_labelled(truth)]
        (folder / "labels" / picture.split / f"{stem}.txt").write_text("".join(lines))
        yield picture_record(picture, f"images/{picture.split}/{stem}.jpg")


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
