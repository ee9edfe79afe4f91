"""The drawing: what is where and in which colour."""

from __future__ import annotations

import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.geometry.relation import draw_relations
from kd_yolo.geometry.relation_draw import _COLOURS

POOL, TASK = (20, 20, 300, 200), (60, 90, 120, 140)
WHITE = np.full((240, 320, 3), 255, np.uint8)


def has(image: np.ndarray, colour: tuple[int, int, int], rows: slice, columns: slice) -> bool:
    """Whether a pixel of the window is about this colour; smooth lines never have it exactly."""
    return bool((np.abs(image[rows, columns].astype(int) - colour) < 40).all(-1).any())


def test_boxes_have_the_colours_of_their_classes_and_arrows_of_the_parent() -> None:
    image = draw_relations(WHITE, [POOL, TASK], [-1, 0], classes=[2, 5])
    assert has(image, _COLOURS[2], slice(50, 52), slice(18, 23)), "left side of the pool"
    assert has(image, _COLOURS[5], slice(100, 102), slice(58, 63)), "left side of the task"
    # The pool's nearest border to the task's middle (90, 115) is the left one: the arrow crosses (40, 115).
    assert has(image, _COLOURS[2], slice(113, 118), slice(38, 42))
    assert (image[105, 200:280] == 255).all(), "nothing to the right of the task"


def test_without_classes_the_colour_says_the_depth() -> None:
    image = draw_relations(WHITE, [TASK, POOL], [1, -1])
    assert has(image, _COLOURS[0], slice(50, 52), slice(18, 23))
    assert has(image, _COLOURS[1], slice(100, 102), slice(58, 63))


def test_a_child_on_the_border_still_gets_an_arrow_to_be_seen() -> None:
    event = (10, 100, 30, 120)  # its middle lies on the pool's left side
    image = draw_relations(WHITE, [POOL, event], [-1, 0], classes=[0, 1])
    assert has(image, _COLOURS[0], slice(60, 62), slice(19, 22))
    assert has(image, _COLOURS[0], slice(108, 113), slice(14, 30))
    assert not has(image, _COLOURS[0], slice(108, 113), slice(40, 280))


def test_the_image_is_not_changed_and_grey_ones_will_do() -> None:
    before = WHITE.copy()
    out = draw_relations(before, [POOL], [-1])
    assert np.array_equal(before, WHITE)
    assert out.shape == WHITE.shape
    assert out.dtype == np.uint8
    assert np.array_equal(draw_relations(WHITE[..., 0], [POOL], [-1]), out)
    assert np.array_equal(draw_relations(WHITE, [], []), WHITE)
    assert draw_relations(WHITE[:, ::-1], [POOL], [-1]).shape == WHITE.shape, "views that OpenCV does not take"


def test_tags_do_not_cover_each_other() -> None:
    one = draw_relations(WHITE, [POOL], [-1], labels=["pool"], classes=[0])
    two = draw_relations(WHITE, [POOL, POOL], [-1, -1], labels=["pool", "pool"], classes=[0, 0])
    tag = slice(5, 18)
    count = [(image[tag] == _COLOURS[0]).all(-1).sum() for image in (one, two)]
    assert count[1] > 1.8 * count[0]


def test_a_tag_at_the_top_goes_inside() -> None:
    image = draw_relations(WHITE, [(50, 0, 150, 80)], [-1], labels=["lane"], classes=[3])
    assert (image[3:9, 54:58] == _COLOURS[3]).all(-1).any()


def test_boxes_far_outside_do_no_harm() -> None:
    image = draw_relations(WHITE, [(-1e12, -1e12, 1e12, 1e12), TASK], [-1, 0], labels=["a", "b"])
    assert has(image, _COLOURS[1], slice(100, 102), slice(58, 63))


def test_lines_grow_with_the_image() -> None:
    large = np.full((2400, 3200, 3), 255, np.uint8)
    ink = [(draw_relations(im, [box], [-1]) != 255).any(-1).sum() for im, box in
           ((WHITE, POOL), (large, tuple(10 * v for v in POOL)))]  # fmt: skip
    assert ink[1] > 15 * ink[0], "ten times as long and about twice as thick"


@pytest.mark.parametrize(
    ("image", "parents", "labels", "message"),
    [
        (WHITE.astype(float), [-1], None, "type float64, expected"),
        (WHITE[..., :2], [-1], None, "shape"),
        (WHITE[:0], [-1], None, "shape"),
        (WHITE, [-1, -1], None, "2 parents for 1 boxes"),
        (WHITE, [-1], ["a", "b"], "2 labels for 1 boxes"),
    ],
)
def test_bad_input_is_told(image: np.ndarray, parents: list[int], labels: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_relations(image, [POOL], parents, labels=labels)


def test_cycles_are_told() -> None:
    with pytest.raises(InputError, match="each other's parents"):
        draw_relations(WHITE, [POOL, TASK], [1, 0])
