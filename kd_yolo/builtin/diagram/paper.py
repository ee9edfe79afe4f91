"""The sheet: its ruling, how it lies before the camera, and light, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.diagram.pen import Points
from kd_yolo.builtin.diagram.tree import PAGE_HEIGHT, PAGE_WIDTH
from kd_yolo.builtin.street.fills import Floats

_PAPERS = ((250, 250, 250), (225, 240, 245), (240, 238, 235), (215, 222, 226))
_TABLES = ((60, 90, 130), (120, 125, 130), (50, 50, 55), (170, 190, 205), (70, 110, 80))


@dataclass(frozen=True)
class Sheet:
    """A sheet before a camera or on a scanner.

    Args:
        matrix: page units to pixels, a homography (3,3).
        size_px: width and height of the image.
        colour: of the paper, blue, green, red.
        ruling: "plain", "lines", "squares" or "dots".
        spacing: of the ruling in page units.
        faint: how much darker than the paper the ruling is.
        photographed: lies on a table in some light, else scanned.
    """

    matrix: Points
    size_px: tuple[int, int]
    colour: tuple[float, float, float]
    ruling: str
    spacing: float
    faint: float
    photographed: bool

    def to_pixels(self, path: Points) -> Points:
        """Page units (n,2) to pixels (n,2)."""
        lifted = np.column_stack([path, np.ones(len(path))]) @ self.matrix.T
        return np.asarray(lifted[:, :2] / lifted[:, 2:])

    @property
    def scale(self) -> float:
        """About how many pixels a page unit is."""
        return self.size_px[0] / PAGE_WIDTH


def sample_sheet(rng: Rng, width_px: int, height_px: int) -> Sheet:
    """A random sheet, more or less straight in the image."""
    photographed = chance(rng, 0.6)
    turn = rng.normal() * (0.022 if photographed else 0.006)
    shrink = between(rng, 0.9, 1.0) if photographed else between(rng, 0.97, 1.0)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64) * (PAGE_WIDTH, PAGE_HEIGHT)
    middle = np.array([PAGE_WIDTH, PAGE_HEIGHT]) / 2
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    placed = (corners - middle) @ rotation * shrink + middle
    placed += rng.normal(size=(4, 2)) * (5.0 if photographed else 0.8)
    placed *= (width_px / PAGE_WIDTH, height_px / PAGE_HEIGHT)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), placed.astype(np.float32))
    blue, green, red = (float(c) * between(rng, 0.97, 1.0) for c in pick(rng, _PAPERS))
    return Sheet(
        matrix=np.asarray(matrix, np.float64),
        size_px=(width_px, height_px),
        colour=(blue, green, red),
        ruling=pick(rng, ("plain", "lines", "squares", "dots"), (0.35, 0.2, 0.35, 0.1)),
        spacing=between(rng, 11, 20),
        faint=between(rng, 15, 60),
        photographed=photographed,
    )


def draw_sheet(sheet: Sheet, rng: Rng) -> Floats:
    """The empty sheet on its table, (h, w, 3) in 0..255."""
    width, height = sheet.size_px
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = pick(rng, _TABLES) if sheet.photographed else (252, 252, 252)
    # The sheet is larger than the part that is drawn on, sometimes larger than the image.
    edge = between(rng, 0, 45) if sheet.photographed else 30.0
    x1, y1 = PAGE_WIDTH + edge, PAGE_HEIGHT + edge
    corners = sheet.to_pixels(np.array([(-edge, -edge), (x1, -edge), (x1, y1), (-edge, y1)]))
    cv2.fillPoly(canvas, [_fixed(corners)], sheet.colour, cv2.LINE_AA, _SHIFT)
    blue, green, red = sheet.colour
    ink = blue - sheet.faint * 0.4, green - sheet.faint * 0.8, red - sheet.faint
    for path in _ruling(sheet, edge):
        cv2.polylines(canvas, [_fixed(sheet.to_pixels(path))], False, ink, 1, cv2.LINE_AA, _SHIFT)
    if chance(rng, 0.2):
        for share in (0.2, 0.5, 0.8):
            x, y = sheet.to_pixels(np.array([(-edge / 2 + 6, PAGE_HEIGHT * share)]))[0]
            cv2.circle(
                canvas, (round(float(x)), round(float(y))), round(5 * sheet.scale), (90, 95, 100), -1, cv2.LINE_AA
            )
    return canvas.astype(np.float32)


_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


def _fixed(path: Points) -> np.ndarray:
    return np.round(path * (1 << _SHIFT)).astype(np.int32)


def _ruling(sheet: Sheet, edge: float) -> list[Points]:
    """The printed lines in page units."""
    if sheet.ruling == "plain":
        return []
    xs = np.arange(-edge, PAGE_WIDTH + edge, sheet.spacing)
    ys = np.arange(-edge, PAGE_HEIGHT + edge, sheet.spacing)
    if sheet.ruling == "dots":
        return [np.array([(x, y), (x + 0.5, y)]) for x in xs for y in ys]
    lines = [np.array([(-edge, y), (PAGE_WIDTH + edge, y)]) for y in ys]
    if sheet.ruling == "squares":
        lines += [np.array([(x, -edge), (x, PAGE_HEIGHT + edge)]) for x in xs]
    return lines


def expose(image: Floats, sheet: Sheet, rng: Rng) -> Floats:
    """What a camera or a scanner makes of the sheet, (h, w, 3) in 0..255."""
    height, width = image.shape[:2]
    grain = rng.normal(0, 1, (height, width, 1)).astype(np.float32)
    if not sheet.photographed:
        return np.asarray(np.clip(image + grain * between(rng, 0.5, 2.5), 0, 255), np.float32)
    light = rng.normal(between(rng, 0.72, 0.98), between(rng, 0.02, 0.1), (3, 4)).astype(np.float32)
    shade = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    if chance(rng, 0.25):  # somebody's shadow
        side = sheet.to_pixels(
            np.array([(between(rng, 0.2, 0.8) * PAGE_WIDTH, 0.0), (between(rng, 0.2, 0.8) * PAGE_WIDTH, PAGE_HEIGHT)])
        )
        corner = np.array([(0, height), (0, 0)], np.float64)
        shadow = np.zeros((height, width), np.float32)
        cv2.fillPoly(shadow, [np.round(np.concatenate([side, corner])).astype(np.int32)], 1.0)
        shadow = cv2.GaussianBlur(shadow, (0, 0), between(rng, 8, 25) * sheet.scale)
        shade = shade * (1 - 0.25 * shadow[..., None])
    tint = np.array([between(rng, 0.85, 1.05), 1.0, between(rng, 0.92, 1.08)], np.float32)
    seen = image * shade * tint
    blur = between(rng, 0.0, 0.9) * max(1.0, sheet.scale)
    if blur > 0.3:
        seen = cv2.GaussianBlur(seen, (0, 0), blur)
    return np.asarray(np.clip(seen + grain * between(rng, 1.5, 7.0), 0, 255), np.float32)
