"""Writes crops of the built-in people as a re-identification set in the layout of Market-1501."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kd_yolo.base.files import write_image
from kd_yolo.builtin.presets import CropsPreset, get_crops_preset
from kd_yolo.builtin.set_folder import SetKey, make_set
from kd_yolo.builtin.sightings import Sighting, draw_sightings
from kd_yolo.data.folder import Progress, Record
from kd_yolo.data.market_name import DISTRACTOR, JUNK

GENERATOR = "reid"
VERSION = 2  # raise it whenever the same seed gives other images
TRAIN, QUERY, GALLERY = FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_LISTING = "meta.jsonl"
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class CropsReport:
    """What ``make_crops`` made, or found already made.

    Args:
        folder: the set.
        images: crops by folder.
        identities: people by folder, without distractors.
        cameras: cameras.
        reused: the set was already there and was not drawn again.
    """

    folder: Path
    images: dict[str, int]
    identities: dict[str, int]
    cameras: int
    reused: bool


def make_crops(
    out_dir: Path, preset: str = "demo", seed: int = 0, *, force: bool = False, progress: Progress | None = None
) -> CropsReport:
    """Makes the built-in re-identification set.

    It holds ``bounding_box_train``, ``query``, ``bounding_box_test`` with names as ``0002_c1s1_000451_03.jpg``
    (identity, camera, scene, person), ``meta.json`` and ``meta.jsonl`` (one line per crop). Identities and cameras are
    those of the drawn world; nobody is in both train and test. One crop of each test identity and camera is a query.
    The gallery has distractors (0) and junk (-1) besides, as Market-1501 has. Nothing appears under ``out_dir`` before
    the set is complete.

    Args:
        out_dir: the set's folder; a set with the same preset, seed and version that is already there is reused.
        preset: "smoke", "demo" or "bench".
        seed: of everything.
        force: replace another set of crops that is in ``out_dir``.
        progress: called with (crops of identities done, crops of identities in all).

    Raises:
        ConfigError: unknown preset, or ``out_dir`` holds something else.
    """
    plan, out_dir = get_crops_preset(preset), Path(out_dir).absolute()
    key = SetKey(GENERATOR, VERSION, plan.name, seed)
    header, reused = make_set(
        out_dir, key, {".": "jpg"}, lambda partial: _write_set(partial, plan, seed, progress),
        force=force, listing=_LISTING,
    )  # fmt: skip
    return CropsReport(out_dir, header["images"], header["identities"], header["cameras"], reused=reused)


def _write_set(folder: Path, plan: CropsPreset, seed: int, progress: Progress | None) -> Record:
    """Draws everything into ``folder`` and returns what ``meta.json`` says of it."""
    for name in FOLDERS:
        (folder / name).mkdir()
    lines, images, people = [], dict.fromkeys(FOLDERS, 0), defaultdict[str, set[int]](set)
    asked: set[tuple[int, int]] = set()
    done, total = 0, sum(plan.identities) * plan.cameras * plan.shots
    for sighting in _sightings(plan, seed):
        name = _folder_of(sighting, asked)
        write_image(folder / name / f"{sighting.stem}.jpg", sighting.image, jpeg_quality=_JPEG_QUALITY, sync=False)
        lines.append(json.dumps(_record(sighting, name)) + "\n")
        images[name] += 1
        if sighting.identity in (JUNK, DISTRACTOR):
            continue
        people[name].add(sighting.identity)
        done += 1
        if progress is not None:
            progress(done, total)
    (folder / _LISTING).write_text("".join(lines))
    return {
        "cameras": plan.cameras,
        "images": images,
        "identities": {name: len(people[name]) for name in FOLDERS},
    }


def _sightings(plan: CropsPreset, seed: int) -> Iterator[Sighting]:
    for split in ("train", "test"):
        for camera in range(plan.cameras):
            yield from draw_sightings(plan, seed, split, camera)


def _folder_of(sighting: Sighting, asked: set[tuple[int, int]]) -> str:
    """The first crop of a test identity and camera is a query."""
    if sighting.split == "train":
        return TRAIN
    key = sighting.identity, sighting.camera
    if sighting.identity in (JUNK, DISTRACTOR) or key in asked:
        return GALLERY
    asked.add(key)
    return QUERY


def _record(sighting: Sighting, folder: str) -> Record:
    height, width = sighting.image.shape[:2]
    return {
        "file": f"{folder}/{sighting.stem}.jpg",
        "identity": sighting.identity,
        "camera": sighting.camera,
        "size_px": [width, height],
    }
