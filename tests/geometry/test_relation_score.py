"""Scores of parent links: what is matched, what counts, how images add up."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.geometry import boxes as boxes_module
from kd_yolo.geometry.boxes import iou_pairs
from kd_yolo.geometry.forest import as_parents, depths, find_cycle
from kd_yolo.geometry.relation import RelationMetrics, Relations, evaluate_relations, relation_metrics

# A pool with two lanes; a task in each lane; a task outside.
TRUE = [(0, 0, 100, 100), (10, 0, 100, 50), (10, 50, 100, 100), (20, 10, 40, 30), (20, 60, 40, 80), (200, 0, 220, 20)]
PARENTS = [-1, 0, 0, 1, 2, -1]


def test_the_truth_scores_one() -> None:
    found = relation_metrics(TRUE, PARENTS, TRUE, PARENTS)
    assert found == RelationMetrics(correct=4, predicted=4, true=4, matched=6)
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)


@given(st.permutations(range(6)))
def test_the_order_of_predictions_does_not_matter(order: list[int]) -> None:
    place = {i: k for k, i in enumerate(order)}
    parents = [place[PARENTS[i]] if PARENTS[i] >= 0 else -1 for i in order]
    assert relation_metrics([TRUE[i] for i in order], parents, TRUE, PARENTS).f1 == 1.0


def test_a_wrong_parent_costs_both_sides() -> None:
    found = relation_metrics(TRUE, [-1, 0, 0, 2, 2, -1], TRUE, PARENTS)
    assert (found.correct, found.predicted, found.true) == (3, 4, 4)
    assert found.precision == found.recall == found.f1 == 0.75


def test_a_root_with_a_parent_costs_precision_only() -> None:
    found = relation_metrics(TRUE, [-1, 0, 0, 1, 2, 0], TRUE, PARENTS)
    assert (found.precision, found.recall) == (0.8, 1.0)
    assert found.f1 == pytest.approx(2 * 0.8 / 1.8)


def test_a_child_without_its_parent_costs_recall_only() -> None:
    found = relation_metrics(TRUE, [-1, 0, 0, -1, 2, -1], TRUE, PARENTS)
    assert (found.precision, found.recall) == (1.0, 0.75)


def test_a_missed_parent_box_loses_its_links() -> None:
    """Without the first lane: its task is given to the pool, which is wrong; two true links cannot be found."""
    found = relation_metrics([TRUE[0], *TRUE[2:]], [-1, 0, 0, 1, -1], TRUE, PARENTS)
    assert found == RelationMetrics(correct=2, predicted=3, true=4, undetected=2, matched=5, missed=1)


def test_an_extra_box_and_its_link_count_as_wrong() -> None:
    found = relation_metrics([*TRUE, (50, 60, 60, 70)], [*PARENTS, 2], TRUE, PARENTS)
    assert found == RelationMetrics(correct=4, predicted=5, true=4, matched=6, extra=1)


def test_a_root_given_to_an_extra_box_is_no_right_link() -> None:
    """Neither has a true parent, but that does not make them agree."""
    found = relation_metrics([*TRUE, (190, 0, 400, 90)], [*PARENTS[:5], 6, -1], TRUE, PARENTS)
    assert (found.correct, found.predicted) == (4, 5)


def test_of_two_predictions_the_closer_one_is_matched() -> None:
    close, far = (0, 0, 98, 100), (0, 0, 80, 100)
    for first, second in ((close, far), (far, close)):
        parents = [-1, -1, 0 if first is close else 1]
        found = relation_metrics([first, second, TRUE[3]], parents, [TRUE[0], TRUE[3]], [-1, 0])
        assert (found.correct, found.extra) == (1, 1)


def test_pool_and_lane_of_almost_one_size_are_told_apart() -> None:
    true = [(0, 0, 100, 100), (5, 0, 100, 100)]
    found = relation_metrics([(4, 0, 100, 100), (1, 0, 100, 100)], [1, -1], true, [-1, 0])
    assert found.correct == 1


def test_every_true_box_is_matched_once() -> None:
    found = relation_metrics([TRUE[0]] * 3, [-1] * 3, [TRUE[0]], [-1])
    assert (found.matched, found.extra, found.missed) == (1, 2, 0)


def test_iou_min_is_the_border() -> None:
    half = (0, 0, 50, 100)
    assert relation_metrics([half], [-1], [TRUE[0]], [-1]).matched == 1
    assert relation_metrics([half], [-1], [TRUE[0]], [-1], 0.51).matched == 0


def test_classes_must_agree_when_given() -> None:
    same, other = [0, 1, 1, 2, 2, 2], [0, 1, 1, 2, 3, 2]
    assert relation_metrics(TRUE, PARENTS, TRUE, PARENTS, classes=(same, same)).correct == 4
    found = relation_metrics(TRUE, PARENTS, TRUE, PARENTS, classes=(other, same))
    assert (found.correct, found.matched, found.missed, found.extra) == (3, 5, 1, 1)


def test_classes_belong_to_the_boxes_whatever_their_order() -> None:
    true_classes = [0, 1, 1, 2, 2, 3]
    order = [4, 0, 5, 2, 1, 3]
    parents = [order.index(PARENTS[i]) if PARENTS[i] >= 0 else -1 for i in order]
    pred = [TRUE[i] for i in order]
    found = relation_metrics(pred, parents, TRUE, PARENTS, classes=([true_classes[i] for i in order], true_classes))
    assert found == RelationMetrics(correct=4, predicted=4, true=4, matched=6)


def test_a_box_that_is_matched_keeps_the_first_true_box() -> None:
    """It overlaps two true ones, and the nearer is the one with the number 0."""
    true = [(0, 0, 100, 100), (0, 0, 100, 90), (0, 0, 10, 10)]
    found = relation_metrics([(0, 0, 100, 100), (0, 0, 10, 10)], [-1, 0], true, [-1, -1, 0])
    assert found == RelationMetrics(correct=1, predicted=1, true=1, matched=2, missed=1)


@pytest.mark.parametrize(
    ("pred", "true", "scores"),
    [([], [], (1, 1, 1)), ([-1], [-1], (1, 1, 1)), ([], [-1, 0], (0, 0, 0)), ([-1, 0], [], (0, 0, 0))],
    ids=["nothing", "a root", "nothing found", "nothing there"],
)
def test_scores_without_links(pred: list[int], true: list[int], scores: tuple[float, float, float]) -> None:
    found = relation_metrics(TRUE[: len(pred)], pred, TRUE[: len(true)], true)
    assert (found.precision, found.recall, found.f1) == scores


def test_a_set_is_scored_link_by_link() -> None:
    samples = [
        ("a.png", Relations(TRUE, PARENTS), Relations(TRUE, PARENTS)),
        ("b.png", Relations(TRUE[:2], [-1, 0]), Relations(TRUE[:2], [-1, -1])),
        ("c.png", Relations([], []), Relations([], [])),
    ]
    report = evaluate_relations(iter(samples))
    assert [name for name, _ in report.rows] == ["a.png", "b.png", "c.png"]
    assert report.total == RelationMetrics(correct=4, predicted=4, true=5, matched=8)
    assert report.total == sum((row for _, row in report.rows), RelationMetrics())
    assert report.total.recall == 0.8
    assert "precision 1.000, recall 0.800, F1 0.889 (4 right of 4 predicted and 5 true in 3 images" in str(report)
    json.dumps(asdict(report))


def test_a_set_compares_classes_where_both_sides_have_them() -> None:
    truth, found = Relations(TRUE[:2], [-1, 0], [0, 1]), Relations(TRUE[:2], [-1, 0], [0, 0])
    assert evaluate_relations([("a", truth, found)]).total.correct == 0
    assert evaluate_relations([("a", truth, Relations(TRUE[:2], [-1, 0]))]).total.correct == 1


def test_the_image_of_a_fault_is_named() -> None:
    with pytest.raises(InputError, match=r"b\.png: predicted parents\[0\] is 7"):
        evaluate_relations([("b.png", Relations(TRUE[:1], [-1]), Relations(TRUE[:1], [7]))])


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([-1, 1], r"true parents\[1\] is 1, expected -1 \(none\) or the index of another box, 0\.\.1"),
        ([-1, -2], r"true parents\[1\] is -2"),
        ([-1, 2], r"true parents\[1\] is 2"),
        ([-1], "1 true parents for 2 boxes"),
        ([-1, 0.5], "not whole numbers"),
        (["a", "b"], "not whole numbers"),
    ],
)
def test_bad_parents_are_told(parents: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        relation_metrics(TRUE[:2], [-1, 0], TRUE[:2], parents)


def test_bad_settings_are_told() -> None:
    with pytest.raises(ConfigError, match="iou_min 0"):
        relation_metrics(TRUE, PARENTS, TRUE, PARENTS, 0)
    with pytest.raises(InputError, match="5 predicted classes for 6 boxes"):
        relation_metrics(TRUE, PARENTS, TRUE, PARENTS, classes=([0] * 5, [0] * 6))
    with pytest.raises(InputError, match=r"predicted boxes\[0\]"):
        relation_metrics([(3, 0, 1, 1)], [-1], TRUE, PARENTS)


def test_iou_of_all_pairs_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 9, (n, 2, 2)), axis=1).reshape(n, 4) for n in (23, 17))
    b[0] = a[0]
    expected = []
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            side = np.maximum(np.minimum(p[2:], q[2:]) - np.maximum(p[:2], q[:2]), 0)
            shared = side.prod()
            iou = shared / ((p[2:] - p[:2]).prod() + (q[2:] - q[:2]).prod() - shared)
            if iou >= 0.2:
                expected.append((i, j, iou))
    monkeypatch.setattr(boxes_module, "PAIRS_AT_ONCE", 40)
    found = list(zip(*iou_pairs(a, b, 0.2), strict=True))
    np.testing.assert_allclose(found, expected)
    assert len(found) > 10


def test_depths_and_cycles() -> None:
    assert depths(as_parents(PARENTS, 6)).tolist() == [0, 1, 1, 2, 2, 0]
    assert find_cycle(as_parents(PARENTS, 6)) == []
    assert find_cycle(as_parents([3, 0, 1, 2, 1], 5)) == [0, 3, 2, 1]
    assert find_cycle(as_parents([-1, 2, 3, 2], 4)) == [2, 3]
    with pytest.raises(InputError, match="boxes 2, 3 are each other's parents"):
        depths(as_parents([-1, 2, 3, 2], 4))
    assert depths(as_parents([], 0)).tolist() == []
