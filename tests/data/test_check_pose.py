"""Labels of pose data: the box counts, keypoints must all be there, visibility 2 is no coordinate."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.data.check import check_for_training
from tests.conftest import write_tiny_data


def pose_data(folder: Path, keypoints: str) -> Path:
    data = write_tiny_data(folder, images=2)
    data.write_text(data.read_text() + "kpt_shape: [2, 3]\n")
    for file in folder.glob("labels/*/*.txt"):
        file.write_text(f"0 0.5 0.5 0.4 0.4 {keypoints}\n")
    return data


def test_keypoints_with_visibility_are_fine(tmp_path: Path) -> None:
    report = check_for_training(pose_data(tmp_path, "0.4 0.4 2 0.6 0.6 0"))
    assert report.splits["train"].boxes["c0"] == 2


def test_missing_keypoint_values_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 10 numbers, expected 11"):
        check_for_training(pose_data(tmp_path, "0.4 0.4 2 0.6 0.6"))
