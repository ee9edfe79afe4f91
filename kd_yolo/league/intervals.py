"""Intervals of several differences that hold together: over repeated runs, over images, for all comparisons at once.

A difference is uncertain for two reasons, and both are drawn many times:

- **runs**: repeating the training with other seeds (and another run of the teacher) moves it. The noise of a run is
  estimated from all arms together, as in Dunnett's test: what is left of the scores when the means of arms and of
  repetitions are taken out. An arm that is noisier than the others keeps its own, larger noise. A draw is normal,
  divided by the root of a chi-square, so that few repetitions give Student's t and not a normal distribution.
- **images**: the images of the split are drawn with replacement, the same ones for all runs
  (:mod:`kd_yolo.league.bootstrap`).

Both deviations add up. The critical value is the 95 % quantile of the largest deviation, in standard errors, of any
comparison (max-t): with probability 0.95 ALL intervals hold. Without images it is Dunnett's of a design in blocks; with
one comparison it is the paired t test's.

References:
    Dunnett 1955, "A multiple comparison procedure for comparing several treatments with a control". Hothorn, Bretz and
    Westfall 2008, "Simultaneous inference in general parametric models" (max-t). Owen 2007, "The pigeonhole
    bootstrap" (rows and columns are drawn independently). Fieller 1954 (interval of a ratio).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
LEVEL, DRAWS, SEED = 0.95, 20_000, 0
MIN_GAP = 4.0  # standard errors: below it a share of the gap is a division by noise


@dataclass(frozen=True)
class Noise:
    """How much the score of one run varies.

    Attributes:
        variance: of one arm in one repetition.
        freedom: degrees of freedom of that estimate, at least 1.
    """

    variance: float
    freedom: int


@dataclass(frozen=True)
class Contrast:
    """One arm compared with another.

    Attributes:
        arm, control: their names.
        gains_u: (U,) score of the arm minus that of the control in each repetition that both have.
        images_b: (B,) what a resample of the images adds to the mean gain; None when that is not known.
    """

    arm: str
    control: str
    gains_u: Array
    images_b: Array | None = None

    @property
    def gain(self) -> float:
        """The mean over the repetitions."""
        return float(np.mean(self.gains_u))


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:+.4f} to {self.high:+.4f}"


def noise_of(scores_ua: Array) -> Noise | None:
    """The noise of a run, from arms that all have the same repetitions.

    Args:
        scores_ua: (U,A) score of each repetition and arm.

    Returns:
        None with one repetition or one arm, which say nothing about it.
    """
    repetitions, arms = scores_ua.shape
    freedom = (repetitions - 1) * (arms - 1)
    if freedom < 1:
        return None
    rest_ua = scores_ua - scores_ua.mean(0) - scores_ua.mean(1, keepdims=True) + scores_ua.mean()
    return Noise(float((rest_ua**2).sum()) / freedom, freedom)


def run_variance(contrast: Contrast, noise: Noise) -> float:
    """Variance of the mean gain that repeating the runs makes."""
    count = len(contrast.gains_u)
    own = float(np.var(contrast.gains_u, ddof=1)) if count > 1 else 0.0
    return max(own, 2 * noise.variance) / count


def standard_error(contrast: Contrast, noise: Noise) -> float:
    """Of the mean gain, from runs and images."""
    return math.sqrt(run_variance(contrast, noise) + _image_variance(contrast))


def critical_value(contrasts: Sequence[Contrast], noise: Noise, *, level: float = LEVEL) -> float:
    """How many standard errors hold for all contrasts at once with probability ``level``.

    Args:
        contrasts: at least one.
        noise: of a run.
        level: of the intervals.
    """
    rng = np.random.default_rng(SEED)
    arms = list(dict.fromkeys(name for c in contrasts for name in (c.arm, c.control)))
    normal_na = rng.standard_normal((DRAWS, len(arms)))
    student_n = np.sqrt(noise.freedom / rng.chisquare(noise.freedom, DRAWS))
    resamples = min((len(c.images_b) for c in contrasts if c.images_b is not None), default=1)
    drawn_n = rng.integers(0, resamples, DRAWS)
    largest_n = np.zeros(DRAWS)
    for contrast in contrasts:
        difference_n = normal_na[:, arms.index(contrast.arm)] - normal_na[:, arms.index(contrast.control)]
        deviation_n = math.sqrt(run_variance(contrast, noise) / 2) * difference_n * student_n
        if contrast.images_b is not None:
            deviation_n = deviation_n + (contrast.images_b - contrast.images_b.mean())[drawn_n]
        error = standard_error(contrast, noise)
        if error > 0:
            largest_n = np.maximum(largest_n, np.abs(deviation_n) / error)
    return float(np.quantile(largest_n, level))


def gain_interval(contrast: Contrast, noise: Noise, critical: float) -> Interval:
    """The interval of a gain that was compared beside others; see :func:`critical_value`."""
    half = critical * standard_error(contrast, noise)
    return Interval(contrast.gain - half, contrast.gain + half)


def share_interval(contrast: Contrast, gap: Contrast, noise: Noise, critical: float) -> Interval | None:
    """Fieller's interval of gain / gap: all shares s for which gain - s * gap is not away from 0.

    Args:
        contrast: recipe minus control.
        gap: teacher minus the same control, in the same repetitions and resamples.
        noise: of a run; the teacher's is in ``gap``, as far as there are several runs of it.
        critical: see :func:`critical_value`.

    Returns:
        None where the gap is not above :data:`MIN_GAP` standard errors or the interval is not bounded.
    """
    covariance = _covariance(contrast, gap, noise)
    gain, width = contrast.gain, gap.gain
    if width <= MIN_GAP * math.sqrt(covariance[1, 1]):
        return None
    gain_gain, gain_gap, gap_gap = (critical**2 * float(covariance[i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    square, linear, constant = width**2 - gap_gap, gain * width - gain_gap, gain**2 - gain_gain
    inside = linear**2 - square * constant
    if square <= 0 or inside < 0:
        return None
    root = math.sqrt(inside)
    return Interval((linear - root) / square, (linear + root) / square)


def _covariance(contrast: Contrast, gap: Contrast, noise: Noise) -> Array:
    """(2,2) of mean gain and mean gap."""
    both_2u = np.stack([contrast.gains_u, gap.gains_u])
    count = both_2u.shape[1]
    total = np.cov(both_2u) / count if count > 1 else np.zeros((2, 2))
    total[0, 0] = run_variance(contrast, noise)
    total[1, 1] = max(total[1, 1], noise.variance / count)
    if contrast.images_b is not None and gap.images_b is not None:
        total = total + np.cov(np.stack([contrast.images_b, gap.images_b]))
    return np.asarray(total)


def _image_variance(contrast: Contrast) -> float:
    return 0.0 if contrast.images_b is None else float(np.var(contrast.images_b, ddof=1))
