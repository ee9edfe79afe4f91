"""What a person does with arms and legs: joints in metres, found from where hands and feet go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kd_yolo.base.rng import Rng, between, pick
from kd_yolo.builtin.street.sketch import Point

Vector = npt.NDArray[np.float64]
SEAT_M = 0.48
SADDLE_M = 0.98


@dataclass(frozen=True)
class Pose:
    """One moment of a body.

    Args:
        kind: "walk", "stand", "sit" or "ride".
        phase: of the step or the pedals, radians.
        arms: "swing", "phone", "wave", "carry", "hips"; a rider always holds the handlebar.
        stride: length of the step as a share of the leg.
    """

    kind: str = "walk"
    phase: float = 0.0
    arms: str = "swing"
    stride: float = 0.45


@dataclass(frozen=True)
class Skeleton:
    """Joints of a body in its own axes; pairs are (left, right)."""

    hips: tuple[Point, Point]
    knees: tuple[Point, Point]
    feet: tuple[Point, Point]
    shoulders: tuple[Point, Point]
    elbows: tuple[Point, Point]
    hands: tuple[Point, Point]
    head: Point

    def raised(self, by_m: float) -> Skeleton:
        """The same body higher up."""

        def up(pair: tuple[Point, Point]) -> tuple[Point, Point]:
            (x0, y0, z0), (x1, y1, z1) = pair
            return (x0, y0 + by_m, z0), (x1, y1 + by_m, z1)

        return Skeleton(
            up(self.hips), up(self.knees), up(self.feet), up(self.shoulders), up(self.elbows), up(self.hands),
            (self.head[0], self.head[1] + by_m, self.head[2]),
        )  # fmt: skip


def sample_pose(rng: Rng) -> Pose:
    """A pedestrian's pose."""
    kind = pick(rng, ("walk", "stand"), (0.65, 0.35))
    arms = pick(rng, ("swing", "phone", "wave", "carry", "hips"), (6, 2, 0.7, 1.5, 1))
    return Pose(kind, between(rng, 0, 2 * np.pi), arms, between(rng, 0.25, 0.6))


def bend(root: Vector, goal: Vector, upper: float, lower: float, forward: float) -> tuple[Vector, Vector]:
    """Two bones from ``root`` towards ``goal``: the joint between them and where the end comes to lie.

    Args:
        root: (3,) hip or shoulder.
        goal: (3,) wished end; pulled nearer when out of reach.
        upper: length of the first bone.
        lower: length of the second.
        forward: +1 bends the joint forward (knee), -1 backward (elbow).
    """
    reach = goal - root
    distance = min(float(np.linalg.norm(reach)), 0.999 * (upper + lower))
    direction = reach / max(float(np.linalg.norm(reach)), 1e-6)
    along = (upper**2 - lower**2 + distance**2) / (2 * max(distance, 1e-6))
    aside = np.sqrt(max(upper**2 - along**2, 0.0))
    # Perpendicular to the bones in the plane of walking: the side axis crossed with the direction.
    normal = np.cross(direction, [1.0, 0.0, 0.0])
    normal /= max(float(np.linalg.norm(normal)), 1e-6)
    if normal[2] * forward < 0:
        normal = -normal
    return root + direction * along + normal * aside, root + direction * distance


def _feet(pose: Pose, leg: float, gap: float) -> tuple[Vector, Vector]:
    """Where the ankles go."""
    if pose.kind == "ride":
        turns = (pose.phase, pose.phase + np.pi)
        return _pair(
            (s * 0.1, 0.36 + 0.16 * np.sin(t), 0.05 + 0.16 * np.cos(t)) for s, t in zip((-1, 1), turns, strict=True)
        )
    if pose.kind == "sit":
        return _pair((s * gap, 0.07, 0.45 + 0.1 * np.sin(pose.phase + s)) for s in (-1, 1))
    if pose.kind == "stand":
        return _pair((s * gap * 1.2, 0.07, 0.05 * s * np.sin(pose.phase)) for s in (-1, 1))
    steps = ((-1, pose.phase), (1, pose.phase + np.pi))
    half = pose.stride * leg
    return _pair((s * gap * 0.7, 0.07 + 0.16 * max(0.0, np.cos(t)), half * np.sin(t)) for s, t in steps)


def _hands(pose: Pose, shoulder_y: float, arm: float, lean: float) -> tuple[Vector, Vector]:
    """Where the hands go."""
    low = shoulder_y - 0.95 * arm
    if pose.kind == "ride":
        return _pair((s * 0.24, 1.06, 0.36) for s in (-1, 1))
    if pose.kind == "sit":
        return _pair((s * 0.16, SEAT_M + 0.2, 0.3) for s in (-1, 1))
    swing = 0.55 * arm * np.sin(pose.phase) if pose.kind == "walk" else 0.0
    left = np.array([-0.27, low + abs(swing) * 0.3, lean - swing])
    right = np.array([0.27, low + abs(swing) * 0.3, lean + swing])
    if pose.arms == "phone":
        right = np.array([0.13, shoulder_y + 0.12, 0.12])
    elif pose.arms == "wave":
        right = np.array([0.4, shoulder_y + 0.9 * arm, 0.1])
    elif pose.arms == "carry":
        left, right = np.array([-0.12, shoulder_y - 0.35, 0.36]), np.array([0.12, shoulder_y - 0.35, 0.36])
    elif pose.arms == "hips":
        left, right = np.array([-0.2, shoulder_y - 0.48, 0.06]), np.array([0.2, shoulder_y - 0.48, 0.06])
    return left, right


def _pair(points: Iterable[tuple[float, float, float]]) -> tuple[Vector, Vector]:
    left, right = (np.array(point, np.float64) for point in points)
    return left, right


def skeleton(pose: Pose, height_m: float, build: float) -> Skeleton:
    """The joints of a body of this height in this pose."""
    leg, arm, gap = 0.46 * height_m, 0.34 * height_m, 0.085 * build * height_m / 1.75
    hip_y, hip_z = _hip_height(pose, leg), -0.2 if pose.kind == "ride" else 0.0
    lean = {"ride": 0.22, "walk": 0.04}.get(pose.kind, 0.0)
    shoulder_y = hip_y + 0.3 * height_m - 0.3 * lean
    hips = _pair((s * gap, hip_y, hip_z) for s in (-1, 1))
    shoulders = _pair((s * 0.18 * build * height_m / 1.75, shoulder_y, hip_z + lean) for s in (-1, 1))
    knees, feet = _limbs(hips, _feet(pose, leg, gap), (leg * 0.52, leg * 0.5), 1.0)
    elbows, hands = _limbs(shoulders, _hands(pose, shoulder_y, arm, lean), (arm * 0.5, arm * 0.5), -1.0)
    head = 0.0, shoulder_y + 0.125 * height_m, hip_z + 1.2 * lean + 0.01
    return Skeleton(_points(hips), knees, feet, _points(shoulders), elbows, hands, head)


def _hip_height(pose: Pose, leg: float) -> float:
    if pose.kind in ("ride", "sit"):
        return SADDLE_M if pose.kind == "ride" else SEAT_M + 0.06
    standing = 0.07 + 1.02 * leg
    if pose.kind == "stand":
        return standing
    # The standing leg carries: hips sink while the legs are apart.
    spread = min(0.9, pose.stride * abs(float(np.sin(pose.phase))))
    return standing - leg * float(1 - np.cos(np.arcsin(spread)))


def _limbs(
    roots: tuple[Vector, Vector], goals: tuple[Vector, Vector], bones: tuple[float, float], forward: float
) -> tuple[tuple[Point, Point], tuple[Point, Point]]:
    """Both limbs of a kind: their middle joints and their ends."""
    left, right = (bend(root, goal, *bones, forward) for root, goal in zip(roots, goals, strict=True))
    return _points((left[0], right[0])), _points((left[1], right[1]))


def _point(vector: Vector) -> Point:
    x, y, z = (float(v) for v in vector)
    return x, y, z


def _points(pair: tuple[Vector, Vector]) -> tuple[Point, Point]:
    return _point(pair[0]), _point(pair[1])
