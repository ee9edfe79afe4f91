"""Linking by its definition, and that nobody who was seen beside another becomes that other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.search.tracks.clustering import Span, link_tracks


def unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def apart(number: int) -> list[Span]:
    """Tracks that never meet."""
    return [Span(video, 0, 9) for video in range(number)]


def naive(vectors_nd: np.ndarray, spans: list[Span], threshold: float) -> list[set[int]]:
    """Joins the two clusters with the smallest mean distance until none is small enough."""
    clusters = [{place} for place in range(len(spans))]
    while True:
        best: tuple[float, int, int] | None = None
        for a, b in combinations(range(len(clusters)), 2):
            pairs = [(i, j) for i in clusters[a] for j in clusters[b]]
            if any(spans[i].meets(spans[j]) for i, j in pairs):
                continue
            cosines = [
                vectors_nd[i] @ vectors_nd[j] / np.linalg.norm(vectors_nd[i]) / np.linalg.norm(vectors_nd[j])
                for i, j in pairs
            ]
            distance = float(np.mean([1 - cosine for cosine in cosines]))
            if distance <= threshold and (best is None or distance < best[0] - 1e-12):
                best = distance, a, b
        if best is None:
            return clusters
        clusters[best[1]] |= clusters.pop(best[2])


def as_sets(persons: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(persons == person).tolist()) for person in np.unique(persons)}


@st.composite
def tracks(draw: st.DrawFn) -> tuple[np.ndarray, list[Span]]:
    number = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    starts = rng.integers(0, 30, number)
    spans = [Span(int(rng.integers(3)), int(start), int(start + rng.integers(0, 15))) for start in starts]
    return rng.standard_normal((number, 3)), spans


@settings(max_examples=80, deadline=None)
@given(tracks(), st.floats(0.05, 1.9))
def test_against_the_definition(drawn: tuple[np.ndarray, list[Span]], threshold: float) -> None:
    vectors_nd, spans = drawn
    persons = link_tracks(vectors_nd, spans, threshold)
    assert as_sets(persons) == {frozenset(cluster) for cluster in naive(vectors_nd, spans, threshold)}


@settings(max_examples=50, deadline=None)
@given(tracks())
def test_tracks_that_meet_are_never_one_person(drawn: tuple[np.ndarray, list[Span]]) -> None:
    vectors_nd, spans = drawn
    persons = link_tracks(vectors_nd, spans, 2.0)
    for a, b in combinations(range(len(spans)), 2):
        if spans[a].meets(spans[b]):
            assert persons[a] != persons[b]


def test_people_are_numbered_in_the_order_of_their_tracks() -> None:
    assert link_tracks(unit(0, 90, 1, 180, 91), apart(5), 0.1).tolist() == [1, 2, 1, 3, 2]


def test_the_length_of_a_vector_does_not_matter() -> None:
    vectors_nd = unit(0, 90, 1)
    scaled = vectors_nd * np.array([[3.0], [0.1], [7.0]])
    assert link_tracks(scaled, apart(3), 0.1).tolist() == link_tracks(vectors_nd, apart(3), 0.1).tolist()


def test_two_of_one_video_go_to_two_of_the_other_though_one_is_nearest_to_both() -> None:
    spans = [Span(0, 0, 9), Span(0, 5, 14), Span(1, 0, 9), Span(1, 5, 14)]
    assert link_tracks(unit(0, 4, 3, 40), spans, 0.5).tolist() == [1, 2, 2, 1]


def test_every_track_of_a_cluster_counts_alike() -> None:
    """The mean of 1, 1 and 0.66 is 0.89; the mean of the parts' means, 1 and 0.66, would be 0.83."""
    assert link_tracks(unit(0, 0, 20, 90), apart(4), 0.85).tolist() == [1, 1, 1, 2]


def test_pieces_of_a_way_through_one_video_are_joined() -> None:
    assert link_tracks(unit(0, 1), [Span(0, 0, 9), Span(0, 10, 19)], 0.1).tolist() == [1, 1]
    assert link_tracks(unit(0, 1), [Span(0, 0, 9), Span(0, 9, 19)], 0.1).tolist() == [1, 2]


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [1, 2, 3]), (2.0, [1, 1, 1])])
def test_thresholds_at_the_ends(threshold: float, expected: list[int]) -> None:
    assert link_tracks(unit(0, 20, 170), apart(3), threshold).tolist() == expected


def test_no_tracks_and_one() -> None:
    assert link_tracks(np.empty((0, 4)), [], 0.5).tolist() == []
    assert link_tracks(unit(3), apart(1), 0.5).tolist() == [1]
