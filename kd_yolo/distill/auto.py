"""``--loss auto``: which terms fit these networks and this data, and why, by one rule for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import printable
from kd_yolo.config.distill import AUTO_RECIPE
from kd_yolo.distill.classes import ClassMap
from kd_yolo.distill.kept import KeptClasses, map_kept_classes
from kd_yolo.yolo.heads import HeadFacts, head_facts

BOX_WEIGHT = 6.0  # of box_iou: as much above its default as dfl_kl's in AUTO_RECIPE
QUERY_SHARE = "auto:0.15"  # of the gradient, for a term on queries: RT-DETR's loss does not grow with the batch
FEATURES: dict[str, Any] = {"terms": [{"loss": "cwd"}]}
Recipe = dict[str, Any]


def choose(
    student: nn.Module,
    teachers: Sequence[nn.Module],
    kept: KeptClasses,
    boxes: Mapping[str, int] | None = None,
) -> Recipe:
    """The recipe for these networks.

    Responses, where every teacher knows a class of the data: ``bkd`` for the classes, every class of a batch counting
    alike where there are several, and for the boxes ``dfl_kl``, or ``box_iou`` where the heads' bins differ. Boxes are
    left out where a teacher knows classes that the data lacks (its confidence, which weighs them, would count objects
    that nobody labelled), and for oriented boxes without bins. Where no class is shared, or an RT-DETR meets a YOLO:
    features, ``cwd``.

    Args:
        student: with the data's classes, see :func:`kd_yolo.distill.classes.student_for`.
        teachers: the models; none when the student's moving average teaches alone.
        kept: which classes of the data are trained.
        boxes: number of labelled boxes by class name, for the reason.

    Returns:
        A recipe as ``cfg/distill`` holds it; ``chosen`` says why, in one line.
    """
    others = teachers or [student]
    own, facts = head_facts(student, "student"), [head_facts(model, "teacher") for model in others]
    try:
        maps = [map_kept_classes("bkd", student, model, kept)[0] for model in others]
    except ConfigError:
        return {**FEATURES, "chosen": "loss auto: cwd, as teacher and data share no class: features know none"}
    if len({bool(head.num_queries) for head in (own, *facts)}) > 1:
        return {**FEATURES, "chosen": "loss auto: cwd, as queries of an RT-DETR and anchors of a YOLO do not compare"}
    num_all = len(kept.numbers) or own.num_classes
    num_known = min(len(found.student) or own.num_classes for found in maps)
    gate = "balanced" if num_known > 1 else "confidence"
    loss, why_boxes = _boxes_term(own, facts, maps)
    weight = QUERY_SHARE if own.num_queries else 2.0
    terms = [{"loss": "bkd", "weight": weight, "gate": gate}, *([{**loss, "gate": gate}] if loss else [])]
    names = " + ".join(f"{term['loss']} {str(term['weight']).removesuffix('.0')}" for term in terms)
    known = f"the teacher knows {'all' if num_known == num_all else f'{num_known} of'} {num_all} classes"
    if num_all == 1:
        known = "the teacher knows the class"
    return {
        "terms": terms,
        "schedule": dict(AUTO_RECIPE["schedule"]),
        "chosen": f"loss auto: {names}, gate {gate}{_unevenness(boxes)}, constant weight: {known}, {why_boxes}",
    }


def _boxes_term(own: HeadFacts, facts: Sequence[HeadFacts], maps: Sequence[ClassMap]) -> tuple[Recipe, str]:
    """The term on boxes, empty for none, and the reason."""
    foreign = max(
        other.num_classes - len(found.teacher or range(other.num_classes))
        for other, found in zip(facts, maps, strict=True)
    )
    if foreign:
        return {}, f"and {foreign} that the data lacks, so its boxes are left out"
    if own.num_queries:
        return {"loss": "box_iou", "weight": QUERY_SHARE}, "boxes of matched queries"
    if own.reg_max > 1 and all(other.reg_max == own.reg_max for other in facts):
        return {"loss": "dfl_kl", "weight": 4.0}, f"both heads have {own.reg_max} box bins"
    if own.rotated or any(other.rotated for other in facts):
        return {}, "oriented boxes without equal bins cannot be compared"
    bins = "/".join(str(head.reg_max) for head in (own, *facts))
    return {"loss": "box_iou", "weight": BOX_WEIGHT}, f"boxes decoded, as the heads have {bins} bins"


def _unevenness(boxes: Mapping[str, int] | None) -> str:
    """How uneven the classes are, in words; empty where it is not known, or with one class."""
    if not boxes or len(boxes) < 2 or not sum(boxes.values()):
        return ""
    rare, common = min(boxes, key=lambda name: boxes[name]), max(boxes, key=lambda name: boxes[name])
    shares = [f"{printable(name)[:40]} {boxes[name] / sum(boxes.values()):.0%}" for name in (common, rare)]
    return f" ({shares[0]} of the boxes, {shares[1]})"
