"""The set on disk: complete or absent, reused when equal, never written over somebody's files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.presets import SPLITS, get_preset
from kd_yolo.builtin.street.actors import CLASS_NAMES
from kd_yolo.builtin.street_image import LONG_SIDE_MIN_PX, SHORT_SIDE_MIN_PX, VISIBLE_SHARE_MIN
from kd_yolo.builtin.street_set import StreetReport, make_street

WIDTH, HEIGHT = get_preset("smoke").width_px, get_preset("smoke").height_px


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "meta.jsonl").read_text().splitlines()]


def label_rows(folder: Path, record: dict) -> np.ndarray:
    file = folder / record["file"].replace("images", "labels").replace(".jpg", ".txt")
    return np.array([[float(word) for word in line.split()] for line in file.read_text().splitlines()]).reshape(-1, 5)


def test_the_preset_gives_the_counts(smoke_set: StreetReport) -> None:
    preset = get_preset("smoke")
    for split in SPLITS:
        images = sorted((smoke_set.folder / "images" / split).iterdir())
        labels = sorted((smoke_set.folder / "labels" / split).iterdir())
        assert [p.stem for p in images] == [p.stem for p in labels]
        assert len(images) == preset.num_images(split) == smoke_set.images[split]
    assert not smoke_set.reused


def test_data_yaml_has_no_path_key(smoke_set: StreetReport) -> None:
    body = yaml.safe_load(smoke_set.data_yaml.read_text())
    assert "path" not in body
    assert body["names"] == dict(enumerate(CLASS_NAMES))
    assert body["train"] == "images/train"


def test_label_rows_are_normalised_and_inside(smoke_set: StreetReport) -> None:
    rows = np.concatenate([label_rows(smoke_set.folder, r) for r in records(smoke_set.folder)])
    assert rows[:, 1:].min() > 0
    assert rows[:, 1:].max() <= 1
    corners = np.concatenate([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2])
    assert corners.min() >= -1e-6
    assert corners.max() <= 1 + 1e-6


def test_every_class_occurs_in_every_split(smoke_set: StreetReport) -> None:
    assert all(smoke_set.boxes[split][name] > 0 for split in SPLITS for name in CLASS_NAMES)


def test_labels_are_the_visible_boxes_of_the_meta(smoke_set: StreetReport) -> None:
    counted = {split: dict.fromkeys(CLASS_NAMES, 0) for split in SPLITS}
    for record in records(smoke_set.folder):
        labelled = [o for o in record["objects"] if o["labelled"]]
        rows = label_rows(smoke_set.folder, record)
        assert [CLASS_NAMES[int(row[0])] for row in rows] == [o["class"] for o in labelled]
        for row, item in zip(rows, labelled, strict=True):
            counted[record["split"]][item["class"]] += 1
            corners = np.array([row[1] - row[3] / 2, row[2] - row[4] / 2, row[1] + row[3] / 2, row[2] + row[4] / 2])
            np.testing.assert_allclose(corners * (WIDTH, HEIGHT, WIDTH, HEIGHT), item["box"], atol=1e-3)
    assert counted == smoke_set.boxes


def test_the_label_rule_holds(smoke_set: StreetReport) -> None:
    for record in records(smoke_set.folder):
        for item in record["objects"]:
            x0, y0, x1, y1 = item["box"]
            short, long = sorted((x1 - x0, y1 - y0))
            large = short >= SHORT_SIDE_MIN_PX and long >= LONG_SIDE_MIN_PX
            # The share is rounded in the file.
            assert item["labelled"] == (large and item["visible"] >= VISIBLE_SHARE_MIN - 1e-4)


def test_meta_gives_what_later_sets_need(smoke_set: StreetReport) -> None:
    people: dict[str, set[int]] = {split: set() for split in SPLITS}
    for record in records(smoke_set.folder):
        objects = record["objects"]
        assert record["camera"] == record["index"] % get_preset("smoke").cameras
        here = [o["identity"] for o in objects if o["class"] == "person"]
        assert len(here) == len(set(here)), "nobody is twice in an image"
        people[record["split"]] |= set(here)
        for place, item in enumerate(objects):
            assert (item["identity"] >= 0) == (item["class"] == "person")
            assert place not in item["occluders"]
            assert all(0 <= other < len(objects) for other in item["occluders"])
            assert item["parent"] == -1 or objects[item["parent"]]["class"] == "person"
    assert all(people.values())
    assert not people["train"] & people["test"]
    assert not people["train"] & people["val"]
    assert not people["val"] & people["test"]


def test_an_equal_set_is_reused(smoke_set: StreetReport) -> None:
    before = (smoke_set.folder / "meta.json").stat().st_mtime_ns
    again = make_street(smoke_set.folder, "smoke")
    assert again.reused
    assert (again.images, again.boxes) == (smoke_set.images, smoke_set.boxes)
    assert (smoke_set.folder / "meta.json").stat().st_mtime_ns == before


@pytest.fixture
def copy(smoke_set: StreetReport, tmp_path: Path) -> Path:
    """A set to break."""
    return Path(shutil.copytree(smoke_set.folder, tmp_path / "set"))


def test_another_seed_needs_force(copy: Path, tmp_path: Path) -> None:
    folder, first = copy, make_street(copy, "smoke")
    assert first.reused
    with pytest.raises(ConfigError, match=r"seed 0.*asked for: preset smoke, seed 2.*--force"):
        make_street(folder, "smoke", seed=2)
    second = make_street(folder, "smoke", seed=2, force=True)
    assert (second.seed, second.reused) == (2, False)
    assert second.boxes != first.boxes
    assert [p.name for p in tmp_path.iterdir()] == ["set"], "nothing is left beside the set"


def test_an_incomplete_set_is_not_reused(copy: Path) -> None:
    next((copy / "labels" / "val").iterdir()).unlink()
    with pytest.raises(ConfigError, match="incomplete"):
        make_street(copy, "smoke")


@pytest.mark.parametrize("force", [False, True])
def test_other_peoples_files_are_left_alone(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not made by this generator"):
        make_street(tmp_path, "smoke", force=force)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert total == 24
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_street(tmp_path / "new" / "set", "smoke", progress=interrupt)
    assert list((tmp_path / "new").iterdir()) == []


def test_an_interrupted_replacement_keeps_the_old_set(copy: Path) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_street(copy, "smoke", seed=1, force=True, progress=interrupt)
    assert make_street(copy, "smoke").reused


def test_a_failed_replacement_puts_the_old_set_back(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ConfigError, match="cannot be replaced"):
        make_street(copy, "smoke", seed=1, force=True)
    assert make_street(copy, "smoke").reused
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_an_empty_folder_is_filled_and_progress_counts_every_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = make_street(tmp_path, "smoke", progress=lambda done, total: seen.append((done, total)))
    assert report.images["train"] == 12
    assert seen == [(done, 24) for done in range(1, 25)]


def test_processes_do_not_change_the_images(smoke_set: StreetReport, tmp_path: Path) -> None:
    report = make_street(tmp_path / "set", "smoke", workers=2)
    files = sorted(p.relative_to(smoke_set.folder) for p in smoke_set.folder.rglob("*.*") if p.is_file())
    assert files == sorted(p.relative_to(report.folder) for p in report.folder.rglob("*.*") if p.is_file())
    assert all((smoke_set.folder / file).read_bytes() == (report.folder / file).read_bytes() for file in files)


def test_an_unknown_preset_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'dmeo'. Did you mean 'demo'\? Known: smoke, demo, bench"):
        make_street(tmp_path / "set", "dmeo")
