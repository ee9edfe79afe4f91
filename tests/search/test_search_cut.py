"""Cutting: crops are the pixels that the rules say, and every box that is left out has a reason."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError
from kd_yolo.search.frames.cut import GREY, REASONS, Box, cut, sharpness, touched, widen
from kd_yolo.search.frames.frame_types import Frame, People
from kd_yolo.search.settings import CropRules, resolve_crops

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (60, 80, 3), np.uint8)
LOOSE = CropRules(conf=0.1, min_height=1, min_width=1, pad=0)


def people(*boxes: tuple[float, ...], score: float = 0.9) -> People:
    return People(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), score, np.float32))


def frame(image: np.ndarray = IMAGE) -> Frame:
    return Frame("v.mp4", 7, 0.7, 2, image)


def left_out(rules: CropRules, *boxes: tuple[float, ...], image: np.ndarray = IMAGE) -> dict[str, int]:
    rejected: Counter[str] = Counter()
    crops = cut(frame(image), people(*boxes), rules, rejected)
    assert len(crops) + sum(rejected.values()) == len(boxes)
    assert set(rejected) <= set(REASONS)
    return dict(rejected)


def test_a_crop_is_the_rgb_of_its_box_and_owns_its_pixels() -> None:
    image = IMAGE.copy()
    seen = People(np.array([[10.4, 5.6, 30.2, 45.5]], np.float32), np.array([0.75], np.float32), np.array([3]))
    (crop,) = cut(frame(image), seen, LOOSE)
    assert crop.box_xyxy == (10, 6, 30, 46)
    assert np.array_equal(crop.image_hw3, IMAGE[6:46, 10:30, ::-1])
    assert (crop.source, crop.index, crop.seconds, crop.camera, crop.track) == ("v.mp4", 7, 0.7, 2, 3)
    assert crop.score == 0.75
    image[:] = 0
    assert crop.image_hw3.any()


def test_no_people() -> None:
    assert cut(frame(), people(), LOOSE) == []


def test_boxes_beyond_the_frame_are_clipped() -> None:
    (crop,) = cut(frame(), people((-20, -30, 200, 300)), LOOSE)
    assert crop.box_xyxy == (0, 0, 80, 60)
    assert np.array_equal(crop.image_hw3, IMAGE[:, :, ::-1])


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 40), (10, 10, 40, 10), (40, 40, 10, 10), (90, 10, 120, 40), (10, 10.2, 40, 10.4),
        (float("nan"), 0, 9, 9), (0, 0, float("inf"), 9),
    ],
)  # fmt: skip
def test_boxes_without_pixels(box: tuple[float, ...]) -> None:
    assert left_out(LOOSE, box) == {"empty": 1}


def test_size_and_score_count_before_padding() -> None:
    rules = CropRules(conf=0.5, min_height=20, min_width=10, pad=1.0)
    assert left_out(rules, (10, 10, 19, 40), (10, 10, 30, 29), (10, 10, 20, 30)) == {"small": 2}
    rejected: Counter[str] = Counter()
    assert cut(frame(), people((10, 10, 40, 50), score=0.4), rules, rejected) == []
    assert rejected == {"score": 1}


def test_truncation_counts_borders() -> None:
    inside, left, corner, whole = (20, 10, 40, 50), (0.6, 10, 40, 50), (0, 0, 40, 50), (0, 0, 80, 60)
    assert [touched(Box(*map(int, box)), (60, 80)) for box in (inside, left, corner, whole)] == [0, 1, 2, 4]
    boxes = (inside, left, corner, whole)
    assert left_out(CropRules(min_height=1, min_width=1, max_truncated=0), *boxes) == {"truncated": 3}
    assert left_out(CropRules(min_height=1, min_width=1, max_truncated=1), *boxes) == {"truncated": 2}
    assert left_out(CropRules(min_height=1, min_width=1), *boxes) == {}


def test_blur() -> None:
    sharp = np.repeat(np.repeat(RNG.integers(0, 256, (64, 32, 1), np.uint8), 4, 0), 4, 1).repeat(3, 2)
    soft = cv2.GaussianBlur(sharp, (0, 0), 12)
    assert sharpness(soft) < 20 < 500 < sharpness(sharp)
    assert sharpness(np.full((50, 20, 3), 99, np.uint8)) == 0
    half = cv2.resize(sharp, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert sharpness(half) == pytest.approx(sharpness(sharp), rel=0.05), "size does not matter"
    rules = CropRules(blur_min=100)
    box = (0, 0, 128, 256)
    assert left_out(rules, box, image=soft) == {"blurred": 1}
    assert left_out(rules, box, image=sharp) == {}


def test_padding_goes_as_far_as_the_frame() -> None:
    rules = CropRules(conf=0.1, min_height=1, min_width=1, pad=0.1)
    (crop,) = cut(frame(), people((1, 20, 21, 50)), rules)
    assert crop.box_xyxy == (1, 20, 21, 50), "the index has the box itself"
    assert np.array_equal(crop.image_hw3, IMAGE[17:53, 0:23, ::-1])


def test_aspect_takes_pixels_of_the_frame_and_grey_beyond() -> None:
    rules = LOOSE.model_copy(update={"aspect": 2.0})
    (inside,) = cut(frame(), people((30, 10, 40, 50)), rules)
    assert np.array_equal(inside.image_hw3, IMAGE[10:50, 25:45, ::-1])
    (beyond,) = cut(frame(), people((0, 10, 10, 50)), rules)
    assert beyond.image_hw3.shape == (40, 20, 3)
    assert (beyond.image_hw3[:, :5] == GREY).all()
    assert np.array_equal(beyond.image_hw3[:, 5:], IMAGE[10:50, 0:15, ::-1])
    (flat,) = cut(frame(), people((10, 20, 50, 40)), rules)
    assert flat.image_hw3.shape == (80, 40, 3)


CORNERS = st.integers(-30, 110)


@given(
    st.tuples(CORNERS, CORNERS, CORNERS, CORNERS),
    st.floats(0, 1),
    st.none() | st.floats(0.25, 4),
)
def test_every_crop_follows_the_rules(box: tuple[int, ...], pad: float, aspect: float | None) -> None:
    rules = CropRules(conf=0.1, min_height=2, min_width=2, pad=pad, aspect=aspect)
    for crop in cut(frame(), people(box), rules):
        x1, y1, x2, y2 = crop.box_xyxy
        assert 0 <= x1 < x2 <= 80
        assert 0 <= y1 < y2 <= 60
        height, width = crop.image_hw3.shape[:2]
        assert height >= y2 - y1
        assert width >= x2 - x1
        if aspect is None:
            assert height <= 60
            assert width <= 80
        else:
            assert abs(height - width * aspect) <= max(1, aspect)
        wide = widen(Box(*crop.box_xyxy), rules, IMAGE.shape)
        top, left = y1 - wide.y1, x1 - wide.x1
        inner = crop.image_hw3[top : top + y2 - y1, left : left + x2 - x1]
        assert np.array_equal(inner, IMAGE[y1:y2, x1:x2, ::-1]), "the box itself is always whole"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"conf": 1.5}, "rules.conf: Input should be less than 1"),
        ({"pad": -0.1}, "rules.pad: Input should be greater than or equal to 0"),
        ({"aspct": 2}, "unknown key 'rules.aspct'. Did you mean 'aspect'"),
        ({"max_truncated": 5}, "rules.max_truncated: Input should be less than or equal to 4"),
    ],
)
def test_rules_that_mean_nothing(rules: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_crops(None, {"rules": rules})
