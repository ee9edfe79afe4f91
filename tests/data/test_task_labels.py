"""Labels of another task are refused before a training, as ultralytics would fail in it; polygons serve boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd_yolo.base.errors import InputError
from kd_yolo.data.check import check_for_training, check_for_validation
from tests.conftest import write_tiny_data
from tests.data.odd_sets import LABELS

KINDS = {"boxes": "good", "polygons": "outlines", "corners": "corners", "points": "pose"}
FITS = {
    "detect": {"boxes", "polygons", "corners", "points"}, "segment": {"polygons", "corners"},
    "obb": {"polygons", "corners"}, "pose": {"points"},
}  # fmt: skip


def labelled(folder: Path, kind: str, extra: str = "") -> Path:
    data = write_tiny_data(folder, images=3)
    keypoints = "kpt_shape: [2, 3]\n" if kind == "points" else ""
    data.write_text(data.read_text() + keypoints + extra)
    for file in folder.glob("labels/*/*.txt"):
        file.write_bytes(LABELS[KINDS[kind]] or b"")
    return data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", FITS)
def test_labels_fit_the_task(task: str, kind: str, tmp_path: Path) -> None:
    data = labelled(tmp_path / "set", kind)
    if kind in FITS[task]:
        assert check_for_training(data, task).task == task
        assert check_for_validation(data, "val", task).names == {0: "c0", 1: "c1"}
        return
    for check in (check_for_training, lambda *words: check_for_validation(words[0], "val", words[1])):
        with pytest.raises(InputError, match=r"boxes only|no 'kpt_shape'|expected 11|expected 5|bad label line"):
            check(data, task)


def test_one_file_of_boxes_is_named(tmp_path: Path) -> None:
    data = labelled(tmp_path, "polygons")
    file = tmp_path / "labels" / "val" / "1.txt"
    file.write_bytes(LABELS["good"] or b"")
    with pytest.raises(InputError, match=f"{file}.*'val'.*boxes only"):
        check_for_training(data, "segment")
    file.write_bytes(b"")
    check_for_training(data, "segment")


@pytest.mark.parametrize(("channels", "fits"), [(1, True), (3, True), (4, False), (5, False)])
def test_channels_are_those_of_the_images(channels: int, fits: bool, tmp_path: Path) -> None:
    """Ultralytics makes 1 or 3 of every image and takes others as they are."""
    data = labelled(tmp_path, "boxes", f"channels: {channels}\n")
    if fits:
        assert check_for_training(data).channels == channels
        return
    with pytest.raises(InputError, match=rf"'channels: {channels}', .*png has 3"):
        check_for_training(data)
    for image in tmp_path.glob("images/*/*.png"):
        pages = [Image.fromarray(np.full((64, 64), 40 * i, np.uint8)) for i in range(channels)]
        pages[0].save(image.with_suffix(".tif"), save_all=True, append_images=pages[1:])
        image.unlink()
    assert check_for_training(data).channels == channels


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kpt_shape: 17", r"kpt_shape: 17.*\[17, 3\]"),
        ("kpt_shape: [17]", "kpt_shape"),
        ("kpt_shape: [0, 3]", "kpt_shape"),
        ("kpt_shape: [17, 4]", "kpt_shape"),
        ("kpt_shape: [1.5, 2]", "kpt_shape"),
        ("kpt_shape: [100000000000, 3]", "kpt_shape"),
        ("kpt_shape: {a: 1}", "kpt_shape"),
        ("kpt_shape: [true, 2]", "kpt_shape"),
        ("kpt_shape: [2, 3]\nflip_idx: [0, 2]", "flip_idx.*0..1"),
        ("kpt_shape: [2, 3]\nflip_idx: [0]", "flip_idx"),
        ("kpt_shape: [2, 3]\nflip_idx: 3", "flip_idx"),
        ("kpt_shape: [2, 3]\nkpt_oks_sigmas: [1, -1]", "kpt_oks_sigmas"),
        ("kpt_shape: [2, 3]\nkpt_names: [a]", "kpt_names"),
        ("kpt_shape: [2, 3]\nkpt_names: {0: [a, b], 7: [a, b]}", "kpt_names"),
        ("channels: 0", "channels"),
        ("channels: x", "channels"),
        ("channels: 1e9", "channels"),
        ("channels: [3]", "channels"),
        ("channels: true", "channels"),
        ("nc: 0", "nc: 0"),
        ("nc: 100000000000", "nc: 100000000000"),
        ("nc: -2", "nc: -2"),
        ("nc: 1.9", "nc: 1.9"),
        ("nc: .inf", "nc: inf"),
        ("nc: many", "nc: many"),
        ("nc:", "nc: None"),
        ("nc: [2]", "nc: a list of 1"),
        ("nc: 3", "'nc: 3' but 2 names"),
        ("names: {0: a, x: b}", "class id"),
        ("names: {-1: a, 0: b}", "without gaps"),
        ("names: {0: a, '0': b}", "without gaps"),
        ("names: [[a], b]", "a list of 1"),
        ("names: {}", "names"),
        ("names: [" + "x" * 2000 + "]", "2000 characters"),
        ("names: {" + "9" * 500 + ": a}", "class id"),
        ("path: [a]", "path"),
        ("path: 3", "path"),
        ("path: nowhere", "looked for"),
        ("path: " + "x" * 5000, "path"),
        ("train: {a: b}", "train"),
        ("train: [[images/train]]", "train"),
        ("train: [images/train, 3]", "train"),
        ("train: images/" + "x" * 300, "does not exist"),
        ("val: http://127.0.0.1:9/x", "does not exist"),
        ("train: images/train/0.png", "expected a folder"),
    ],
)
def test_values_that_upstream_would_follow_are_checked(line: str, message: str, tmp_path: Path) -> None:
    data = labelled(tmp_path, "boxes")
    keys = {part.partition(":")[0] for part in line.split("\n")}
    kept = ["train: images/train", "val: images/val", "names: [c0, c1]"]
    data.write_text("\n".join([*(text for text in kept if text.partition(":")[0] not in keys), line]))
    with pytest.raises(InputError, match=message) as caught:
        check_for_training(data)
    assert len(str(caught.value)) < 1500


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{inner}: &{inner} [{','.join(['*' + outer] * 10)}]\n" for outer, inner in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "key", ["path", "train", "val", "test", "names", "nc", "kpt_shape", "channels", "download", "z"]
)
@pytest.mark.parametrize("text", [BOMB + "{key}: *i\n", "{key}: " + "[" * 3000 + "]" * 3000, "{key}: &x [*x]"])
def test_bombs_end_at_once(key: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "bomb.yaml"
    file.write_text("train: images\nval: images\nnames: [a]\n" + text.replace("{key}", key))
    with pytest.raises(InputError) as caught:
        check_for_training(file)
    assert len(str(caught.value)) < 600
