"""Held-out identities: never trained on, always with something to find."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.split import as_targets, divide, hold_out, list_identities, name_identities
from tests.reid.data_helpers import made_up

PEOPLE = made_up(*((identity, camera, 3) for identity in range(1, 21) for camera in (1, 2, 3)))


def ids(samples: tuple[Sample, ...]) -> set[int]:
    return {sample.identity for sample in samples}


@pytest.mark.parametrize(("share", "held"), [(0.01, 2), (0.1, 2), (0.15, 3), (0.2, 4), (0.9, 18)])
def test_a_share_of_the_identities_is_held_out(share: float, held: int) -> None:
    split = hold_out(PEOPLE, share, seed=0)
    assert ids(split.query) == ids(split.gallery)
    assert len(ids(split.query)) == held
    assert ids(split.train) | ids(split.query) == set(range(1, 21))
    assert not ids(split.train) & ids(split.query)
    assert sorted(map(str, (s.path for s in (*split.train, *split.query, *split.gallery)))) == sorted(
        str(s.path) for s in PEOPLE
    )


def test_one_image_of_each_identity_and_camera_is_a_query() -> None:
    split = hold_out(PEOPLE, 0.2, seed=0)
    views = Counter((sample.identity, sample.camera) for sample in split.query)
    assert set(views) == {(identity, camera) for identity in ids(split.query) for camera in (1, 2, 3)}
    assert set(views.values()) == {1}


def test_the_seed_decides() -> None:
    assert hold_out(PEOPLE, 0.2, seed=3) == hold_out(PEOPLE, 0.2, seed=3)
    chosen = {frozenset(ids(hold_out(PEOPLE, 0.2, seed=seed).query)) for seed in range(5)}
    assert len(chosen) > 1


def test_nothing_is_held_out_for_0() -> None:
    assert hold_out(PEOPLE, 0.0, seed=0).train == tuple(PEOPLE)
    assert hold_out(PEOPLE, 0.0, seed=0).query == ()


def test_a_single_camera_gives_one_query_an_identity() -> None:
    query, gallery = divide(made_up((1, 0, 4), (2, 0, 2), (3, 0, 1)), seed=0)
    assert [sample.identity for sample in query] == [1, 2]
    assert Counter(sample.identity for sample in gallery) == {1: 3, 2: 1, 3: 1}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(1, 6), st.dictionaries(st.integers(1, 4), st.integers(1, 3), min_size=2), min_size=1),
    st.integers(0, 5),
)
def test_every_query_finds_its_identity_in_another_camera(views: dict[int, dict[int, int]], seed: int) -> None:
    samples = made_up(*((i, camera, shots) for i, by in views.items() for camera, shots in by.items()))
    query, gallery = divide(samples, seed)
    assert ids(query) == set(views)
    for asked in query:
        assert any(s.identity == asked.identity and s.camera != asked.camera for s in gallery)
    assert set(query) | set(gallery) == set(samples)
    assert not set(query) & set(gallery)


def test_identities_that_a_ranking_cannot_use_stay_in_training() -> None:
    samples = made_up(*((i, c, 2) for i in (1, 2, 3) for c in (1, 2)), (4, 1, 9), (5, 2, 1))
    for seed in range(8):
        assert ids(hold_out(samples, 0.4, seed).query) <= {1, 2, 3}


@pytest.mark.parametrize(
    ("samples", "useful"),
    [(made_up((1, 1, 2), (2, 1, 2), (3, 1, 2)), 3), (made_up(*((i, 1, 1) for i in range(9))), 0)],
)
def test_too_few_identities(samples: list[Sample], useful: int) -> None:
    with pytest.raises(ConfigError, match=rf"train\.holdout=0\.1 cannot be: .* {useful} have the two .*holdout=0\."):
        hold_out(samples, 0.1, seed=0)


def test_targets_are_rows_of_the_rising_identities() -> None:
    samples = made_up((30, 1, 1), (2, 1, 2), (7, 1, 1))
    identities = list_identities(samples)
    assert identities == (2, 7, 30)
    assert as_targets(samples, identities) == [2, 0, 0, 1]
    assert name_identities(identities, {}) == (2, 7, 30)
    assert name_identities((0, 1), {0: "alice", 1: "bob"}) == ("alice", "bob")
