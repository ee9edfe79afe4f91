"""A threshold keeps its false-accept rate: counted pair by pair, with ties, with cameras, with too few pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery import calibrate as module
from kd_yolo.search.gallery.calibrate import calibrate
from tests.search.gallery_helpers import vectors


def people(count: int, images: int, spread: float = 0.4, seed: int = 0) -> tuple[Floats, list[str | None]]:
    """Vectors that lie around one direction a person."""
    rng = np.random.default_rng(seed)
    middle_nd = np.repeat(vectors(count, seed, 16), images, axis=0)
    found_nd = middle_nd + spread * rng.standard_normal(middle_nd.shape) / 4
    found_nd /= np.linalg.norm(found_nd, axis=1, keepdims=True)
    return found_nd.astype(np.float32), [str(person) for person in range(count) for _ in range(images)]


def rates(vectors_nd: Floats, who: list[str | None], threshold: float, cameras: list[int] | None = None) -> list[float]:
    """False accepts and false refusals, pair by pair."""
    same, differ = [], []
    for a, b in combinations(range(len(who)), 2):
        distance = max(float(np.float32(1) - vectors_nd[b] @ vectors_nd[a]), 0.0)
        if who[a] is None or who[b] is None:
            continue
        if who[a] != who[b]:
            differ.append(distance <= threshold)
        elif cameras is None or cameras[a] != cameras[b]:
            same.append(distance > threshold)
    return [sum(differ) / len(differ), sum(same) / len(same), len(differ), len(same)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.001, 0.6))
def test_the_rates_are_those_of_the_pairs(seed: int, far: float) -> None:
    vectors_nd, who = people(6, 4, spread=1.5, seed=seed)
    found = calibrate(vectors_nd, who, far).threshold
    fa, fr, negatives, positives = rates(vectors_nd, who, found.distance)
    assert (found.negatives, found.positives) == (negatives, positives) == (240, 36)
    assert found.far == pytest.approx(fa, abs=1.01 / negatives)  # a product of two rows may be added up otherwise
    assert found.frr == pytest.approx(fr, abs=1.01 / positives)
    assert found.far <= far + 1e-9
    assert found.far > far - 1.01 / negatives


def test_a_larger_threshold_would_let_one_more_pass() -> None:
    vectors_nd, who = people(8, 3, spread=1.5)
    found = calibrate(vectors_nd, who, 0.05).threshold
    allowed = int(0.05 * found.negatives)
    assert round(found.far * found.negatives) == allowed
    more = np.nextafter(np.float32(found.distance), np.float32(2))
    assert rates(vectors_nd, who, float(more) + 1e-6)[0] * found.negatives >= allowed + 1


def test_equal_distances_never_exceed_the_rate() -> None:
    vectors_nd = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    found = calibrate(vectors_nd, list("aabbccdd"), 0.5).threshold
    assert (found.far, found.frr) == (0, 0)
    assert 0 <= found.distance < 1


def test_pairs_of_one_camera_do_not_count_where_there_are_several() -> None:
    vectors_nd, who = people(5, 4)
    cameras = [1, 1, 2, 3] * 5
    found = calibrate(vectors_nd, who, 0.1, cameras).threshold
    assert found.positives == 5 * 5
    assert found.frr == pytest.approx(rates(vectors_nd, who, found.distance, cameras)[1])
    assert calibrate(vectors_nd, who, 0.1, [2] * 20).threshold.positives == 5 * 6


def test_crops_of_nobody_known_are_left_out() -> None:
    vectors_nd, who = people(5, 4)
    with_others_nd = np.concatenate([vectors_nd, vectors_nd[:3], vectors(4, 8, 16)])
    both = [calibrate(vectors_nd, who, 0.1), calibrate(with_others_nd, [*who, *[None] * 7], 0.1)]
    assert both[0] == both[1]


def test_too_few_strangers_are_said() -> None:
    vectors_nd, who = people(4, 3)
    (note,) = calibrate(vectors_nd, who, 0.001).notes
    assert "54 pairs of two people are too few for a false-accept rate of 0.001: at least 1,000 are needed" in note
    assert "hangs on fewer than 10" in calibrate(vectors_nd, who, 0.05).notes[0]
    assert calibrate(vectors_nd, who, 0.3).notes == ()
    assert calibrate(vectors_nd, who, 0.001).threshold.far == 0


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    """With none of n accepted it is 1 - 0.05^(1/n)."""
    vectors_nd, who = people(4, 3, spread=0.1)
    found = calibrate(vectors_nd, who, 0.001)
    assert found.far_at_most == pytest.approx(1 - 0.05 ** (1 / 54))


def test_of_many_crops_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CROPS", 30)
    vectors_nd, who = people(5, 20)
    found = calibrate(vectors_nd, who, 0.3)
    assert "30 of 100 crops were drawn for it." in found.notes
    assert found.threshold.positives + found.threshold.negatives == 30 * 29 // 2
    assert found == calibrate(vectors_nd, who, 0.3)


@pytest.mark.parametrize("far", [0.0, 1.0, -1.0, float("nan")])
def test_a_rate_that_is_none(far: float) -> None:
    with pytest.raises(ConfigError, match=r"far=.*between 0 and 1"):
        calibrate(*people(2, 2), far)


@pytest.mark.parametrize(
    ("who", "cameras", "message"),
    [
        (["a", "a", "a"], None, "3 crops of 1 people make 3 pairs of one person and 0 of two"),
        (["a", "b", "c"], None, "make 0 pairs of one person and 3 of two"),
        (["a", "a", "b"], [1, 1, 2], "make 0 pairs of one person seen by two cameras and 2 of two"),
        ([None, None, None], None, "3 crops of 0 people"),
    ],
)
def test_both_kinds_of_pairs_are_needed(who: list[str | None], cameras: list[int] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(vectors(3), who, 0.1, cameras)
