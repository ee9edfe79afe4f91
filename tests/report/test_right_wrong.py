"""Right, wrong and missed boxes: how they are told apart, and that the image shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kd_yolo.base.palette import GREEN, VERMILION
from kd_yolo.builtin.shapes_set import make_shapes
from kd_yolo.data.sheet import labelled_boxes
from kd_yolo.data.spec import label_path
from kd_yolo.report import right_wrong
from kd_yolo.report.right_wrong import ACROSS, HEAD_PX, TILE_PX, draw_right_wrong, judge
from kd_yolo.yolo.predict import Prediction

BOX, FAR = (10.0, 10.0, 50.0, 50.0), (60.0, 60.0, 90.0, 90.0)


def prediction(boxes: list[Any], classes: list[int]) -> Prediction:
    return Prediction(np.asarray(boxes, float).reshape(-1, 4), classes)


@pytest.mark.parametrize(
    ("found", "classes", "counts"),
    [
        ([BOX, FAR], [0, 1], (2, 0, 0)),
        ([BOX, FAR], [1, 1], (1, 1, 1)),  # the first has another class
        ([(10, 10, 50, 31)], [0], (1, 0, 1)),  # IoU .525
        ([(10, 10, 50, 29)], [0], (0, 1, 2)),  # IoU .475
        ([BOX, BOX], [0, 0], (1, 1, 1)),  # found twice
        ([], [], (0, 0, 2)),
    ],
)
def test_right_wrong_and_missed(found: list[Any], classes: list[int], counts: tuple[int, int, int]) -> None:
    judged = judge(prediction(found, classes), prediction([BOX, FAR], [0, 1]))
    assert (len(judged.right), len(judged.wrong), len(judged.missed)) == counts


def test_an_image_without_objects() -> None:
    judged = judge(prediction([BOX], [0]), prediction([], []))
    assert (len(judged.right), len(judged.wrong), len(judged.missed)) == (0, 1, 0)


def test_the_image_shows_each_in_its_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first model finds what is labelled, the second the same as another class, the third nothing."""

    def predict(
        weights: str, files: list[Path], *, imgsz: int, score_min: float
    ) -> tuple[list[Prediction], dict[int, str]]:
        truths = [Prediction(*labelled_boxes(label_path(file), 3, imgsz, imgsz)) for file in files]
        if weights == "wrong":
            truths = [Prediction(one.boxes_xyxy_m4, [(c + 1) % 3 for c in one.classes]) for one in truths]
        return ([prediction([], [])] * len(files) if weights == "nothing" else truths), {}

    monkeypatch.setattr(right_wrong, "predict_boxes", predict)
    made = make_shapes(tmp_path / "set", "smoke")
    models = [("one", "right"), ("two", "wrong"), ("three", "nothing")]
    out = draw_right_wrong(models, made.data_yaml, tmp_path / "out.png", imgsz=64, count=3)
    image = cv2.imread(str(out))
    assert image.shape == (HEAD_PX + 2 * TILE_PX, 3 * ACROSS * TILE_PX, 3)
    tiles = image[HEAD_PX:]
    counts = {
        name: [int((column[..., ::-1] == colour).all(-1).sum()) for column in np.split(tiles, 3, axis=1)]
        for name, colour in (("right", GREEN), ("wrong", VERMILION), ("missed", (255, 255, 255)))
    }
    assert counts["right"][0] > 300
    assert counts["right"][1:] == [0, 0]
    assert counts["wrong"][1] > 300
    assert [counts["wrong"][0], counts["wrong"][2]] == [0, 0]
    assert counts["missed"][2] > 100
