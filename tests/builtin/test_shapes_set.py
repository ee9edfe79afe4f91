"""The built-in shapes: the same for a seed, boxes that surround what is drawn, a set that training takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kd_yolo.builtin.presets import get_shapes_preset
from kd_yolo.builtin.shapes import CLASS_NAMES, draw_shapes
from kd_yolo.builtin.shapes_set import make_shapes
from kd_yolo.cli.data import main
from kd_yolo.data.check import check_detection_data
from kd_yolo.geometry.boxes import box_areas, iou_matrix


def test_it_is_a_detection_set_and_is_reused(tmp_path: Path) -> None:
    made = make_shapes(tmp_path / "set", "smoke", seed=3)
    report = check_detection_data(made.data_yaml, nc_expected=len(CLASS_NAMES))
    assert made.images == get_shapes_preset("smoke").images
    assert {split: found.boxes for split, found in report.splits.items()} == made.boxes
    assert not made.reused
    assert make_shapes(tmp_path / "set", "smoke", seed=3).reused


def test_the_seed_decides_the_images() -> None:
    first, again, other = (draw_shapes(seed, "train", 5, 96) for seed in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert not np.array_equal(first.image, other.image)
    assert not np.array_equal(first.image, draw_shapes(0, "val", 5, 96).image)


def test_objects_are_large_whole_and_apart() -> None:
    drawn = [draw_shapes(0, "train", index, 96) for index in range(60)]
    boxes = np.vstack([one.boxes_xyxy for one in drawn])
    assert (boxes >= -0.01).all()
    assert (boxes <= 96.01).all()
    assert 0.2 < np.sqrt(box_areas(boxes)).mean() / 96 < 0.5, "about a third of the image"
    assert {class_id for one in drawn for class_id in one.classes} == set(range(len(CLASS_NAMES)))
    for one in drawn:
        assert len(one.classes) == len(one.boxes_xyxy) >= 1
        overlap = iou_matrix(one.boxes_xyxy, one.boxes_xyxy)
        assert (overlap - np.eye(len(overlap)) <= 0.1 + 1e-9).all()


def test_boxes_surround_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """White shapes on black, without noise: the box of the white pixels is the label."""
    monkeypatch.setattr("kd_yolo.builtin.shapes._background", lambda rng, size: np.zeros((size, size, 3), np.uint8))
    monkeypatch.setattr("kd_yolo.builtin.shapes._colour", lambda rng: np.full(3, 255.0))
    checked = 0
    for index in range(40):
        drawn = draw_shapes(0, "train", index, 96)
        if len(drawn.classes) == 1:
            rows, columns = np.nonzero(drawn.image[..., 0] > 80)
            found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            np.testing.assert_allclose(found, drawn.boxes_xyxy[0], atol=1.2)
            checked += 1
    assert checked >= 5


def test_the_command_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make", "shapes", "--preset", "smoke", "--out", str(tmp_path / "set")]) == 0
    assert "train 12, val 6" in capsys.readouterr().out
