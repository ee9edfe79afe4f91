"""The PK sampler: P identities x K images in every batch, the same for every number of processes and after a stop."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.data.sampler import Draw, PKSampler

sizes = st.lists(st.integers(1, 9), min_size=2, max_size=9)
cases = st.tuples(sizes, st.integers(1, 4), st.integers(2, 5), st.integers(0, 3), st.integers(0, 3))


def targets_of(counts: list[int]) -> list[int]:
    return [identity for identity, count in enumerate(counts) for _ in range(count)]


def epoch_of(sampler: PKSampler, epoch: int, start_batch: int = 0) -> list[list[Draw]]:
    sampler.set_epoch(epoch, start_batch)
    return list(sampler)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_each_batch_has_p_identities_with_k_images(case: tuple[list[int], int, int, int, int]) -> None:
    counts, half, images, seed, epoch = case
    targets, ids = targets_of(counts), min(half, len(counts))
    sampler = PKSampler(targets, ids, images, seed=seed)
    batches = epoch_of(sampler, epoch)
    assert len(batches) == len(sampler) == max(1, len(targets) // (ids * images))
    for batch in batches:
        here = [targets[draw.sample] for draw in batch]
        assert set(Counter(here).values()) == {images}
        assert len(set(here)) == ids
        assert [here[i] for i in range(0, len(here), images) for _ in range(images)] == here, "identity by identity"
        for identity in set(here):
            times = Counter(draw.sample for draw in batch if targets[draw.sample] == identity)
            assert max(times.values()) <= -(-images // counts[identity]), "repeated no more than needed"


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from([1, 2, 3]))
def test_ranks_share_the_batch_of_one_process(case: tuple[list[int], int, int, int, int], world: int) -> None:
    counts, per_rank, images, seed, epoch = case
    counts = counts + [2] * max(0, world * per_rank - len(counts))
    targets, ids = targets_of(counts), world * per_rank
    whole = epoch_of(PKSampler(targets, ids, images, seed=seed), epoch)
    parts = [
        epoch_of(PKSampler(targets, ids, images, seed=seed, rank=rank, world_size=world), epoch)
        for rank in range(world)
    ]
    for number, batch in enumerate(whole):
        shares = [part[number] for part in parts]
        assert [draw for share in shares for draw in share] == batch
        people = [{targets[draw.sample] for draw in share} for share in shares]
        assert sum(map(len, people)) == ids, "whole identities"


@settings(max_examples=40, deadline=None)
@given(cases, st.integers(0, 12))
def test_a_resumed_epoch_goes_on_with_the_same_batches(case: tuple[list[int], int, int, int, int], start: int) -> None:
    counts, half, images, seed, epoch = case
    targets, ids = targets_of(counts), min(half, len(counts))
    whole = epoch_of(PKSampler(targets, ids, images, seed=seed), epoch)
    again = PKSampler(targets, ids, images, seed=seed)
    assert epoch_of(again, epoch, start) == whole[start:]
    assert len(again) == len(whole[start:])
    assert again.batches_per_epoch == len(whole)


def test_seed_and_epoch_decide() -> None:
    targets = targets_of([6] * 8)
    make = lambda seed: PKSampler(targets, 4, 3, seed=seed)  # noqa: E731
    assert epoch_of(make(1), 2) == epoch_of(make(1), 2)
    drawn = [
        [d.sample for batch in epoch_of(make(seed), epoch) for d in batch] for seed, epoch in ((1, 2), (1, 3), (2, 2))
    ]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_an_epoch_shows_everything_once_where_it_divides() -> None:
    sampler = PKSampler(targets_of([6] * 8), 4, 3)
    drawn = Counter(draw.sample for batch in epoch_of(sampler, 5) for draw in batch)
    assert set(drawn) == set(range(48))
    assert set(drawn.values()) == {1}


def test_repeats_are_numbered_over_the_epoch() -> None:
    draws = [d for batch in epoch_of(PKSampler([0, 1, 1, 1, 1, 1, 1, 1], 2, 2), 3) for d in batch]
    assert all(draw.epoch == 3 for draw in draws)
    assert [draw.repeat for draw in draws if draw.sample == 0] == [0, 1, 2, 3]
    assert len(set(draws)) == len(draws), "no two draws are augmented alike"


def test_what_was_done_about_few_images_is_said() -> None:
    assert PKSampler(targets_of([4, 5]), 2, 4).notes == []
    assert PKSampler(targets_of([4, 3]), 2, 4).notes == [
        "1 of 2 identities have fewer than train.images=4 images and repeat them within a batch;"
        " each repeat is augmented afresh."
    ]
    assert PKSampler(targets_of([1, 3, 1, 9]), 2, 4).notes == [
        "3 of 4 identities have fewer than train.images=4 images and repeat them within a batch,"
        " 2 of them their only one; each repeat is augmented afresh."
    ]


def test_more_identities_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"train\.ids=16, but there are 3 identities to train on: set train\.ids=3"):
        PKSampler(targets_of([4, 4, 4]), 16, 4)


def test_identities_that_cannot_be_shared_out() -> None:
    with pytest.raises(ConfigError, match=r"train\.ids=3 cannot be shared out among 2 processes.* a multiple of 2"):
        PKSampler(targets_of([4, 4, 4]), 3, 4, world_size=2)


class Echo(Dataset[tuple[int, int, int]]):
    """Gives back what it is asked for."""

    def __getitem__(self, key: Draw) -> tuple[int, int, int]:
        return tuple(key)


def test_a_loader_passes_the_draws_on() -> None:
    sampler = PKSampler(targets_of([4, 4, 4]), 2, 2, seed=1)
    sampler.set_epoch(7)
    seen = [
        list(zip(*(part.tolist() for part in batch), strict=True))
        for batch in DataLoader(Echo(), batch_sampler=sampler)
    ]
    assert seen == [[tuple(draw) for draw in batch] for batch in sampler]
