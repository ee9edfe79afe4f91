"""Street furniture that does not count, much of it easily mistaken for people, dogs, bicycles, cars or signs."""

from __future__ import annotations

from collections.abc import Callable

from kd_yolo.base.rng import Rng, stream
from kd_yolo.builtin.street.draw.boards import (
    draw_advert,
    draw_balloons,
    draw_clock,
    draw_cone,
    draw_mirror,
    draw_traffic_light,
)
from kd_yolo.builtin.street.draw.bodies import (
    draw_bags,
    draw_bin,
    draw_bollard,
    draw_bush,
    draw_clothes_rack,
    draw_hydrant,
    draw_lamp,
    draw_mailbox,
    draw_sawhorse,
)
from kd_yolo.builtin.street.draw.large import draw_bench, draw_bike_rack, draw_kiosk, draw_skip, draw_tree, draw_trolley
from kd_yolo.builtin.street.sketch import Sketch

Draw = Callable[[Sketch, Rng], None]
CLUTTER: dict[str, Draw] = {
    "lamp": draw_lamp,
    "bollard": draw_bollard,
    "mailbox": draw_mailbox,
    "clothes_rack": draw_clothes_rack,
    "bin": draw_bin,
    "hydrant": draw_hydrant,
    "bush": draw_bush,
    "sawhorse": draw_sawhorse,
    "bags": draw_bags,
    "cone": draw_cone,
    "clock": draw_clock,
    "balloons": draw_balloons,
    "mirror": draw_mirror,
    "advert": draw_advert,
    "traffic_light": draw_traffic_light,
    "bike_rack": draw_bike_rack,
    "trolley": draw_trolley,
    "skip": draw_skip,
    "kiosk": draw_kiosk,
    "tree": draw_tree,
    "bench": draw_bench,
}


def draw_clutter(sketch: Sketch, kind: str, look: int) -> None:
    """Draws a thing that is not labelled.

    Args:
        sketch: receives the shapes.
        kind: a key of ``CLUTTER``.
        look: number of its looks; the same number gives the same thing.
    """
    sketch.labelled = False
    CLUTTER[kind](sketch, stream(look, kind))
