"""What other images would have said: the images of a split are drawn with replacement, the same ones for every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.league.images import Array, ImageScores

Run = tuple[str, int]  # recipe and seed
RESAMPLES, SEED = 1000, 0


def resample_images(runs: Mapping[Run, ImageScores], *, resamples: int = RESAMPLES) -> dict[Run, Array]:
    """The mAP50-95 of every run in each resample.

    Args:
        runs: statistics of the images by recipe and seed.
        resamples: how many.

    Returns:
        (B,) by run; one resample is the same images in all of them.

    Raises:
        InputError: the runs were not evaluated on the same images.
    """
    if not runs:
        return {}
    counts_bi = draw(_num_images(runs), resamples)
    return {run: scores.mean_ap(counts_bi) for run, scores in runs.items()}


def draw(num_images: int, resamples: int) -> npt.NDArray[np.int64]:
    """(B,I) how often each image is drawn; the same in every call."""
    return np.random.default_rng(SEED).multinomial(num_images, np.full(num_images, 1 / num_images), resamples)


def _num_images(runs: Mapping[Run, ImageScores]) -> int:
    first, names = next((run, scores.names) for run, scores in runs.items())
    for (recipe, seed), scores in runs.items():
        if not np.array_equal(names, scores.names):
            raise InputError(
                f"{recipe}-s{seed} and {first[0]}-s{first[1]} were not evaluated on the same images"
                f" ({len(scores.names)} and {len(names)}): remove their .npz and JSON files, and run them again."
            )
    return len(names)
