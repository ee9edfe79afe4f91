"""The image of a sensitivity analysis."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune.sensitivity_plot import draw_sensitivity


def test_draws_a_bar_a_layer(tmp_path: Path) -> None:
    heights = []
    for count in (3, 40):
        drops = {f"model.{i}.cv1.conv": 0.01 * i - 0.01 for i in range(count)}
        image = cv2.imread(str(draw_sensitivity(drops, "mAP50-95(B)", 0.4, tmp_path / f"{count}.png")))
        assert image is not None
        assert image.std() > 10
        orange = (image[..., 2] > 180) & (image[..., 0] < 60)
        assert orange.any() == (count == 40)  # only there a layer costs more than a twentieth
        heights.append(image.shape[0])
    assert heights[1] > 2 * heights[0]


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    for drops, base in (({}, 0.4), ({"a": 0.1}, 0.0)):
        with pytest.raises(ConfigError, match="no sensitivity to draw"):
            draw_sensitivity(drops, "mAP", base, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
