"""Training identities held out to choose the best weights by, and identities as rows of a classifier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.rng import stream
from kd_yolo.reid.data.sample import Sample

HELD_OUT_MIN = TRAINED_MIN = 2  # identities
HELD_OUT_FEW = 20  # a ranking among fewer is soon perfect, so that it cannot tell epochs apart


@dataclass(frozen=True)
class Split:
    """Training crops in two parts without common identities.

    Attributes:
        train: to train on.
        query: held out, to look for.
        gallery: held out, to be found.
        notes: what a user should know of it.
    """

    train: tuple[Sample, ...]
    query: tuple[Sample, ...] = ()
    gallery: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()


def hold_out(samples: Sequence[Sample], share: float, seed: int) -> Split:
    """Holds out a share of the training identities.

    Only identities that a ranking can use are held out: two images, from two cameras where the data have several.

    Args:
        samples: training crops.
        share: of the identities, 0..1; at least 2 are held out, 0 holds none out.
        seed: chooses them.

    Raises:
        ConfigError: too few identities.
    """
    if share == 0:
        return Split(tuple(samples))
    identities = sorted({sample.identity for sample in samples})
    useful = _useful(samples)
    wanted = max(HELD_OUT_MIN, round(share * len(identities)))
    count = min(wanted, len(useful))
    if count < HELD_OUT_MIN or len(identities) - count < TRAINED_MIN:
        raise ConfigError(
            f"train.holdout={share} cannot be: of {len(identities)} training identities, {len(useful)} have the two"
            f" images (from two cameras where there are several) that a ranking needs; at least {HELD_OUT_MIN} are"
            f" held out and {TRAINED_MIN} trained on. Set train.holdout=0."
        )
    order = stream(seed, "holdout").permutation(len(useful))
    chosen = {useful[place] for place in order[:count]}
    query, gallery = divide([sample for sample in samples if sample.identity in chosen], seed)
    train = tuple(sample for sample in samples if sample.identity not in chosen)
    return Split(train, query, gallery, _notes(count, len(identities), len(useful)))


def _notes(count: int, num_identities: int, num_useful: int) -> tuple[str, ...]:
    if count >= HELD_OUT_FEW:
        return ()
    enough = min(num_useful, num_identities // 2) >= HELD_OUT_FEW
    advice = (
        f"train.holdout={HELD_OUT_FEW / num_identities:.2g} holds {HELD_OUT_FEW} out" if enough else "use more data"
    )
    return (
        f"warning: {count} identities are held out, fewer than {HELD_OUT_FEW}: a ranking among so few cannot tell"
        f" epochs apart, so best.pt may be any of them (of equal ones it is the latest): {advice}, or judge by"
        " `kd-yolo reid test` on query and gallery.",
    )


def divide(samples: Sequence[Sample], seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Queries and gallery from crops that are not divided.

    One image of each identity and camera is a query, the others are the gallery; where a camera has but one image
    of a person, that one goes to the gallery. A person without any query then gets the first one as query. Somebody of
    whom there is one image in all is in the gallery only.

    Args:
        samples: crops.
        seed: chooses the queries.
    """
    views: dict[int, dict[int, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        views[sample.identity][sample.camera].append(sample)
    queries: set[Sample] = set()
    for identity, by_camera in sorted(views.items()):
        shots = [by_camera[camera] for camera in sorted(by_camera)]
        if sum(map(len, shots)) > 1:
            rng = stream(seed, "query", identity)
            asked = [images for images in shots if len(images) > 1] or shots[:1]
            queries |= {images[int(rng.integers(len(images)))] for images in asked}
    return tuple(s for s in samples if s in queries), tuple(s for s in samples if s not in queries)


def list_identities(samples: Sequence[Sample]) -> tuple[int, ...]:
    """The identities in the order of the classifier's rows: rising."""
    return tuple(sorted({sample.identity for sample in samples}))


def name_identities(identities: Sequence[int], names: Mapping[int, str]) -> tuple[int | str, ...]:
    """The identities as checkpoints store them, and teacher and student compare them: by name where they have one."""
    return tuple(names.get(identity, identity) for identity in identities)


def as_targets(samples: Sequence[Sample], identities: Sequence[int]) -> list[int]:
    """The row of each sample's identity, 0..C-1."""
    rows = {identity: row for row, identity in enumerate(identities)}
    return [rows[sample.identity] for sample in samples]


def _useful(samples: Sequence[Sample]) -> list[int]:
    """Identities that a ranking can use, rising."""
    images: dict[int, int] = defaultdict(int)
    cameras: dict[int, set[int]] = defaultdict(set)
    for sample in samples:
        images[sample.identity] += 1
        cameras[sample.identity].add(sample.camera)
    fewest = min(2, len({sample.camera for sample in samples}))
    return sorted(i for i, count in images.items() if count >= 2 and len(cameras[i]) >= fewest)
