"""Crops of the built-in people: who is on them, where they lie, and that they are always the same."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.crops_set import FOLDERS, GALLERY, QUERY, TRAIN, CropsReport, make_crops
from kd_yolo.builtin.presets import get_crops_preset, preset_names
from kd_yolo.builtin.sightings import HEIGHT_MIN_PX, WIDTH_MIN_PX, Sighting, draw_sightings
from kd_yolo.builtin.street.camera import make_camera
from kd_yolo.builtin.street.sighting import make_tinted_camera
from kd_yolo.data.market_name import DISTRACTOR, JUNK

SMOKE = get_crops_preset("smoke")
GOLDEN = Path(__file__).with_name("golden_crops.json")
NAME = re.compile(r"(-1|\d{4})_c(\d)s1_(\d{6})_(\d{2})\.jpg")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> CropsReport:
    """The smoke preset, drawn once; tests must not write to it."""
    return make_crops(tmp_path_factory.mktemp("crops") / "smoke", "smoke")


@pytest.fixture(scope="module")
def one_camera() -> list[Sighting]:
    """The test crops of one camera."""
    return list(draw_sightings(SMOKE, 0, "test", 1))


def names(report: CropsReport, folder: str) -> list[tuple[int, int]]:
    """Identity and camera of each crop."""
    matched = [NAME.fullmatch(path.name) for path in sorted((report.folder / folder).iterdir())]
    assert all(matched)
    return [(int(m.group(1)), int(m.group(2))) for m in matched if m]


def as_blocks(sighting: Sighting) -> np.ndarray:
    """Mean colours of 6 x 3 parts."""
    image = cv2.resize(sighting.image.astype(np.float32), (36, 72), interpolation=cv2.INTER_AREA)
    return image.reshape(6, 12, 3, 12, 3).mean((1, 3))


@pytest.mark.parametrize("golden", json.loads(GOLDEN.read_text()), ids=lambda g: f"{g['split']}{g['camera']}")
def test_golden_crops(golden: dict) -> None:
    """Decoded values, as encoders differ. A change here needs a higher VERSION in kd_yolo/builtin/crops_set.py."""
    drawn = list(draw_sightings(SMOKE, golden["seed"], golden["split"], golden["camera"]))
    assert [sighting.stem for sighting in drawn] == [stem for stem, _ in golden["crops"]]
    for sighting, (stem, blocks) in zip(drawn, golden["crops"], strict=True):
        # A pixel on an edge of the box may change sides between versions of OpenCV.
        np.testing.assert_allclose(as_blocks(sighting), blocks, atol=12.0, err_msg=stem)
        assert abs(as_blocks(sighting) - blocks).mean() < 2.0


def test_crops_depend_on_seed_split_and_camera_only(one_camera: list[Sighting]) -> None:
    again = list(draw_sightings(SMOKE, 0, "test", 1))
    assert [s.stem for s in again] == [s.stem for s in one_camera]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(again, one_camera, strict=True))
    others = [next(draw_sightings(SMOKE, *key)).image for key in ((1, "test", 1), (0, "train", 1), (0, "test", 0))]
    assert all(not np.array_equal(one_camera[0].image, other) for other in others)


def test_everybody_comes_as_often_as_the_preset_says_in_different_scenes(one_camera: list[Sighting]) -> None:
    scenes = defaultdict(list)
    for sighting in one_camera:
        scenes[sighting.identity].append(sighting.scene)
    people = {number + 1 for number in SMOKE.identity_range("test")}
    assert set(scenes) - {JUNK, DISTRACTOR} == people
    assert all(len(set(scenes[who])) == len(scenes[who]) == SMOKE.shots for who in people)


def test_crops_are_large_enough(one_camera: list[Sighting]) -> None:
    sizes = np.array([sighting.image.shape[:2] for sighting in one_camera])
    # The box may lose a few per cent at each side, as a detector's does.
    assert (sizes >= (0.9 * HEIGHT_MIN_PX, 0.9 * WIDTH_MIN_PX)).all()


def test_cameras_have_colours_of_their_own() -> None:
    plain, tinted = ([make(0, number, 64, 48) for number in range(6)] for make in (make_camera, make_tinted_camera))
    assert [camera.street for camera in plain] == [camera.street for camera in tinted]
    assert np.ptp([c.balance[2] / c.balance[0] for c in tinted]) > 0.3
    assert len({camera.gain for camera in tinted}) == 6


@pytest.mark.parametrize("name", preset_names())
def test_nobody_is_in_train_and_test(name: str) -> None:
    preset = get_crops_preset(name)
    people = [number for split in ("train", "test", "distractors") for number in preset.identity_range(split)]
    assert people == list(range(sum(preset.identities) + preset.distractors))


def test_folders_and_names(smoke: CropsReport) -> None:
    found = {folder: names(smoke, folder) for folder in FOLDERS}
    assert {folder: len(crops) for folder, crops in found.items()} == smoke.images
    assert smoke.identities == {TRAIN: 8, QUERY: 4, GALLERY: 4}
    assert smoke.cameras == 3
    assert Counter(found[TRAIN]) == {(who, camera): 2 for who in range(1, 9) for camera in (1, 2, 3)}
    assert Counter(found[QUERY]) == {(who, camera): 1 for who in range(9, 13) for camera in (1, 2, 3)}
    known = [crop for crop in found[GALLERY] if crop[0] not in (JUNK, DISTRACTOR)]
    assert Counter(known) == {(who, camera): 1 for who in range(9, 13) for camera in (1, 2, 3)}


def test_the_meta_lists_every_crop(smoke: CropsReport) -> None:
    lines = [json.loads(line) for line in (smoke.folder / "meta.jsonl").read_text().splitlines()]
    files = {path.relative_to(smoke.folder).as_posix() for path in smoke.folder.rglob("*.jpg")}
    assert {line["file"] for line in lines} == files
    for line in lines:
        height, width = cv2.imread(str(smoke.folder / line["file"])).shape[:2]
        assert line["size_px"] == [width, height]
        matched = NAME.fullmatch(Path(line["file"]).name)
        assert matched is not None
        assert (line["identity"], line["camera"]) == (int(matched.group(1)), int(matched.group(2)))


def test_an_equal_set_is_reused_and_another_needs_force(smoke: CropsReport) -> None:
    again = make_crops(smoke.folder, "smoke")
    assert (again.reused, again.images, again.identities) == (True, smoke.images, smoke.identities)
    with pytest.raises(ConfigError, match=r"another reid set.*seed 0.*asked for: preset smoke, seed 2.*--force"):
        make_crops(smoke.folder, "smoke", seed=2)


def test_an_incomplete_set_is_not_reused_but_replaced_by_force(smoke: CropsReport, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(smoke.folder, tmp_path / "set"))
    next((folder / QUERY).iterdir()).unlink()
    with pytest.raises(ConfigError, match="incomplete"):
        make_crops(folder, "smoke")
    assert not make_crops(folder, "smoke", force=True).reused
    files = [sorted(path.name for path in place.rglob("*.jpg")) for place in (folder, smoke.folder)]
    assert files[0] == files[1]


def test_progress_and_an_interrupted_run(tmp_path: Path) -> None:
    seen = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_crops(tmp_path / "set", "smoke", progress=interrupt)
    assert seen == [(done, 72) for done in range(1, 8)]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_preset_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'dmeo'. Did you mean 'demo'\? Known: smoke, demo, bench"):
        make_crops(tmp_path / "set", "dmeo")
