"""The diagram generator: what is drawn depends on nothing but its number, and the truth is true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kd_yolo.base.rng import stream
from kd_yolo.builtin.diagram.paper import Sheet
from kd_yolo.builtin.diagram.pen import by_hand, points
from kd_yolo.builtin.diagram.plan import plan_diagram
from kd_yolo.builtin.diagram.render import _box, _ink, draw_diagram
from kd_yolo.builtin.diagram.shapes import details, outline
from kd_yolo.builtin.diagram.style import sample_style
from kd_yolo.builtin.diagram.tree import CLASS_NAMES, CLASS_OF_KIND, PAGE_HEIGHT, PAGE_WIDTH, Diagram, Node
from kd_yolo.builtin.presets import get_diagram_preset
from kd_yolo.geometry.relation import RelationMetrics, find_parent_nodes, learn_allowed_pairs, relation_metrics

GOLDEN = Path(__file__).with_name("golden_diagram.json")
SMOKE = get_diagram_preset("smoke")
POOL, LANE, ACTIVITY = (CLASS_NAMES.index(name) for name in ("pool", "lane", "activity"))


@pytest.fixture(scope="module")
def plans() -> list[Diagram]:
    return [plan_diagram(stream(0, "test", i)) for i in range(400)]


def test_a_image_is_always_the_same() -> None:
    first, second = (draw_diagram(5, "val", 3, 320, 240) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes_xyxy, second.boxes_xyxy)
    assert (first.classes, first.parents) == (second.classes, second.parents)


def test_seed_split_and_index_each_change_the_image() -> None:
    keys = ((0, "val", 1), (1, "val", 1), (0, "train", 1), (0, "val", 2))
    images = [draw_diagram(*key, 160, 120).image for key in keys]
    assert all(not np.array_equal(images[0], other) for other in images[1:])


@pytest.mark.parametrize("golden", json.loads(GOLDEN.read_text()), ids=lambda g: f"{g['split']}{g['index']}")
def test_golden_images(golden: dict) -> None:
    """Decoded values, as encoders differ. A change here needs a higher VERSION in kd_yolo/builtin/diagram_set.py."""
    drawing = draw_diagram(golden["seed"], golden["split"], golden["index"], SMOKE.width_px, SMOKE.height_px)
    image = drawing.image.astype(np.float64)
    blocks = image.reshape(8, image.shape[0] // 8, 8, image.shape[1] // 8, 3).mean((1, 3))
    np.testing.assert_allclose(blocks, golden["blocks"], atol=2.0)
    assert list(drawing.classes) == golden["classes"]
    assert list(drawing.parents) == golden["parents"]
    np.testing.assert_allclose(drawing.boxes_xyxy, golden["boxes"], atol=0.5)


@pytest.mark.parametrize("kind", CLASS_OF_KIND)
def test_boxes_are_tight_around_what_is_drawn(kind: str) -> None:
    for seed in range(6):
        rng = stream(seed, kind)
        style = sample_style(rng)
        sheet = Sheet(np.diag([1.5, 1.5, 1.0]), (400, 300), (255, 255, 255), "plain", 10, 0, photographed=False)
        node = Node(kind, (120.0, 90.0, 210.0, 160.0))
        strokes = outline(node, rng, style)
        image = np.full((300, 400, 3), 255, np.float32)
        _ink(image, strokes, sheet, style, rng)
        rows, columns = (np.flatnonzero((image.min(2) < 235).any(axis)) for axis in (1, 0))
        drawn = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        np.testing.assert_allclose(_box(strokes, sheet, style), drawn, atol=3.0)
        np.testing.assert_allclose(_box(strokes, sheet, style), (180, 135, 315, 240), atol=26.0)


def test_names_and_marks_are_drawn_but_do_not_count() -> None:
    rng = stream(0)
    style = sample_style(rng)
    node = Node("exclusive", (100.0, 100.0, 140.0, 140.0))
    assert outline(node, stream(1), style)[0].points.max() < 145
    assert len(details(node, stream(1), style)) >= 2


def test_truth_is_a_forest_of_the_right_classes(plans: list[Diagram]) -> None:
    for plan in plans:
        for node in plan.nodes:
            above, hops = node.parent, 0
            while above >= 0:
                above, hops = plan.nodes[above].parent, hops + 1
            assert hops <= 3
            owner = plan.nodes[node.parent].class_id if node.parent >= 0 else None
            name = CLASS_NAMES[node.class_id]
            allowed = {
                "pool": {None}, "lane": {POOL}, "data": {POOL, None}, "annotation": {POOL, None},
            }.get(name, {POOL, LANE, ACTIVITY, None})  # fmt: skip
            assert owner in allowed
            assert owner is not ACTIVITY or plan.nodes[node.parent].kind == "subprocess"
        for edge in plan.edges:
            assert edge.source != edge.target


def test_every_depth_class_and_layout_occurs(plans: list[Diagram]) -> None:
    assert {node.kind for plan in plans for node in plan.nodes} == set(CLASS_OF_KIND)
    pools = [sum(node.kind == "pool" for node in plan.nodes) for plan in plans]
    assert set(pools) == {0, 1, 2, 3}
    assert 0.1 < np.mean([any(node.upright for node in plan.nodes) for plan in plans]) < 0.3
    sizes = [len(plan.nodes) for plan in plans]
    assert 12 < np.median(sizes) < 20
    assert min(sizes) >= 4


def test_nodes_are_on_the_page_and_apart(plans: list[Diagram]) -> None:
    outside = overlapping = total = 0
    for plan in plans:
        rects = np.array([node.rect for node in plan.nodes])
        outside += int(((rects < -2) | (rects > np.array([PAGE_WIDTH, PAGE_HEIGHT] * 2) + 2)).any(1).sum())
        holders = {node.parent for node in plan.nodes}
        leaves = rects[[i for i, n in enumerate(plan.nodes) if i not in holders and n.class_id >= ACTIVITY]]
        total += len(leaves)
        for i, a in enumerate(leaves):
            for b in leaves[:i]:
                overlapping += int((np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all())
    assert outside / total < 0.003
    assert overlapping / total < 0.003


def test_geometry_knows_as_much_as_on_real_diagrams(plans: list[Diagram]) -> None:
    """On hand-drawn ones F1 is 0.914 from boxes alone, 0.993 with class pairs: docs/benchmarks/relation_truth.json."""
    known = [([n.class_id for n in plan.nodes], [n.parent for n in plan.nodes]) for plan in plans]
    allowed = learn_allowed_pairs(known, len(CLASS_NAMES))
    alone = ruled = RelationMetrics()
    for plan, (classes, parents) in zip(plans, known, strict=True):
        rects = [node.rect for node in plan.nodes]
        alone += relation_metrics(rects, find_parent_nodes(rects), rects, parents)
        found = find_parent_nodes(rects, classes=classes, allowed_kk=allowed)
        ruled += relation_metrics(rects, found, rects, parents)
    assert 0.89 < alone.f1 < 0.94
    assert 0.98 < ruled.f1 < 0.997


def test_boxes_lie_in_the_image() -> None:
    for index in range(12):
        drawing = draw_diagram(1, "train", index, 320, 240)
        boxes = drawing.boxes_xyxy
        assert drawing.image.shape == (240, 320, 3)
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= (320, 240)).all()
        assert (boxes[:, 2:] - boxes[:, :2]).min() > 3
        assert len(boxes) == len(drawing.classes) == len(drawing.parents)


def test_the_order_of_boxes_tells_nothing() -> None:
    drawings = [draw_diagram(2, "val", index, 160, 120) for index in range(20)]
    later = [parent > child for d in drawings for child, parent in enumerate(d.parents) if parent >= 0]
    assert 0.3 < np.mean(later) < 0.7


def test_a_hand_stays_near_the_line() -> None:
    line = points((0, 0), (300, 0))
    drawn = by_hand(line, stream(0), 0.8)
    assert 0.2 < drawn[:, 1].std() < 3
    assert np.abs(drawn[[0, -1]] - line).max() < 4
    assert np.array_equal(by_hand(line, stream(0), 0.0)[[0, -1]], line)
    dot = points((3, 4), (3, 4))
    assert np.array_equal(by_hand(dot, stream(0), 1.0), dot)
