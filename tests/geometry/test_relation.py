"""Parents from boxes: the definition by a naive loop, ties and equal boxes, properties, speed, errors."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.geometry import relation
from kd_yolo.geometry.relation import SHARE_MIN, find_parent_nodes, learn_allowed_pairs

Box = tuple[int, int, int, int]
SHARES = st.sampled_from(["0.1", "0.5", "0.75", "0.9", "1"])


@st.composite
def boxes(draw: st.DrawFn, least: int = 0) -> Box:
    x, y = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    return x, y, x + draw(st.integers(least, 10)), y + draw(st.integers(least, 10))


def naive(boxes_xyxy: list[Box], share_min: Fraction) -> list[int]:
    """The docstring, box by box, in exact numbers."""
    parents = []
    for x0, y0, x1, y1 in boxes_xyxy:
        area, best = (x1 - x0) * (y1 - y0), None
        for j, (u0, v0, u1, v1) in enumerate(boxes_xyxy):
            other = (u1 - u0) * (v1 - v0)
            width, height = min(x1, u1) - max(x0, u0), min(y1, v1) - max(y0, v0)
            contained = width >= 0 and height >= 0 and width * height >= share_min * area
            if contained and other > area and (best is None or (other, u0, v0, u1, j) < best):
                best = other, u0, v0, u1, j
        parents.append(-1 if best is None else best[-1])
    return parents


@given(st.lists(boxes(), max_size=12), SHARES)
def test_the_definition(some: list[Box], share: str) -> None:
    assert find_parent_nodes(some, share_min=float(share)) == naive(some, Fraction(share))


@given(st.lists(boxes(), max_size=12), SHARES)
def test_a_forest_whose_areas_grow(some: list[Box], share: str) -> None:
    parents = find_parent_nodes(some, share_min=float(share))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in some]
    for child, parent in enumerate(parents):
        assert parent == -1 or areas[parent] > areas[child]
    for node in range(len(some)):
        for _ in some:
            node = parents[node] if node >= 0 else -1
        assert node == -1, "every walk upwards ends at a root"


@given(st.lists(boxes(), max_size=10, unique=True), st.integers(-50, 50), st.integers(1, 9), st.data())
def test_place_scale_and_order_do_not_matter(some: list[Box], shift: int, scale: int, data: st.DataObject) -> None:
    parents = find_parent_nodes(some)
    moved = [tuple(value * scale + shift for value in box) for box in some]
    assert find_parent_nodes(moved) == parents
    order = data.draw(st.permutations(range(len(some))))
    shuffled = find_parent_nodes([some[i] for i in order])
    assert [-1 if p < 0 else order[p] for p in shuffled] == [parents[i] for i in order]


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_nested_chain_is_a_chain(count: int, random: object) -> None:
    order = list(range(count))
    random.shuffle(order)  # type: ignore[attr-defined]
    nested = [(k, k, 200 - k, 150 - k) for k in order]  # the larger k, the deeper
    parents = find_parent_nodes(nested)
    assert [-1 if p < 0 else order[p] for p in parents] == [k - 1 for k in order]


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 80, (150, 2))
    some = np.hstack([corners, corners + rng.uniform(0, 40, (150, 2))])
    whole = find_parent_nodes(some)
    monkeypatch.setattr(relation, "PAIRS_AT_ONCE", 1000)
    assert find_parent_nodes(some) == whole
    assert len(set(whole)) > 20


def test_no_boxes() -> None:
    assert find_parent_nodes([]) == []
    assert find_parent_nodes(np.zeros((0, 4))) == []


def test_whole_numbers_come_back() -> None:
    parents = find_parent_nodes(np.array([[0, 0, 9, 9], [1, 1, 2, 2]], np.float32))
    assert parents == [-1, 0]
    assert all(type(parent) is int for parent in parents)


def test_equal_boxes_are_siblings() -> None:
    assert find_parent_nodes([(0, 0, 4, 4), (0, 0, 4, 4)]) == [-1, -1]
    # Both lie in the third; the first of them holds the fourth.
    assert find_parent_nodes([(1, 1, 5, 5), (1, 1, 5, 5), (0, 0, 9, 9), (2, 2, 3, 3)]) == [2, 2, -1, 0]


def test_boxes_that_differ_by_rounding_are_equal() -> None:
    shares = np.array([(0, 0, 0.3, 0.3), (0, 0, 0.3, 0.1 + 0.2)])
    assert shares[0, 3] < shares[1, 3]
    assert find_parent_nodes(shares) == [-1, -1]


def test_of_containers_with_equal_area_the_left_one_then_the_upper_one() -> None:
    left, right, child = (0, 0, 10, 10), (2, 0, 12, 10), (4, 4, 6, 6)
    assert find_parent_nodes([right, left, child])[2] == 1
    upper, lower = (0, 0, 10, 10), (0, 2, 10, 12)
    assert find_parent_nodes([lower, upper, child])[2] == 1
    flat, tall = (0, 0, 20, 5), (0, 0, 5, 20)
    assert find_parent_nodes([flat, tall, (1, 1, 3, 3)])[2] == 1


def test_the_share_decides() -> None:
    parent, child = (0, 0, 100, 100), (90, 0, 110, 10)  # half inside
    assert SHARE_MIN == 0.5
    assert find_parent_nodes([parent, child]) == [-1, 0]
    assert find_parent_nodes([parent, child], share_min=0.51) == [-1, -1]
    assert find_parent_nodes([parent, (91, 0, 111, 10)]) == [-1, -1]


def test_a_box_without_area_is_held_by_what_it_touches() -> None:
    assert find_parent_nodes([(0, 0, 9, 9), (5, 5, 5, 5), (9, 3, 9, 4), (10, 0, 10, 5)]) == [-1, 0, 0, -1]


def test_apart_on_both_axes_is_not_inside() -> None:
    """Two negative overlaps must not multiply to a positive area."""
    assert find_parent_nodes([(0, 0, 100, 100), (200, 200, 201, 201)]) == [-1, -1]


def test_classes_restrict_who_may_be_whose_parent() -> None:
    some, classes = [(0, 0, 90, 90), (1, 1, 60, 60), (5, 5, 9, 9), (20, 20, 30, 30)], [0, 1, 2, 3]
    assert find_parent_nodes(some) == [-1, 0, 1, 1]
    allowed = learn_allowed_pairs([([0, 1, 2], [-1, 0, 0]), ([1, 3], [-1, 0])], 4)
    assert np.argwhere(allowed).tolist() == [[1, 0], [2, 0], [3, 1]]
    assert find_parent_nodes(some, classes=classes, allowed_kk=allowed) == [-1, 0, 0, 1]
    assert find_parent_nodes(some, classes=classes, allowed_kk=np.ones((4, 4))) == [-1, 0, 1, 1]


def test_five_thousand_boxes_take_no_matrix() -> None:
    rng = np.random.default_rng(1)
    centres, sizes = rng.uniform(0, 1000, (5000, 2)), rng.uniform(1, 300, (5000, 2))
    some = np.hstack([centres - sizes / 2, centres + sizes / 2])
    tracemalloc.start()
    parents = find_parent_nodes(some)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(parent >= 0 for parent in parents) > 4900
    assert peak < 100e6, "5,000 x 5,000 numbers are 200 MB"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([(0, 0, 1, 1), (0, 0, float("nan"), 1)], r"boxes\[1\] is \(0, 0, nan, 1\), expected finite"),
        ([(0, 0, float("inf"), 1)], "expected finite"),
        ([(0, 0, 1, 1), (5, 0, 1, 1)], r"boxes\[1\] is \(5, 0, 1, 1\), expected x0 <= x1"),
        ([(0, 0, 1)], r"shape \(1, 3\), expected \(M,4\)"),
        ([0, 0, 1, 1], r"shape \(4,\)"),
        ([("a", 0, 1, 1)], "not numbers"),
    ],
)
def test_bad_boxes_are_told(bad: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_parent_nodes(bad)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.01, float("nan")])
def test_a_share_outside_its_range_is_told(share: float) -> None:
    with pytest.raises(ConfigError, match="share_min"):
        find_parent_nodes([(0, 0, 1, 1)], share_min=share)


def test_classes_that_do_not_fit_are_told() -> None:
    some = [(0, 0, 1, 1), (0, 0, 2, 2)]
    with pytest.raises(ConfigError, match="belong together"):
        find_parent_nodes(some, classes=[0, 1])
    with pytest.raises(ConfigError, match="belong together"):
        find_parent_nodes(some, allowed_kk=np.ones((2, 2)))
    with pytest.raises(ConfigError, match=r"shape \(2, 3\)"):
        find_parent_nodes(some, classes=[0, 1], allowed_kk=np.ones((2, 3)))
    with pytest.raises(InputError, match="1 classes for 2 boxes"):
        find_parent_nodes(some, classes=[0], allowed_kk=np.ones((2, 2)))
    with pytest.raises(InputError, match=r"0\.\.2, allowed_kk knows 0\.\.1"):
        find_parent_nodes(some, classes=[0, 2], allowed_kk=np.ones((2, 2)))
