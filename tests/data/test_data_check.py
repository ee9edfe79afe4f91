"""Checks before training: every way a set can be wrong has its own message."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.builtin.street_set import StreetReport
from kd_yolo.data.check import check_detection_data, resolved_yaml
from kd_yolo.data.spec import label_path, list_images, read_data_yaml

ROOT = Path(__file__).parents[2]


def rewrite(file: Path, **changes: Any) -> Path:
    """Changes keys of a YAML; None removes one."""
    body = yaml.safe_load(file.read_text()) | changes
    file.write_text(yaml.safe_dump({key: value for key, value in body.items() if value is not None}))
    return file


def test_a_good_set_is_counted(tiny_set: Path) -> None:
    report = check_detection_data(tiny_set, nc_expected=2)
    assert report.names == {0: "cat", 1: "cup"}
    assert report.splits["train"].images == report.splits["train"].labelled == 2
    assert report.splits["val"].boxes == {"cat": 2, "cup": 2}
    assert report.unreadable == ()


def test_the_street_set_passes_and_agrees(smoke_set: StreetReport) -> None:
    report = check_detection_data(smoke_set.data_yaml)
    assert {split: r.boxes for split, r in report.splits.items()} == smoke_set.boxes
    assert {split: r.images for split, r in report.splits.items()} == smoke_set.images


def test_a_folder_stands_for_its_yaml(tiny_set: Path) -> None:
    assert check_detection_data(tiny_set.parent).yaml_path == tiny_set
    shutil.copy(tiny_set, tiny_set.with_name("other.yaml"))
    assert check_detection_data(tiny_set.parent).yaml_path == tiny_set, "data.yaml goes first"
    tiny_set.rename(tiny_set.with_name("another.yaml"))
    with pytest.raises(InputError, match=r"2 YAML files \(another.yaml, other.yaml\)"):
        check_detection_data(tiny_set.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "holds a list"),
        ("a: [", "not valid YAML"),
        ("train: images/train\nval: images/val\n", "'names: None'"),
        ("val: images/val\nnames: [a]\n", "has no 'train'"),
        ("train: images/train\nnames: [a]\n", "has no 'val'"),
        ("train: images/train\nval: images/nowhere\nnames: [a]\n", "'val: images/nowhere'.*does not exist"),
        ("train: 3\nval: images/val\nnames: [a]\n", "'train: 3'"),
        ("train: data.yaml\nval: images/val\nnames: [a]\n", r"a folder or a .txt list"),
        ("train: images/train\nval: images/val\nnames: [a, b]\nnc: 3\n", "'nc: 3' but 2 names"),
        ("train: images/train\nval: images/val\nnames: {0: a, 2: b}\n", r"\[0, 2\].*expected 0..1 without gaps"),
        ("train: images/train\nval: images/val\nnames: {a: 0}\n", "class ids"),
        ("path: nowhere\ntrain: images/train\nval: images/val\nnames: [a]\n", "'path: nowhere'"),
    ],
)  # fmt: skip
def test_an_unusable_yaml_says_why(tiny_set: Path, text: str, message: str) -> None:
    tiny_set.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        check_detection_data(tiny_set)
    assert caught.value.exit_code == 3


def test_a_missing_yaml_offers_the_built_in_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not exist.*kd-yolo data make street --preset demo"):
        check_detection_data(tmp_path / "data.yaml")


def test_a_yaml_whose_first_line_is_a_command_offers_it(tiny_set: Path) -> None:
    text = tiny_set.read_text().replace("images/val", "images/later")
    tiny_set.write_text("# kd-yolo data make street --preset bench\n" + text)
    with pytest.raises(InputError, match=r"Type: kd-yolo data make street --preset bench$"):
        check_detection_data(tiny_set)


@pytest.mark.parametrize("path", [".", None, "", "../set", "absolute"])
def test_paths_count_from_the_yaml(
    tiny_set: Path, path: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rewrite(tiny_set, path=str(tiny_set.parent) if path == "absolute" else path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert check_detection_data(tiny_set).splits["val"].images == 2
    assert check_detection_data(Path(os.path.relpath(tiny_set))).splits["val"].images == 2


def test_splits_may_be_folders_or_lists(tiny_set: Path) -> None:
    listed = tiny_set.with_name("some.txt")
    listed.write_text("./images/train/a.png\nimages/val/b.png\n\n")
    rewrite(tiny_set, train=["images/train", "images/val"], val="some.txt")
    report = check_detection_data(tiny_set)
    assert (report.splits["train"].images, report.splits["val"].images) == (4, 2)


def test_validation_is_another_word_for_val(tiny_set: Path) -> None:
    rewrite(tiny_set, val=None, validation="images/val")
    assert check_detection_data(tiny_set).splits["val"].images == 2


def test_nc_alone_numbers_the_classes(tiny_set: Path) -> None:
    rewrite(tiny_set, names=None, nc=2)
    assert check_detection_data(tiny_set).names == {0: "class_0", 1: "class_1"}


def test_the_number_of_classes_must_fit_the_model(tiny_set: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 classes \(cat, cup\), expected 80") as caught:
        check_detection_data(tiny_set, nc_expected=80)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", r"a.txt:2: class 2, expected 0..1"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("nan 0.5 0.5 0.1 0.1", "class nan"),
        ("0 0.5 0.5 0.1", "has 4 numbers, expected 5"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 numbers"),
        ("cat 0.5 0.5 0.1 0.1", "not all numbers"),
        ("0 120 80 30 20", r"coordinate 120, expected shares"),
        ("0 0.5 nan 0.1 0.1", "coordinate nan"),
        ("0 0.5 0.5 -0.005 0.1", "size -0.005 is negative"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5", "mixes boxes"),
    ],
)
def test_a_bad_label_line_is_named(tiny_set: Path, line: str, message: str) -> None:
    (tiny_set.parent / "labels" / "train" / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(InputError, match=message):
        check_detection_data(tiny_set)


def test_many_bad_lines_are_counted(tiny_set: Path) -> None:
    (tiny_set.parent / "labels" / "val" / "b.txt").write_text("9 0.5 0.5 0.1 0.1\n" * 8)
    with pytest.raises(InputError, match=r"8 bad label line\(s\).*b.txt:5: class 9.* and 3 more") as caught:
        check_detection_data(tiny_set)
    assert "b.txt:6" not in str(caught.value)


def test_outlines_count_as_boxes(tiny_set: Path) -> None:
    (tiny_set.parent / "labels" / "train" / "a.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    assert check_detection_data(tiny_set).splits["train"].boxes == {"cat": 1, "cup": 2}


def test_unreadable_images_are_listed(tiny_set: Path) -> None:
    broken, empty = (tiny_set.parent / "images" / "train" / name for name in ("a.png", "c.jpg"))
    broken.write_bytes(b"not an image")
    empty.touch()
    report = check_detection_data(tiny_set)
    assert report.unreadable == (broken, empty)
    assert report.splits["train"].images == report.splits["train"].labelled == 1
    assert report.splits["train"].boxes == {"cat": 1, "cup": 1}
    assert check_detection_data(tiny_set, decode=False).unreadable == (empty,)


def test_listed_images_that_are_missing_are_unreadable(tiny_set: Path) -> None:
    tiny_set.with_name("val.txt").write_text("images/val/a.png\nimages/val/gone.png\n")
    rewrite(tiny_set, val="val.txt")
    assert [p.name for p in check_detection_data(tiny_set).unreadable] == ["gone.png"]


def test_nothing_readable_is_an_error(tiny_set: Path) -> None:
    for image in (tiny_set.parent / "images" / "val").iterdir():
        image.write_bytes(b"x")
    with pytest.raises(InputError, match=r"none of the 2 'val' images .* can be read: .*a.png"):
        check_detection_data(tiny_set)


def test_no_images_is_an_error(tiny_set: Path) -> None:
    for image in (tiny_set.parent / "images" / "val").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"'val' of .* has no images"):
        check_detection_data(tiny_set)


def test_no_labels_is_an_error_that_says_where_they_belong(tiny_set: Path) -> None:
    shutil.rmtree(tiny_set.parent / "labels" / "train")
    expected = tiny_set.parent / "labels" / "train" / "a.txt"
    with pytest.raises(InputError, match=f"no 'train' image .* should have {expected}"):
        check_detection_data(tiny_set)


def test_a_image_without_labels_is_background(tiny_set: Path) -> None:
    (tiny_set.parent / "labels" / "train" / "a.txt").unlink()
    (tiny_set.parent / "labels" / "val" / "a.txt").write_text("")
    report = check_detection_data(tiny_set)
    assert [(r.images, r.labelled) for r in report.splits.values()] == [(2, 1), (2, 1)]


def test_the_hash_follows_the_content_only(tiny_set: Path, tmp_path: Path) -> None:
    first = check_detection_data(tiny_set).sha256
    moved = Path(shutil.copytree(tiny_set.parent, tmp_path / "moved")) / "data.yaml"
    assert check_detection_data(moved).sha256 == check_detection_data(moved, decode=False).sha256 == first
    label = moved.parent / "labels" / "val" / "b.txt"
    label.write_text(label.read_text() + "0 0.1 0.1 0.1 0.1\n")
    second = check_detection_data(moved).sha256
    (moved.parent / "labels" / "val" / "a.txt").unlink()
    third = check_detection_data(moved).sha256
    rewrite(moved, names=["cat", "mug"])
    assert len({first, second, third, check_detection_data(moved).sha256}) == 4


def test_label_path_changes_the_last_images_folder() -> None:
    assert label_path(Path("/data/images/set/images/train/a.b.jpg")) == Path("/data/images/set/labels/train/a.b.txt")
    assert label_path(Path("/data/photos/a.jpg")) == Path("/data/photos/a.txt")


def test_the_resolved_yaml_means_the_same_to_ultralytics(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    utils = pytest.importorskip("ultralytics.data.utils")
    rewrite(
        tiny_set,
        path=".",
        train=["images/train", "images/val"],
        download="print('no')",
        note="kept",
        complete=True,
        masks_dir="m",
        channels=1,
    )
    monkeypatch.chdir(tmp_path)
    copy = resolved_yaml(tiny_set, tmp_path / "run")
    found = utils.check_det_dataset(str(copy))
    assert found["train"] == [str(tiny_set.parent / "images" / split) for split in ("train", "val")]
    assert found["val"] == str(tiny_set.parent / "images" / "val")
    assert found["names"] == {0: "cat", 1: "cup"}
    assert found["channels"] == 1
    assert not {"note", "download", "complete", "masks_dir"} & set(found), "only what training reads is copied"
    assert check_detection_data(copy).splits == check_detection_data(tiny_set).splits


def test_lists_are_resolved_to_absolute_lines(tiny_set: Path, tmp_path: Path) -> None:
    tiny_set.with_name("val.txt").write_text("images/val/a.png\n")
    copy = resolved_yaml(rewrite(tiny_set, val="val.txt"), tmp_path / "run")
    assert (tmp_path / "run" / "val.txt").read_text() == f"{tiny_set.parent}/images/val/a.png\n"
    assert list_images(read_data_yaml(copy), "val") == [tiny_set.parent / "images" / "val" / "a.png"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["data.yaml", "val.txt"]


@pytest.mark.parametrize("preset", ["smoke", "demo", "bench"])
def test_the_yaml_in_datasets_fits_the_generator(preset: str, smoke_set: StreetReport, tmp_path: Path) -> None:
    text = (ROOT / "datasets" / f"street-{preset}.yaml").read_text()
    assert text.startswith(f"# kd-yolo data make street --preset {preset}\n")
    file = tmp_path / f"street-{preset}.yaml"
    file.write_text(text)
    (tmp_path / f"street-{preset}").symlink_to(smoke_set.folder)
    assert check_detection_data(file).names == read_data_yaml(smoke_set.data_yaml).names


@pytest.mark.parametrize(("name", "boxes"), [("coco128", (929, 898)), ("bccd", (2804, 1137, 945))])
def test_real_sets_have_their_known_counts(name: str, boxes: tuple[int, ...]) -> None:
    folder = ROOT.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    report = check_detection_data(folder)
    assert tuple(np.sum(list(r.boxes.values())) for r in report.splits.values()) == boxes
