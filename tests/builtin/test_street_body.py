"""Poses and rasters: bones keep their length, feet reach the ground, shapes cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from kd_yolo.base.rng import pick, stream
from kd_yolo.builtin.street.fills import PATTERNS, Fill
from kd_yolo.builtin.street.pose import Pose, bend, skeleton
from kd_yolo.builtin.street.raster import Shape, rasterise

POSES = [Pose(kind, phase) for kind in ("walk", "stand", "sit", "ride") for phase in (0.0, 1.0, 2.5, 4.0)]


@pytest.mark.parametrize("pose", POSES, ids=lambda p: f"{p.kind}{p.phase}")
def test_bones_keep_their_length(pose: Pose) -> None:
    body = skeleton(pose, 1.75, 1.0)
    leg, arm = 0.46 * 1.75, 0.34 * 1.75
    limbs = [(body.hips, body.knees, 0.52 * leg), (body.knees, body.feet, 0.5 * leg)]
    limbs += [(body.shoulders, body.elbows, 0.5 * arm), (body.elbows, body.hands, 0.5 * arm)]
    for starts, ends, length in limbs:
        np.testing.assert_allclose(np.linalg.norm(np.subtract(starts, ends), axis=1), length, rtol=1e-3)


@pytest.mark.parametrize("pose", POSES[:12], ids=lambda p: f"{p.kind}{p.phase}")
def test_one_foot_is_on_the_ground(pose: Pose) -> None:
    lowest = min(y for _, y, _ in skeleton(pose, 1.8, 1.0).feet)
    assert 0.0 < lowest < 0.16


def test_knees_bend_forward_and_elbows_backward() -> None:
    root, goal = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.4, 0.0])
    assert bend(root, goal, 0.4, 0.4, 1.0)[0][2] > 0 > bend(root, goal, 0.4, 0.4, -1.0)[0][2]


def test_a_goal_out_of_reach_is_pulled_nearer() -> None:
    _, end = bend(np.zeros(3), np.array([0.0, -5.0, 0.0]), 0.4, 0.4, 1.0)
    np.testing.assert_allclose(end, [0.0, -0.8, 0.0], atol=2e-3)


def square(size: float, at: float = 0.0, *, labelled: bool = True, depth_m: float = 1.0) -> Shape:
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float32) + at
    return Shape((corners,), Fill((10.0, 20.0, 30.0)), depth_m, 10.0, labelled=labelled)


def test_a_square_covers_its_pixels() -> None:
    sprite = rasterise([square(8.0, at=3.0)])
    np.testing.assert_allclose(sprite.alpha.sum(), 64.0, rtol=0.15)
    rows, columns = np.nonzero(sprite.label)
    assert (sprite.top + rows.min(), sprite.left + columns.min()) == (3, 3)
    inside = sprite.colour[sprite.alpha == 1.0]
    np.testing.assert_allclose(inside, np.broadcast_to((10.0, 20.0, 30.0), inside.shape))


def test_nearer_shapes_cover_the_label_of_farther_ones() -> None:
    whole = rasterise([square(8.0)]).label.sum()
    half_hidden = rasterise([square(8.0), square(4.0, labelled=False, depth_m=0.5)]).label.sum()
    assert half_hidden < whole
    assert rasterise([square(8.0), square(4.0, labelled=False, depth_m=2.0)]).label.sum() == whole


def test_motion_blur_widens_and_keeps_the_amount() -> None:
    still, moving = rasterise([square(8.0)]), rasterise([square(8.0)], motion_px=5)
    np.testing.assert_allclose(moving.alpha.sum(), still.alpha.sum(), rtol=1e-4)
    assert np.count_nonzero(moving.alpha.max(0)) > np.count_nonzero(still.alpha.max(0))


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "plain"])
def test_patterns_show_both_colours(pattern: str) -> None:
    axis = np.linspace(-1, 1, 64, dtype=np.float32)
    painted = Fill((0.0, 0.0, 0.0), (200.0, 200.0, 200.0), pattern, 0.3).paint(axis[None], axis[:, None], 1.0)
    painted = np.broadcast_to(painted, (64, 64, 3))
    assert painted.min() < 20 < 180 < painted.max()


def test_streams_differ_by_key_and_repeat() -> None:
    draws = {stream(0, *key).random() for key in [("a", 1), ("a", 2), ("b", 1), ()]}
    assert len(draws) == 4
    assert stream(0, "a", 1).random() == stream(0, "a", 1).random()


def test_pick_follows_the_weights() -> None:
    rng = stream(0)
    counts = [pick(rng, ("a", "b", "c"), (1, 0, 3)) for _ in range(2000)]
    assert counts.count("b") == 0
    assert counts.count("c") / 2000 == pytest.approx(0.75, abs=0.05)
