"""Objects in metres to shapes in pixels. An object has its own axes: x to its side, y up from the ground, z forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from kd_yolo.builtin.street.camera import Camera
from kd_yolo.builtin.street.fills import Fill, Floats
from kd_yolo.builtin.street.raster import Shape

Point = tuple[float, float, float]
Points = Sequence[Point] | Floats
Disc = tuple[Point, float]  # centre and radius
MIN_RADIUS_PX = 0.45  # thinner bars would vanish between pixels
_LIGHT = np.array([-0.45, 0.75, -0.5], np.float32) / 1.007  # towards the sun: from the left, above, behind the camera
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 16, False)), np.sin(np.linspace(0, 2 * np.pi, 16, False))], 1)


@dataclass(frozen=True)
class View:
    """Where an object stands and which camera looks at it.

    Args:
        camera: the camera.
        x_m: to the right of the camera's axis.
        z_m: away from the camera.
        yaw: 0 faces the camera, pi/2 faces right.
    """

    camera: Camera
    x_m: float
    z_m: float
    yaw: float

    @property
    def px_per_m(self) -> float:
        """Scale at the object's place."""
        return self.camera.focal_px / self.z_m

    def turn(self, vectors: Floats) -> Floats:
        """Object axes to camera axes (right, up, away), without the position."""
        cos, sin = float(np.cos(self.yaw)), float(np.sin(self.yaw))
        axes = np.array([(cos, 0, sin), (0, 1, 0), (sin, 0, -cos)], np.float32)  # of side, up, forward
        return np.asarray(vectors @ axes, np.float32)

    def world(self, points: Floats) -> Floats:
        """Object points to camera coordinates, metres."""
        return np.asarray(self.turn(points) + np.array([self.x_m, 0, self.z_m], np.float32))


@dataclass
class Sketch:
    """Collects the shapes of one object.

    Args:
        view: where it stands.
        labelled: whether new shapes count for the object's box.
        ordered: draw new shapes in the order of the calls, above the others, instead of far to near.
    """

    view: View
    labelled: bool = True
    ordered: bool = False
    shapes: list[Shape] = field(default_factory=list)

    def hull(self, discs: Sequence[Disc], fill: Fill, *, bias_m: float = 0.0) -> None:
        """The convex hull of balls: one is a head, two are a limb, four are a torso.

        Args:
            discs: centre and radius of each.
            fill: the paint.
            bias_m: how much nearer than it is the shape is drawn.
        """
        centres = self.view.world(np.array([centre for centre, _ in discs], np.float32))
        px, scale = self.view.camera.project(centres)
        radii = np.maximum(np.array([r for _, r in discs]) * scale, MIN_RADIUS_PX)
        cloud = px[:, None] + radii[:, None, None] * _CIRCLE[None]
        self._add(cloud.reshape(-1, 2), float(centres[:, 2].mean()) - bias_m, fill)

    def cloud(self, points: Points, fill: Fill, *, bias_m: float = 0.0) -> None:
        """The convex hull of points."""
        world = self.view.world(np.array(points, np.float32))
        self._add(self.view.camera.project(world)[0], float(world[:, 2].mean()) - bias_m, fill)

    def _add(self, cloud_px: Floats, depth_m: float, fill: Fill) -> None:
        self._append((cv2.convexHull(np.asarray(cloud_px, np.float32))[:, 0],), fill, depth_m)

    def _append(self, contours: tuple[Floats, ...], fill: Fill, depth_m: float, light: float = 1.0) -> None:
        depth_m = -float(len(self.shapes)) if self.ordered else depth_m
        self.shapes.append(Shape(contours, fill, depth_m, self.view.px_per_m, light, self.labelled))

    def face(self, points: Points, fill: Fill, outward: Point | None = None, *, bias_m: float = 0.0) -> bool:
        """A flat polygon, lit by its direction.

        Args:
            points: the corners.
            fill: the paint.
            outward: its normal; a face turned away from the camera is not drawn. None: seen from both sides.
            bias_m: how much nearer than it is the face is drawn.

        Returns:
            whether the face was drawn.
        """
        world = self.view.world(np.array(points, np.float32))
        light = 1.0
        if outward is not None:
            normal = self.view.turn(np.array(outward, np.float32))
            eye = np.array([0, self.view.camera.height_m, 0], np.float32)
            if float(normal @ (eye - world.mean(0))) <= 0:
                return False
            light = 0.78 + 0.3 * float(normal @ _LIGHT) / max(float(np.linalg.norm(normal)), 1e-6)
        px = self.view.camera.project(world)[0]
        self._append((px,), fill, float(world[:, 2].mean()) - bias_m, light)
        return True

    def ring(self, centre: Point, radius: float, width: float, fill: Fill, *, bias_m: float = 0.0) -> None:
        """A hoop that rolls forward (in the y-z plane), such as a tyre."""
        world = self.view.world(circle(centre, radius))
        outer = self.view.camera.project(world)[0]
        middle, half = (outer.min(0) + outer.max(0)) / 2, np.maximum(np.ptp(outer, 0) / 2, 1e-3)
        width_px = max(width * self.view.px_per_m, 2 * MIN_RADIUS_PX)
        # Seen from the front the hoop closes to a bar; shrinking each axis by pixels keeps its edges from vanishing.
        inner = middle + (outer - middle) * np.maximum(1 - width_px / half, 0)
        self._append((outer, inner.astype(np.float32)), fill, float(world[:, 2].mean()) - bias_m)


def circle(centre: Point, radius: float, sides: int = 20) -> Floats:
    """Corners of a wheel at ``centre`` in the y-z plane, (sides, 3)."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    x, y, z = centre
    return np.stack([np.full(sides, x), y + radius * np.sin(angle), z + radius * np.cos(angle)], 1).astype(np.float32)
