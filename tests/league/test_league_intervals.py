"""The intervals against known truths: simulations, scipy's tests, and limiting cases by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from kd_yolo.league import intervals
from kd_yolo.league.intervals import Contrast, Noise, critical_value, gain_interval, noise_of, share_interval


def contrasts_of(scores_ua: Any, images_ba: Any = None) -> list[Contrast]:
    """Every arm against arm 0."""
    return [
        Contrast(
            str(arm), "0", scores_ua[:, arm] - scores_ua[:, 0],
            None if images_ba is None else images_ba[:, arm] - images_ba[:, 0],
        )
        for arm in range(1, scores_ua.shape[1])
    ]  # fmt: skip


def noise(scores_ua: Any) -> Noise:
    found = noise_of(scores_ua)
    assert found is not None
    return found


def test_one_comparison_is_the_paired_t_test() -> None:
    scores_ua = np.random.default_rng(0).normal(0.5, 0.02, (5, 2))
    (contrast,) = contrasts_of(scores_ua)
    found = gain_interval(contrast, noise(scores_ua), critical_value([contrast], noise(scores_ua)))
    theirs = stats.ttest_rel(scores_ua[:, 1], scores_ua[:, 0]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * (theirs.high - theirs.low))


@pytest.mark.parametrize("arms", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_several_comparisons_are_close_to_dunnetts_test(arms: int) -> None:
    """Many repetitions without a common part: the pooled noise is Dunnett's, and so are the intervals."""
    scores_ua = np.random.default_rng(arms).normal(0.5, 0.02, (40, arms))
    found = contrasts_of(scores_ua)
    critical = critical_value(found, noise(scores_ua))
    theirs = stats.dunnett(*scores_ua.T[1:], control=scores_ua[:, 0], rng=np.random.default_rng(0))
    bounds = theirs.confidence_interval(0.95)
    pooled = float(np.sqrt(np.mean(np.var(scores_ua, axis=0, ddof=1)) * 2 / len(scores_ua)))
    assert critical == pytest.approx((bounds.high[0] - bounds.low[0]) / 2 / pooled, rel=0.015)
    for contrast, low, high in zip(found, bounds.low, bounds.high, strict=True):
        ours = gain_interval(contrast, noise(scores_ua), critical)
        assert (ours.low + ours.high) / 2 == pytest.approx((low + high) / 2)
        assert ours.high - ours.low > 0.95 * (high - low)  # a noisier arm is wider, never narrower


def simulate(rng: Any, repetitions: int, arms: int, spread_a: Any, num_images: int = 60) -> tuple[Any, Any]:
    """Scores that are means over images; true gains are 0. Images and repetitions have effects of their own."""
    runs_ua = 0.5 + rng.normal(0, 0.01, (repetitions, 1)) + rng.normal(0, 1, (repetitions, arms)) * spread_a
    images_ai = rng.normal(0, 0.2, num_images) + rng.normal(0, 0.08, (arms, num_images))
    counts_bi = rng.multinomial(num_images, np.full(num_images, 1 / num_images), 200)
    return runs_ua + images_ai.mean(1), counts_bi @ images_ai.T / num_images


def coverage(repetitions: int, arms: int, spread_a: Any, rounds: int = 150) -> float:
    """How often all intervals of a simulated league hold the truth, which is 0."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(rounds):
        scores_ua, images_ba = simulate(rng, repetitions, arms, spread_a)
        found = contrasts_of(scores_ua, images_ba)
        spread = noise(scores_ua)
        critical = critical_value(found, spread)
        held += all(abs(c.gain) <= critical * intervals.standard_error(c, spread) for c in found)
    return held / rounds


@pytest.mark.parametrize(
    ("repetitions", "arms"),
    [(3, 8), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(3, 2), (5, 8), (5, 14)])],
)
def test_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch, repetitions: int, arms: int) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 2000)
    assert 0.92 <= coverage(repetitions, arms, np.full(arms, 0.01)) <= 0.995


@pytest.mark.slow
def test_an_arm_that_is_noisier_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 2000)
    assert coverage(5, 6, np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.03])) > 0.90


def test_images_alone_would_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the former report did: the noise of runs is left out, and most intervals miss."""
    monkeypatch.setattr(intervals, "run_variance", lambda *_: 0.0)
    monkeypatch.setattr(intervals, "DRAWS", 2000)
    assert coverage(3, 8, np.full(8, 0.03), rounds=50) < 0.7


@pytest.mark.slow
def test_a_plain_hierarchical_bootstrap_of_three_seeds_is_too_narrow() -> None:
    """Seeds drawn with replacement: a draw of three has two thirds of their variance, and no tails."""
    rng, held, rounds = np.random.default_rng(7), 0, 300
    for _ in range(rounds):
        scores_ua, images_ba = simulate(rng, 3, 14, np.full(14, 0.02))
        drawn_bu = rng.integers(0, 3, (200, 3))
        gains_ua = scores_ua[:, 1:] - scores_ua[:, :1]
        images_ba = (images_ba[:, 1:] - images_ba[:, :1]) - (images_ba[:, 1:] - images_ba[:, :1]).mean(0)
        deviations_ba = gains_ua[drawn_bu].mean(1) - gains_ua.mean(0) + images_ba
        errors_a = deviations_ba.std(0)
        critical = np.quantile((np.abs(deviations_ba) / errors_a).max(1), 0.95)
        held += bool((np.abs(gains_ua.mean(0)) / errors_a).max() <= critical)
    assert held / rounds < 0.85


def test_shares_of_the_gap_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 2000)
    rng, held, shown = np.random.default_rng(3), 0, 0
    for _ in range(300):
        none_u, gain = rng.normal(0.5, 0.01, 4), 0.03
        recipe_u, teacher_u = rng.normal(0.5 + gain, 0.01, 4), np.full(4, 0.6)
        scores_ua = np.stack([none_u, recipe_u], 1)
        contrast, gap = Contrast("r", "0", recipe_u - none_u), Contrast("t", "0", teacher_u - none_u)
        found = share_interval(contrast, gap, noise(scores_ua), critical_value([contrast], noise(scores_ua)))
        shown += found is not None
        held += found is not None and found.low <= gain / 0.1 <= found.high
    assert shown > 250
    assert 0.92 <= held / shown <= 0.99


def test_a_share_by_hand_and_where_it_is_not_shown() -> None:
    gains_u, gaps_u = np.array([0.02, 0.04, 0.03]), np.array([0.10, 0.10, 0.10])
    spread = Noise(0.5e-4, 2)
    contrast, gap = Contrast("r", "n", gains_u), Contrast("t", "n", gaps_u)
    found = share_interval(contrast, gap, Noise(0.5e-4, 2), 2.0)
    error, wide = (1e-4 / 3) ** 0.5, (0.5e-4 / 3) ** 0.5
    assert found is not None
    for share in (found.low, found.high):  # the borders: gain - share * gap is exactly 2 standard errors from 0
        assert abs(0.03 - share * 0.10) == pytest.approx(2 * (error**2 + share**2 * wide**2) ** 0.5)
    narrow = Contrast("t", "n", np.full(3, 3.9 * wide))
    assert share_interval(contrast, narrow, spread, 2.0) is None
    assert share_interval(contrast, Contrast("t", "n", np.full(3, 4.1 * wide)), spread, 2.0) is not None
    assert share_interval(contrast, Contrast("t", "n", -gaps_u), spread, 2.0) is None
    assert share_interval(contrast, Contrast("t", "n", np.full(3, 4.1 * wide)), spread, 5.0) is None


def test_noise_by_hand() -> None:
    assert noise_of(np.ones((1, 4))) is None
    assert noise_of(np.ones((4, 1))) is None
    pair_ua = np.array([[0.0, 0.1], [0.0, 0.3]])
    assert noise_of(pair_ua) == Noise(pytest.approx(np.var([0.1, 0.3], ddof=1) / 2), 1)
    shifted = pair_ua + np.array([[5.0], [7.0]])  # what a repetition does to all arms is no noise
    assert noise(shifted).variance == pytest.approx(noise(pair_ua).variance)
    assert intervals.run_variance(Contrast("a", "b", np.array([0.1])), Noise(0.01, 3)) == pytest.approx(0.02)


def test_equal_arms_have_an_interval_of_no_width() -> None:
    scores_ua = np.full((3, 2), 0.5)
    (contrast,) = contrasts_of(scores_ua)
    found = gain_interval(contrast, noise(scores_ua), critical_value([contrast], noise(scores_ua)))
    assert (found.low, found.high) == (0.0, 0.0)
