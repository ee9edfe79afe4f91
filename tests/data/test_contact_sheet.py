"""The image of images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.builtin.street_set import StreetReport
from kd_yolo.data.sheet import contact_sheet


def test_the_grid_has_the_asked_size(smoke_set: StreetReport, tmp_path: Path) -> None:
    out = contact_sheet(smoke_set.data_yaml, tmp_path / "new" / "sheet.png", columns=4, rows=3, tile_width_px=80)
    # Six val images of 160 x 120 in rows of four: two rows, the last two tiles black.
    sheet = cv2.imread(str(out))
    assert sheet.shape == (120, 320, 3)
    assert sheet[60:, 160:].max() == 0
    assert [p.name for p in out.parent.iterdir()] == ["sheet.png"]


def test_boxes_are_drawn(tiny_set: Path, tmp_path: Path) -> None:
    with_boxes = cv2.imread(str(contact_sheet(tiny_set, tmp_path / "a.png", columns=1, rows=1, tile_width_px=160)))
    for label in (tiny_set.parent / "labels" / "val").iterdir():
        label.unlink()
    without = cv2.imread(str(contact_sheet(tiny_set, tmp_path / "b.png", columns=1, rows=1, tile_width_px=160)))
    changed = np.argwhere((with_boxes != without).any(2))
    # The cat: centre (80, 60), size 32 x 24 in a tile of 160 x 120; the cup: centre (40, 30), size 16 x 12.
    assert changed[:, 1].max() >= 95
    assert changed[:, 0].max() == 71


def test_unreadable_images_are_passed_over(tiny_set: Path, tmp_path: Path) -> None:
    (tiny_set.parent / "images" / "val" / "a.png").write_bytes(b"x")
    assert cv2.imread(str(contact_sheet(tiny_set, tmp_path / "a.png", columns=1, tile_width_px=64))).shape == (
        48,
        64,
        3,
    )
    (tiny_set.parent / "images" / "val" / "b.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no readable image"):
        contact_sheet(tiny_set, tmp_path / "a.png")
