"""The term between two decoders, against a loop in Python over images, queries and layers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.term import TermConfig
from kd_yolo.distill.classes import ClassMap
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.queries import LEAST_CONFIDENT, QueryTerm
from kd_yolo.losses.gate import balanced_confidence
from kd_yolo.yolo.queries import Queries, answered_queries, trained_queries

Box = list[float]


def draw(layers: int, queries: int, classes: int, *, images: int = 2, seed: int = 0) -> Queries:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(layers, images, queries, 2, generator=generator)
    sizes = 0.05 + 0.3 * torch.rand(layers, images, queries, 2, generator=generator)
    scores = 2 * torch.randn(layers, images, queries, classes, generator=generator) - 2  # some of them confident
    return Queries(torch.cat([centres, sizes], -1), scores)


def outputs(queries: Queries) -> Outputs:
    return Outputs({}, None, queries=queries)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def corners(box: Box) -> Box:
    x, y, w, h = box
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def giou(one: Box, two: Box) -> float:
    a, b = corners(one), corners(two)
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = one[2] * one[3] + two[2] * two[3] - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union - (hull - union) / hull


def class_cost(logit: float) -> float:
    """RT-DETR's: what the focal loss of a positive is above that of a negative."""
    p, alpha, gamma = sigmoid(logit), 0.25, 2.0
    return alpha * (1 - p) ** gamma * -math.log(p + 1e-8) - (1 - alpha) * p**gamma * -math.log(1 - p + 1e-8)


def naive_pairs(student: Queries, teacher: Queries, image: int, own: list[int], other: list[int]) -> dict[int, int]:
    """The student's query for each of the teacher's that teaches; ``own`` and ``other`` are the classes in common."""
    boxes_s, logits_s = (x[image].tolist() for x in student.answer())
    boxes_t, logits_t = (x[image].tolist() for x in teacher.answer())
    best = {q: max(range(len(other)), key=lambda k, q=q: logits_t[q][other[k]]) for q in range(len(boxes_t))}
    taught = [q for q, k in best.items() if sigmoid(logits_t[q][other[k]]) >= LEAST_CONFIDENT]
    costs = [
        [
            2 * class_cost(logits_s[i][own[best[q]]])
            + 5 * sum(abs(a - b) for a, b in zip(boxes_s[i], boxes_t[q], strict=True))
            + 2 * (1 - giou(boxes_s[i], boxes_t[q]))
            for q in taught
        ]
        for i in range(len(boxes_s))
    ]
    rows, columns = linear_sum_assignment(costs)
    return {taught[column]: int(row) for row, column in zip(rows, columns, strict=True)}


def naive_term(student: Queries, teacher: Queries, loss: str, gate: str, own: list[int], other: list[int]) -> float:
    """The mean over layers and pairs, weighed by the gate."""
    total = weights = 0.0
    boxes_t, logits_t = (x.tolist() for x in teacher.answer())
    paired = {n: naive_pairs(student, teacher, n, own, other) for n in range(len(boxes_t))}
    shared_nkm = teacher.answer()[1][..., other].mT
    balanced = {n: {} for n in paired}  # type: dict[int, dict[int, float]]
    kept = torch.cat([shared_nkm[n][:, sorted(pairs)] for n, pairs in paired.items()], 1)[None]
    row = iter(balanced_confidence(kept)[0].tolist())
    for n in paired:
        balanced[n] = {q: next(row) for q in sorted(paired[n])}
    for layer, (n, pairs) in itertools.product(range(len(student.boxes_lnq4)), paired.items()):
        for q, i in pairs.items():
            z_t = [logits_t[n][q][k] for k in other]
            z_s = [float(student.scores_lnqk[layer, n, i, k]) for k in own]
            weight = {"all": 1.0, "confidence": max(map(sigmoid, z_t)), "balanced": balanced[n][q]}[gate]
            if loss == "bkd":
                value = sum(
                    -(sigmoid(t) * math.log(sigmoid(s)) + (1 - sigmoid(t)) * math.log(1 - sigmoid(s)))
                    * abs(sigmoid(t) - sigmoid(s))
                    for s, t in zip(z_s, z_t, strict=True)
                )
            else:
                value = 1 - giou(student.boxes_lnq4[layer, n, i].tolist(), boxes_t[n][q])
            total, weights = total + weight * value, weights + weight
    return total / max(weights, 1.0)


@pytest.mark.parametrize("loss", ["bkd", "box_iou"])
@pytest.mark.parametrize("gate", ["confidence", "balanced", "all"])
@pytest.mark.parametrize(
    ("sizes", "classes"),
    [
        ((3, 12, 12), ClassMap()),
        ((1, 12, 5), ClassMap()),  # the teacher has fewer queries
        ((2, 5, 12), ClassMap()),  # the student has
        ((2, 12, 12), ClassMap((0, 2), (3, 1))),
        ((2, 60, 50), ClassMap()),
    ],
)
def test_term_is_the_loop_over_layers_images_and_pairs(
    loss: str, gate: Any, sizes: tuple[int, int, int], classes: ClassMap
) -> None:
    layers, num_own, num_other = sizes
    student, teacher = draw(layers, num_own, 3), draw(1, num_other, 4 if classes.teacher else 3, seed=1)
    term = QueryTerm(TermConfig(loss=loss, gate=gate), classes)
    own, other = list(classes.student) or [0, 1, 2], list(classes.teacher) or [0, 1, 2]
    expected = naive_term(student, teacher, loss, gate, own, other)
    assert float(term(outputs(student), [outputs(teacher)])) == pytest.approx(expected, rel=1e-4)


def test_order_of_queries_does_not_matter() -> None:
    student, teacher = draw(2, 9, 3), draw(1, 9, 3, seed=1)
    term = QueryTerm(TermConfig(loss="bkd", gate="confidence"), ClassMap())
    want = float(term(outputs(student), [outputs(teacher)]))
    orders = torch.tensor([4, 2, 8, 0, 1, 7, 3, 6, 5]), torch.tensor([8, 7, 6, 5, 4, 3, 2, 1, 0])
    own, other = (
        Queries(queries.boxes_lnq4[:, :, order], queries.scores_lnqk[:, :, order])
        for queries, order in zip((student, teacher), orders, strict=True)
    )
    assert float(term(outputs(own), [outputs(other)])) == pytest.approx(want, rel=1e-5)


def test_without_a_common_class_boxes_alone_are_matched() -> None:
    student, teacher = draw(1, 6, 3), draw(1, 6, 5, seed=1)
    term = QueryTerm(TermConfig(loss="box_iou", gate="all"), None)
    got = float(term(outputs(student), [outputs(teacher)]))
    boxes_s, boxes_t = student.boxes_lnq4[0], teacher.boxes_lnq4[0]
    is_taught = teacher.scores_lnqk[0].sigmoid().amax(-1) >= LEAST_CONFIDENT
    assert 0 < is_taught.sum() < is_taught.numel()
    losses = []
    for own, every, taught in zip(boxes_s.tolist(), boxes_t, is_taught, strict=True):
        other = every[taught].tolist()
        costs = [[5 * sum(map(abs, map(float.__sub__, a, b))) + 2 * (1 - giou(a, b)) for b in other] for a in own]
        losses += [1 - giou(own[i], other[j]) for i, j in zip(*linear_sum_assignment(costs), strict=True)]
    assert got == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_a_teacher_that_sees_nothing_teaches_nothing() -> None:
    student, teacher = draw(3, 8, 2), draw(1, 8, 2, seed=1)
    student.scores_lnqk.requires_grad_(True)
    unsure = Queries(teacher.boxes_lnq4, teacher.scores_lnqk - 20)
    loss = QueryTerm(TermConfig(loss="bkd", gate="confidence"), ClassMap())(outputs(student), [outputs(unsure)])
    loss.backward()
    assert loss == 0
    assert not student.scores_lnqk.grad.any()  # type: ignore[union-attr]


def test_gradient_reaches_every_layer_of_the_student_and_no_teacher() -> None:
    student, teacher = draw(3, 8, 2), draw(1, 8, 2, seed=1)
    for loss, tensor in (("bkd", student.scores_lnqk), ("box_iou", student.boxes_lnq4)):
        tensor.requires_grad_(True)
        QueryTerm(TermConfig(loss=loss, gate="all"), ClassMap())(outputs(student), [outputs(teacher)]).backward()
        assert tensor.grad is not None
        assert (tensor.grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    ("loss", "gate", "message"),
    [
        ("dfl_kl", "confidence", "box distributions at anchors, an RT-DETR has queries: use --loss bkd or kl"),
        ("obj_gated", "confidence", "boxes and class logits at anchors"),
        ("crosskd", "confidence", "the teacher's head makes"),
        ("bkd", "assigned", "gate=assigned counts anchors, an RT-DETR has queries"),
    ],
)
def test_what_is_made_for_anchors_is_refused(loss: str, gate: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QueryTerm(TermConfig(loss=loss, gate=gate), ClassMap())


def test_proposals_of_the_encoder_are_no_layer() -> None:
    boxes, scores = torch.rand(4, 2, 6, 4), torch.rand(4, 2, 6, 3)
    found = trained_queries((boxes, scores))
    assert torch.equal(found.boxes_lnq4, boxes[1:])
    assert torch.equal(found.scores_lnqk, scores[1:])
    answered = answered_queries((None, (boxes[:1], scores[:1], None, None, None)))
    assert torch.equal(answered.answer()[0], boxes[0])
