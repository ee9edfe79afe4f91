"""The image has a row a photograph and a column for labels and each model, with the boxes where they belong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from kd_yolo.report import side_by_side as module
from kd_yolo.yolo.predict import Prediction


def test_draws_labels_and_each_model(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, nothing = Prediction(np.array([[16.0, 16.0, 48.0, 48.0]]), [0]), Prediction(np.zeros((0, 4)), [])
    seen = {"a.pt": box, "b.pt": nothing}
    monkeypatch.setattr(module, "predict_boxes", lambda w, files, imgsz: ([seen[w]] * len(files), {0: "thing"}))
    out = module.side_by_side([("a", "a.pt"), ("b", "b.pt")], tiny_data, tmp_path / "out.png", imgsz=64, rows=2)
    image = cv2.imread(str(out)).astype(int)
    assert image.shape == (2 * 320, 3 * 320, 3)
    with_box, without = image[320:, 320:640], image[320:, 640:]
    rows, columns = np.nonzero(np.abs(with_box - without).sum(-1))
    assert abs(int(columns.min()) - 80) <= 2  # 16 px of 64 on a tile of 320
    assert abs(int(rows.max()) - 239) <= 2
