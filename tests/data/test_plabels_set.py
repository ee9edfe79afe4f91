"""Sets with parents: a folder or a YAML, any kind of image, missing and stale files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.data.plabels import format_plabels
from kd_yolo.data.relation_set import read_bgr, read_relation_set

BOXES, PARENTS, CLASSES = [(0.5, 0.5, 0.8, 0.6), (0.4, 0.5, 0.2, 0.2)], [-1, 0], [0, 1]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images with labels and plabels in val and train, and a YAML."""
    text = format_plabels(CLASSES, BOXES, PARENTS)
    for split in ("train", "val"):
        for kind in ("images", "labels", "plabels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for name in ("a", "b"):
            cv2.imwrite(str(tmp_path / "set/images" / split / f"{name}.png"), np.full((24, 32, 3), 200, np.uint8))
            (tmp_path / "set/plabels" / split / f"{name}.txt").write_text(text)
            labels = "".join(" ".join(line.split()[:5]) + "\n" for line in text.splitlines())
            (tmp_path / "set/labels" / split / f"{name}.txt").write_text(labels)
    (tmp_path / "set/data.yaml").write_text("train: images/train\nval: images/val\nnames: [pool, task]\n")
    return tmp_path / "set"


@pytest.mark.parametrize("entry", ["", "data.yaml"])
def test_folder_and_yaml_give_the_same(root: Path, entry: str) -> None:
    samples = read_relation_set(root / entry, "val")
    assert [s.image.name for s in samples] == ["a.png", "b.png"]
    assert all(s.plabels == root / "plabels/val" / f"{s.image.stem}.txt" for s in samples)
    assert samples[0].truth.parents.tolist() == PARENTS
    assert samples[0].truth.boxes_xyxy(32, 24).shape == (2, 4)


def test_a_path_from_the_working_directory_will_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert len(read_relation_set(".", "val")) == 2
    assert len(read_relation_set("data.yaml", "train")) == 2


def test_a_folder_needs_neither_yaml_nor_labels(root: Path) -> None:
    (root / "data.yaml").unlink()
    for file in (root / "labels/val").iterdir():
        file.unlink()
    assert len(read_relation_set(root)) == 2


@pytest.mark.parametrize("entry", ["", "data.yaml"])
def test_any_kind_of_image(root: Path, entry: str) -> None:
    original = Image.new("RGB", (32, 24), (10, 20, 30))
    text = (root / "plabels/val/a.txt").read_text()
    for ending in ("gif", "webp", "TIF", "ppm", "bmp", "jp2", "tga"):
        original.save(root / "images/val" / f"x{ending}.{ending}")
        (root / "plabels/val" / f"x{ending}.txt").write_text(text)
    (root / "images/val/notes.md").write_text("no image")
    samples = read_relation_set(root / entry)
    assert len(samples) == 9
    for sample in samples:
        image = read_bgr(sample.image)
        assert image.shape == (24, 32, 3)
        if sample.image.name.startswith("x"):
            np.testing.assert_allclose(image.mean((0, 1)), (30, 20, 10), atol=4)


def test_grey_and_transparent_images_get_three_channels(tmp_path: Path) -> None:
    for mode, name in (("L", "a.png"), ("RGBA", "b.png"), ("P", "c.gif"), ("1", "d.tif")):
        Image.new(mode, (8, 6)).save(tmp_path / name)
        assert read_bgr(tmp_path / name).shape == (6, 8, 3)


def test_a_image_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a\.png is not an image that can be read"):
        read_bgr(tmp_path / "a.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png is not an image"):
        read_bgr(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"gone\.png"):
        read_bgr(tmp_path / "gone.png")


def test_labels_without_a_twin_are_told(root: Path) -> None:
    (root / "plabels/val/b.txt").unlink()
    with pytest.raises(
        InputError, match=r"1 label file\(s\) have no plabels twin: .*labels/val/b\.txt needs .*plabels/"
    ):
        read_relation_set(root)


def test_a_background_image_needs_no_files(root: Path) -> None:
    (root / "plabels/val/b.txt").unlink()
    (root / "labels/val/b.txt").write_text("\n")
    assert read_relation_set(root)[1].truth.parents.shape == (0,)
    (root / "labels/val/b.txt").unlink()
    assert read_relation_set(root)[1].truth.boxes_cxcywh.shape == (0, 4)


def test_a_split_without_any_plabels_is_told(root: Path) -> None:
    for kind in ("labels", "plabels"):
        for file in (root / kind / "val").iterdir():
            file.unlink()
    with pytest.raises(InputError, match=r"none of the 2 images has plabels: expected .*plabels/val/a\.txt"):
        read_relation_set(root)


def test_bad_lines_of_all_files_are_told_at_once(root: Path) -> None:
    for name in ("a", "b"):
        (root / "plabels/val" / f"{name}.txt").write_text("0 0.5\n")
    with pytest.raises(InputError, match=r"2 bad label line\(s\): .*a\.txt:1: has 2 columns.*b\.txt:1"):
        read_relation_set(root)


def test_the_yamls_classes_are_the_range(root: Path) -> None:
    text = (root / "plabels/val/a.txt").read_text()
    (root / "plabels/val/a.txt").write_text(text.replace("1 0.4", "2 0.4"))
    with pytest.raises(InputError, match=r"a\.txt:2: class 2, expected 0\.\.1"):
        read_relation_set(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.400000", "0.450000", r"plabels/val/a\.txt:2: is not the box of the same line in .*labels/val/a\.txt"),
        ("1 0.4", "0 0.4", r"a\.txt:2: is not the box"),
        ("1 0.400000 0.500000 0.200000 0.200000\n", "", r"a\.txt:1: has 2 boxes, .*labels/val/a\.txt has 1"),
        ("1 0.400000", "1 4", r"labels/val/a\.txt:2: coordinate 4"),
    ],
)
def test_stale_twins_are_told(root: Path, old: str, new: str, message: str) -> None:
    labels = root / "labels/val/a.txt"
    assert old in labels.read_text()
    labels.write_text(labels.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_relation_set(root)


def test_missing_folders_are_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone does not exist.*kd-yolo data make diagram"):
        read_relation_set(tmp_path / "gone")
    with pytest.raises(InputError, match=r"images/test does not exist\. .*images has: train, val"):
        read_relation_set(root, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"images/val does not exist\. Expected .*images/<split>/<image>"):
        read_relation_set(tmp_path / "empty")
    with pytest.raises(InputError, match=r"its split 'test' has no images\. It has: train, val"):
        read_relation_set(root / "data.yaml", "test")
    (root / "images/holdout").mkdir()
    with pytest.raises(InputError, match=r"images/holdout has no images"):
        read_relation_set(root, "holdout")


def test_real_images_and_parents(shared: Path) -> None:
    samples = read_relation_set(shared / "data" / "diagram", "val")
    assert len(samples) == 141
    assert sum(int((s.truth.parents >= 0).sum()) for s in samples) == 1783
