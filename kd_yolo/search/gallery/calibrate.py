"""A threshold on the cosine distance at a wanted false-accept rate, from crops whose people are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.extras import require
from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.files import Threshold

MAX_CROPS = 5000  # 12.5 million pairs, 50 MB
SURE = 0.95


@dataclass(frozen=True)
class Calibration:
    """A threshold and how far to trust it.

    Attributes:
        threshold: distance and rates, to be kept in a gallery.
        far_at_most: with 95 % confidence the false-accept rate is at most this, were the pairs independent.
        notes: what to know before relying on it.
    """

    threshold: Threshold
    far_at_most: float
    notes: tuple[str, ...]


def calibrate(
    vectors_nd: Floats, identities: Sequence[str | None], far: float, cameras: Sequence[int] | None = None
) -> Calibration:
    """The largest threshold at which at most the share ``far`` of pairs of two people is taken for one person.

    Args:
        vectors_nd: unit rows.
        identities: who each crop shows; crops of nobody known (None) are left out.
        far: wanted false-accept rate, between 0 and 1.
        cameras: where each was taken; pairs of one person then count from two cameras only, where there are several,
            as two images of one camera are alike for other reasons.

    Returns:
        The threshold: accept when the distance is at most that. Of more than 5000 crops as many are drawn.

    Raises:
        ConfigError: ``far`` is no such rate.
        InputError: no pair of one person, or none of two.
    """
    check_far(far)
    chosen = _drawn(len(vectors_nd))
    same_p, differ_p = _pairs(
        vectors_nd[chosen], [identities[place] for place in chosen],
        None if cameras is None else [cameras[place] for place in chosen],
    )  # fmt: skip
    allowed = int(far * len(differ_p) + 1e-9)
    threshold = _just_below(differ_p, allowed)
    accepted = int((differ_p <= threshold).sum())
    found = Threshold(
        distance=threshold, far=accepted / len(differ_p), frr=float((same_p > threshold).mean()), wanted=far,
        positives=len(same_p), negatives=len(differ_p),
    )  # fmt: skip
    notes = _notes(found, len(chosen), len(vectors_nd))
    return Calibration(found, _upper_bound(accepted, len(differ_p)), tuple(notes))


def check_far(far: float) -> None:
    """Raises a ConfigError for what is no false-accept rate."""
    if not 0 < far < 1:
        raise ConfigError(f"far={far}, expected a rate between 0 and 1: 0.01 lets one of a hundred strangers pass.")


def is_worse(new: Threshold, old: Threshold) -> bool:
    """Whether a threshold rests on too few pairs to take the place of one from more.

    Args:
        new: just calibrated.
        old: kept so far.
    """
    return new.negatives < 1 / new.wanted and new.negatives < old.negatives


def _drawn(count: int) -> npt.NDArray[np.int64]:
    if count <= MAX_CROPS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MAX_CROPS, replace=False))


def _pairs(
    vectors_nd: Floats, identities: Sequence[str | None], cameras: Sequence[int] | None
) -> tuple[Floats, Floats]:
    """Distances of pairs of one person (P), and of two people (Q)."""
    names = {name: number for number, name in enumerate(dict.fromkeys(filter(None, identities)))}
    who_n = np.array([-1 if name is None else names[name] for name in identities], np.int64)
    where_n = np.array([0] * len(who_n) if cameras is None else cameras, np.int64)
    any_camera = len(np.unique(where_n)) < 2
    same, differ = [], []
    for row in np.flatnonzero(who_n >= 0):
        distance_m = np.maximum(1 - vectors_nd[row + 1 :] @ vectors_nd[row], 0)
        is_same = who_n[row + 1 :] == who_n[row]
        same.append(distance_m[is_same & (any_camera | (where_n[row + 1 :] != where_n[row]))])
        differ.append(distance_m[~is_same & (who_n[row + 1 :] >= 0)])
    same_p, differ_q = (np.concatenate([np.empty(0, np.float32), *parts]) for parts in (same, differ))
    if not len(same_p) or not len(differ_q):
        raise InputError(
            f"{len(who_n)} crops of {len(names)} people make {len(same_p)} pairs of one person"
            f"{'' if any_camera else ' seen by two cameras'} and {len(differ_q)} of two: both kinds are needed. Name"
            " crops as 0002_c1s1_000451_03.jpg (person, camera), or put those of each person into a folder."
        )
    return same_p, differ_q


def _just_below(differ_q: Floats, allowed: int) -> float:
    """The largest distance that at most ``allowed`` of the pairs do not exceed."""
    return float(np.nextafter(np.partition(differ_q, allowed)[allowed], np.float32(-1)))


def _upper_bound(accepted: int, count: int) -> float:
    """Clopper and Pearson's upper bound of a rate."""
    if accepted == count:
        return 1.0
    return float(require("scipy.special").betaincinv(accepted + 1, count - accepted, SURE))


def _notes(found: Threshold, num_used: int, num_crops: int) -> list[str]:
    notes = []
    if found.negatives < 1 / found.wanted:
        notes.append(
            f"{found.negatives} pairs of two people are too few for a false-accept rate of {found.wanted:g}: at least"
            f" {ceil(1 / found.wanted):,} are needed. The threshold lets none of them pass; do not rely on it."
        )
    elif found.negatives < 10 / found.wanted:
        notes.append(
            f"only {found.negatives} pairs of two people: the threshold hangs on fewer than 10 of them. With"
            f" {ceil(10 / found.wanted):,} it would be steadier."
        )
    if num_used < num_crops:
        notes.append(f"{num_used} of {num_crops} crops were drawn for it.")
    return notes
