"""People."""

from __future__ import annotations

from kd_yolo.builtin.street.fills import Fill, scaled
from kd_yolo.builtin.street.identity import Identity
from kd_yolo.builtin.street.pose import Pose, Skeleton, skeleton
from kd_yolo.builtin.street.sketch import Point, Sketch


def draw_person(sketch: Sketch, who: Identity, pose: Pose, *, raised_m: float = 0.0, size: float = 1.0) -> None:
    """Draws a person.

    Args:
        sketch: receives the shapes.
        who: the lasting looks.
        pose: arms and legs.
        raised_m: height of the feet above the ground (statues, posters).
        size: factor on the height.
    """
    body = skeleton(pose, who.height_m * size, who.build).raised(raised_m)
    unit = who.height_m * size / 1.75
    _legs(sketch, who, body, unit)
    _torso(sketch, who, body, unit)
    _arms(sketch, who, body, unit)
    _head(sketch, who, body, unit)
    _bag(sketch, who, body, unit)


def _moved(point: Point, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Point:
    return point[0] + x, point[1] + y, point[2] + z


def _legs(sketch: Sketch, who: Identity, body: Skeleton, unit: float) -> None:
    bare = Fill(who.skin, roundness=0.25)
    thigh = who.bottom if who.bottom_kind in ("trousers", "shorts") else bare
    shin = who.bottom if who.bottom_kind == "trousers" else bare
    thick = unit * who.build
    for hip, knee, foot in zip(body.hips, body.knees, body.feet, strict=True):
        sketch.hull(
            [(foot, 0.045 * unit), (_moved(foot, y=-0.035 * unit, z=0.16 * unit), 0.035 * unit)], Fill(who.shoes)
        )
        sketch.hull([(knee, 0.058 * thick), (foot, 0.042 * thick)], shin, bias_m=0.01)
        sketch.hull([(hip, 0.088 * thick), (knee, 0.06 * thick)], thigh, bias_m=0.02)


def _torso(sketch: Sketch, who: Identity, body: Skeleton, unit: float) -> None:
    thick = unit * who.build
    seat = [(hip, 0.095 * thick) for hip in body.hips]
    chest = [(_moved(s, x=-0.4 * s[0], y=-0.06 * unit), 0.115 * thick) for s in body.shoulders]
    waist = [(_moved(hip, y=0.03 * unit), 0.092 * thick) for hip in body.hips]
    if who.bottom_kind in ("skirt", "coat"):
        hem = [(_moved(k, x=0.6 * k[0], y=0.02 * unit), 0.07 * thick) for k in body.knees]
        sketch.hull([*seat, *hem], who.bottom if who.bottom_kind == "skirt" else who.top, bias_m=0.12)
    else:
        sketch.hull(seat, who.bottom, bias_m=0.05)
    sketch.hull([*chest, *waist], who.top, bias_m=0.14)
    neck = _moved(body.head, y=-0.13 * unit)
    sketch.hull([(neck, 0.055 * unit)], Fill(scaled(who.skin, 0.85)), bias_m=0.1)


def _arms(sketch: Sketch, who: Identity, body: Skeleton, unit: float) -> None:
    sleeve = Fill(scaled(who.top.colour, 0.9), scaled(who.top.second, 0.9), who.top.pattern, who.top.period_m, 0.25)
    bare = Fill(who.skin, roundness=0.25)
    thick = unit * who.build
    for shoulder, elbow, hand in zip(body.shoulders, body.elbows, body.hands, strict=True):
        sketch.hull([(shoulder, 0.062 * thick), (elbow, 0.05 * thick)], sleeve, bias_m=0.15)
        sketch.hull(
            [(elbow, 0.046 * thick), (hand, 0.036 * thick)], sleeve if who.sleeves == "long" else bare, bias_m=0.15
        )
        sketch.hull([(hand, 0.045 * unit)], bare, bias_m=0.16)


def _head(sketch: Sketch, who: Identity, body: Skeleton, unit: float) -> None:
    head, style, hair = body.head, who.hair_style, Fill(who.hair, roundness=0.2)
    face = [
        (_moved(head, y=0.03 * unit, z=0.03 * unit), 0.095 * unit),
        (_moved(head, y=-0.05 * unit, z=0.04 * unit), 0.07 * unit),
    ]
    sketch.hull(face, Fill(who.skin, roundness=0.2), bias_m=0.1)
    if style != "bald":
        cap = [(_moved(head, y=0.055 * unit, z=-0.02 * unit), 0.102 * unit)]
        nape = [(_moved(head, y=-0.02 * unit, z=-0.05 * unit), 0.085 * unit)]
        sketch.hull(cap + nape, hair, bias_m=0.1)
        # The fringe lies on the forehead, in front of the face.
        sketch.hull([(_moved(head, y=0.09 * unit, z=0.03 * unit), 0.07 * unit)], hair, bias_m=0.13)
    if style == "long":
        sketch.hull(
            [(_moved(head, z=-0.05), 0.1 * unit), (_moved(head, y=-0.25 * unit, z=-0.09), 0.085 * unit)],
            hair,
            bias_m=0.1,
        )
    elif style == "bun":
        sketch.hull([(_moved(head, y=0.12 * unit, z=-0.1 * unit), 0.055 * unit)], hair, bias_m=0.1)
    elif style == "cap":
        brim = [(_moved(head, x=s * 0.06 * unit, y=0.07 * unit, z=0.14 * unit), 0.02 * unit) for s in (-1, 1)]
        sketch.hull([*brim, (_moved(head, y=0.08 * unit), 0.06 * unit)], Fill(scaled(who.hair, 0.8)), bias_m=0.15)
    elif style == "hood":
        sketch.hull([(_moved(head, y=-0.1 * unit, z=-0.06), 0.13 * unit)], who.top, bias_m=0.1)


def _bag(sketch: Sketch, who: Identity, body: Skeleton, unit: float) -> None:
    left, right = body.shoulders
    if who.bag == "backpack":
        middle_y, z = (left[1] + right[1]) / 2, left[2] - 0.2 * unit
        pack = [((x * unit, middle_y + y * unit, z), 0.08 * unit) for x in (-0.08, 0.08) for y in (-0.04, -0.36)]
        sketch.hull(pack, who.bag_fill, bias_m=0.15)
        for joint in (left, right):
            strap = [(_moved(joint, x=-0.3 * joint[0], y=y * unit, z=0.1), 0.018 * unit) for y in (0.03, -0.3)]
            sketch.hull(strap, Fill(scaled(who.bag_fill.colour, 0.7)), bias_m=0.1)
    elif who.bag == "shoulder":
        sketch.hull(
            [(left, 0.02), (_moved(body.hips[1], x=0.1, y=0.05), 0.02)],
            Fill(scaled(who.bag_fill.colour, 0.7)),
            bias_m=0.2,
        )
        sketch.hull([(_moved(body.hips[1], x=0.13, z=z), 0.08 * unit) for z in (-0.07, 0.1)], who.bag_fill, bias_m=0.17)
    elif who.bag == "hand":
        hand = body.hands[0]
        low = [(_moved(hand, y=-0.28 * unit, z=z * unit), 0.05 * unit) for z in (-0.12, 0.12)]
        sketch.hull([*low, (_moved(hand, y=-0.12 * unit), 0.05 * unit)], who.bag_fill, bias_m=0.17)
