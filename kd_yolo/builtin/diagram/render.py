"""A planned diagram to an image, its boxes and their parents."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between, chance, stream
from kd_yolo.builtin.diagram.arrows import arrow
from kd_yolo.builtin.diagram.handwriting import text_line
from kd_yolo.builtin.diagram.paper import Sheet, draw_sheet, expose, sample_sheet
from kd_yolo.builtin.diagram.pen import Stroke, box_of, scrawl
from kd_yolo.builtin.diagram.plan import plan_diagram
from kd_yolo.builtin.diagram.shapes import details, outline
from kd_yolo.builtin.diagram.style import Style, sample_style
from kd_yolo.builtin.diagram.tree import PAGE_HEIGHT, PAGE_WIDTH, Diagram
from kd_yolo.builtin.street.fills import Floats

_SUPERSAMPLE = 2
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


@dataclass(frozen=True)
class Drawing:
    """One image and its truth.

    Args:
        image: (h, w, 3), BGR uint8.
        boxes_xyxy: (M,4) in pixels, inside the image.
        classes: class id of each box.
        parents: index of each box's parent in the plan, -1 for none.
    """

    image: npt.NDArray[np.uint8]
    boxes_xyxy: npt.NDArray[np.float64]
    classes: tuple[int, ...]
    parents: tuple[int, ...]


def draw_diagram(seed: int, split: str, index: int, width_px: int, height_px: int) -> Drawing:
    """Draws one diagram; it depends on nothing but the arguments."""
    rng = stream(seed, "diagram", split, index)
    diagram, style = plan_diagram(rng), sample_style(rng)
    sheet = sample_sheet(rng, width_px, height_px)
    drawn = draw_sheet(sheet, rng)
    outlines = [outline(node, rng, style) for node in diagram.nodes]
    strokes = [stroke for part in outlines for stroke in part] + _beside(diagram, rng, style)
    _ink(drawn, strokes, sheet, style, rng)
    image = np.round(expose(drawn, sheet, rng)).astype(np.uint8)
    boxes = np.array([_box(part, sheet, style) for part in outlines])
    # Nothing about the order of the lines tells who is whose parent.
    order = rng.permutation(len(boxes))
    place = np.argsort(order)
    nodes = [diagram.nodes[i] for i in order]
    parents = tuple(int(place[node.parent]) if node.parent >= 0 else -1 for node in nodes)
    return Drawing(image, boxes[order], tuple(node.class_id for node in nodes), parents)


def _beside(diagram: Diagram, rng: Rng, style: Style) -> list[Stroke]:
    """What has no box: names, marks, arrows, a title, things crossed out."""
    strokes = [stroke for node in diagram.nodes for stroke in details(node, rng, style)]
    for edge in diagram.edges:
        strokes += arrow(edge, diagram.nodes, rng, style)
    if chance(rng, 0.2):
        strokes += text_line(rng, (between(rng, 120, 500), 8), 160, style.text_height * 1.3)
    while chance(rng, 0.15):
        centre = between(rng, 40, PAGE_WIDTH - 40), between(rng, 40, PAGE_HEIGHT - 40)
        strokes.append(scrawl(centre, (between(rng, 18, 50), between(rng, 10, 26)), rng))
    return strokes


def _box(strokes: list[Stroke], sheet: Sheet, style: Style) -> tuple[float, float, float, float]:
    """The box around strokes in pixels, half a line wider, cut at the image's border."""
    x0, y0, x1, y1 = box_of([Stroke(sheet.to_pixels(stroke.points)) for stroke in strokes])
    half = style.pen_width * sheet.scale / 2
    width, height = sheet.size_px
    return max(0.0, x0 - half), max(0.0, y0 - half), min(float(width), x1 + half), min(float(height), y1 + half)


def _ink(drawn: Floats, strokes: list[Stroke], sheet: Sheet, style: Style, rng: Rng) -> None:
    """Draws strokes into the image, with a pressure that comes and goes."""
    width, height = sheet.size_px
    cover = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), np.uint8)
    for stroke in strokes:
        path = (sheet.to_pixels(stroke.points) + 0.5) * _SUPERSAMPLE - 0.5
        fixed = np.round(path * (1 << _SHIFT)).astype(np.int32)
        thickness = max(1, round(style.pen_width * stroke.width * sheet.scale * _SUPERSAMPLE + rng.normal() * 0.3))
        if stroke.filled:
            cv2.fillPoly(cover, [fixed], 255, cv2.LINE_AA, _SHIFT)
        cv2.polylines(cover, [fixed], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    alpha = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    pressure = cv2.resize(
        rng.normal(style.pressure, 0.1, (height // 8, width // 8)).astype(np.float32), (width, height)
    )
    alpha *= np.clip(pressure, 0.25, 1.0)
    drawn += alpha[..., None] * (np.array(style.ink, np.float32) - drawn)
