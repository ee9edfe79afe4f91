"""Which recipe is better than which, by a paired bootstrap over the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.league.images import ImageScores

Run = tuple[str, int]  # recipe and seed
RESAMPLES, SEED, LEVEL = 1000, 0, 0.05


@dataclass(frozen=True)
class Pair:
    """Two recipes compared on the same images.

    Attributes:
        better: the one with the higher mAP, averaged over the seeds.
        other: the other one.
        seeds: those that both have.
        gain: how much higher.
        p: two-sided; how easily the images alone make such a difference.
    """

    better: str
    other: str
    seeds: tuple[int, ...]
    gain: float
    p: float

    def __str__(self) -> str:
        if self.p < LEVEL:
            return f"{self.better} > {self.other}, p = {self.p:.2g}"
        return f"{self.better}, {self.other}: not separable (p = {self.p:.2g})"


def compare_pairs(runs: Mapping[Run, ImageScores], *, resamples: int = RESAMPLES) -> list[Pair]:
    """Compares every recipe with every other one that shares a seed with it.

    Images are drawn with replacement, the same ones for all recipes and seeds; in each resample the mAP50-95 is
    recomputed and averaged over the common seeds.

    Args:
        runs: statistics of the images by recipe and seed.
        resamples: how many.

    Returns:
        All pairs, the better recipe of each first.

    Raises:
        InputError: the runs were not evaluated on the same images.
    """
    if not runs:
        return []
    counts_bi = draw(_num_images(runs), resamples)
    points = {run: float(scores.mean_ap()[0]) for run, scores in runs.items()}
    samples = {run: scores.mean_ap(counts_bi) for run, scores in runs.items()}
    recipes = list(dict.fromkeys(recipe for recipe, _ in runs))
    return [pair for one, other in combinations(recipes, 2) if (pair := _pair(one, other, points, samples)) is not None]


def draw(num_images: int, resamples: int) -> npt.NDArray[np.int64]:
    """(B,I) how often each image is drawn; the same in every call."""
    return np.random.default_rng(SEED).multinomial(num_images, np.full(num_images, 1 / num_images), resamples)


def _num_images(runs: Mapping[Run, ImageScores]) -> int:
    first, names = next((run, scores.names) for run, scores in runs.items())
    for (recipe, seed), scores in runs.items():
        if not np.array_equal(names, scores.names):
            raise InputError(
                f"{recipe}-s{seed} and {first[0]}-s{first[1]} were not evaluated on the same images"
                f" ({len(scores.names)} and {len(names)}): remove their images.npz and JSON files, and run them again."
            )
    return len(names)


def _pair(one: str, other: str, points: Mapping[Run, float], samples: Mapping[Run, Any]) -> Pair | None:
    seeds = tuple(sorted(seed for recipe, seed in points if recipe == one and (other, seed) in points))
    if not seeds:
        return None
    gain = float(np.mean([points[one, seed] - points[other, seed] for seed in seeds]))
    if gain < 0:
        one, other, gain = other, one, -gain
    gains_b = np.mean([samples[one, seed] - samples[other, seed] for seed in seeds], axis=0)
    return Pair(one, other, seeds, gain, two_sided(gains_b))


def two_sided(gains_b: npt.NDArray[Any]) -> float:
    """Twice the share of resamples on the rarer side of 0; the difference itself counts as one resample."""
    rarer = min(int((gains_b <= 0).sum()), int((gains_b >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(gains_b) + 1))
