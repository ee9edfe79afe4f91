"""Batches of P identities x K images, which batch-hard losses need."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.rng import Rng, stream

Ints = npt.NDArray[np.int64]


class Draw(NamedTuple):
    """One crop of a batch, and all that its augmentation depends on besides the seed.

    Attributes:
        sample: its index.
        epoch: number of the epoch.
        repeat: how often the sample was drawn before in this epoch.
    """

    sample: int
    epoch: int = 0
    repeat: int = 0


class PKSampler(Sampler[list[Draw]]):
    """A batch sampler: every batch has ``ids`` different identities with ``images`` images each.

    An epoch has as many batches as it takes to show every image about once; what does not fill a batch is dropped.
    Identities come in shuffled rounds, and so do the images of each; in a round nothing comes twice. An identity with
    fewer than ``images`` images repeats them within the batch. Batches depend on ``seed`` and epoch only.

    With several processes, each gets whole identities of each batch, and in rank order their parts are the batch that a
    single process gets.

    Args:
        targets: identity of each sample.
        ids: identities in a batch of all processes.
        images: images of an identity in a batch.
        seed: of the order.
        rank: of this process.
        world_size: processes that train together.

    Raises:
        ConfigError: fewer identities than ``ids``, or ``ids`` cannot be shared out among the processes.

    References:
        Hermans et al. 2017, "In Defense of the Triplet Loss for Person Re-Identification", arXiv 1703.07737, sec. 2.
    """

    def __init__(
        self, targets: Sequence[int], ids: int, images: int, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self._by_identity = _group(targets)
        found = len(self._by_identity)
        if found < ids:
            raise ConfigError(
                f"train.ids={ids}, but there are {found} identities to train on: set train.ids={found} or lower, or"
                " hold out fewer (train.holdout)."
            )
        if ids % world_size:
            raise ConfigError(
                f"train.ids={ids} cannot be shared out among {world_size} processes, each of which takes whole"
                f" identities: set train.ids to a multiple of {world_size}."
            )
        self.ids, self.images, self.seed, self.rank, self.world_size = ids, images, seed, rank, world_size
        self.epoch = self.start_batch = 0
        self._num_batches = max(1, len(targets) // (ids * images))

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Chooses the epoch, and the first of its batches that is given: a resumed run skips those before."""
        self.epoch, self.start_batch = epoch, start_batch

    @property
    def batches_per_epoch(self) -> int:
        """Batches in a whole epoch."""
        return self._num_batches

    def __len__(self) -> int:
        return max(0, self._num_batches - self.start_batch)

    def __iter__(self) -> Iterator[list[Draw]]:
        width = self.ids * self.images // self.world_size
        mine = slice(self.rank * width, (self.rank + 1) * width)
        drawn = Counter[int]()
        for number, batch in enumerate(self._batches()):
            draws = []
            for index in batch:
                draws.append(Draw(index, self.epoch, drawn[index]))
                drawn[index] += 1
            if number >= self.start_batch:
                yield draws[mine]

    @property
    def notes(self) -> list[str]:
        """What the sampler does that a user may not expect."""
        sizes = [len(indices) for indices in self._by_identity]
        few, single = sum(size < self.images for size in sizes), sum(size == 1 for size in sizes)
        if not few:
            return []
        note = f"{few} of {len(sizes)} identities have fewer than train.images={self.images} images and repeat them"
        note += f" within a batch, {single} of them their only one" if single else " within a batch"
        return [f"{note}; each repeat is augmented afresh."]

    def _batches(self) -> Iterator[list[int]]:
        """The batches of all processes, identity by identity."""
        rng = stream(self.seed, "pk", self.epoch)
        people = _Deck(np.arange(len(self._by_identity)), rng)
        decks = [_Deck(indices, rng) for indices in self._by_identity]
        for _ in range(self._num_batches):
            chosen = people.take(self.ids)
            yield [int(index) for identity in chosen for index in decks[identity].take(self.images)]


class _Deck:
    """Cards that are dealt until too few are left, and then shuffled again."""

    def __init__(self, cards: Ints, rng: Rng) -> None:
        self._cards, self._rng = cards, rng
        self._left: Ints = cards[:0]

    def take(self, count: int) -> Ints:
        """The next ``count`` cards: all different, unless the deck is smaller than that."""
        if len(self._left) < count:
            rounds = [self._rng.permutation(self._cards) for _ in range(-(-count // len(self._cards)))]
            self._left = np.concatenate(rounds)
        taken, self._left = self._left[:count], self._left[count:]
        return taken


def _group(targets: Sequence[int]) -> list[Ints]:
    """Indices of the samples of each identity, identities rising."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        groups[target].append(index)
    return [np.array(groups[target], np.int64) for target in sorted(groups)]
