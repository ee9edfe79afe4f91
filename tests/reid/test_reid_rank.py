"""CMC, mAP, mINP: equal to a naive loop over a stable sort, ties and junk included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation import rank_kernel
from kd_yolo.reid.evaluation.distance import distance_matrix
from kd_yolo.reid.evaluation.matches import Gallery, Labels
from kd_yolo.reid.evaluation.rank import ApKind, RankResult, evaluate, evaluate_embeddings

Problem = tuple[Any, Any, Any, Any, Any]


def naive_query(matches: list[bool], max_rank: int, ap: str) -> tuple[float, float, list[float]]:
    """AP, INP and CMC of one ranking, in which only what counts is left."""
    total, hits, area, inp = sum(matches), 0, 0.0, 0.0
    old_recall, old_precision = 0.0, 1.0
    for place, is_hit in enumerate(matches, 1):
        hits += is_hit
        recall, precision = hits / total, hits / place
        area += (recall - old_recall) * (precision if ap == "rectangle" else (precision + old_precision) / 2)
        old_recall, old_precision = recall, precision
        if is_hit and hits == total:
            inp = total / place
    cmc = [float(any(matches[: rank + 1])) for rank in range(max_rank)]
    return area, inp, cmc


def naive(problem: Problem, max_rank: int, ap: str) -> dict[str, Any]:
    dist, q_ids, g_ids, q_cams, g_cams = problem
    rows, aps = [], []
    for i in range(len(q_ids)):
        matches = []
        for j in sorted(range(len(g_ids)), key=lambda j: dist[i][j]):  # Python's sort is stable
            own = q_cams is not None and q_cams[i] == g_cams[j] and q_ids[i] == g_ids[j]
            if g_ids[j] != -1 and not own:
                matches.append(bool(g_ids[j] == q_ids[i]))
        rows.append(naive_query(matches, max_rank, ap) if any(matches) else None)
        aps.append(rows[-1][0] if rows[-1] else np.nan)
    valid = [row for row in rows if row]
    if not valid:
        return {}
    return {
        "map": np.mean([row[0] for row in valid]),
        "minp": np.mean([row[1] for row in valid]),
        "cmc": np.mean([row[2] for row in valid], axis=0),
        "ap": aps,
        "num_valid_queries": len(valid),
        "num_skipped": len(rows) - len(valid),
    }


def assert_equal(result: RankResult, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(result, name), value, rtol=1e-12, atol=1e-12, err_msg=name)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Few distinct distances (ties), few identities (junk -1 and distractors 0 among them), with or without cameras."""
    num_queries, num_gallery = draw(st.integers(1, 6)), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 3, 1000]))
    dist = (rng.integers(0, levels, (num_queries, num_gallery)) / 8).astype(draw(st.sampled_from(["f2", "f4", "f8"])))
    num_ids = draw(st.integers(1, 8))
    q_ids, g_ids = rng.integers(1, num_ids + 1, num_queries), rng.integers(-1, num_ids + 1, num_gallery)
    if draw(st.booleans()):
        return dist, q_ids, g_ids, None, None
    return dist, q_ids, g_ids, rng.integers(1, 4, num_queries), rng.integers(1, 4, num_gallery)


@pytest.mark.parametrize("many_hits", [False, True])
@given(problem=problems(), max_rank=st.integers(1, 30), ap=st.sampled_from(["rectangle", "trapezoid"]))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_equals_a_naive_loop(many_hits: bool, problem: Problem, max_rank: int, ap: ApKind) -> None:
    if many_hits:
        problem = repeat_gallery(problem, 30)
    expected = naive(problem, max_rank, ap)
    if expected:
        assert_equal(evaluate(*problem, max_rank=max_rank, ap=ap), expected)
    else:
        with pytest.raises(InputError, match=r"none of the \d+ queries has a match"):
            evaluate(*problem, max_rank=max_rank, ap=ap)


def repeat_gallery(problem: Problem, times: int) -> Problem:
    """The same gallery many times over: enough hits for the other way to count, and all of them tied."""
    dist, q_ids, g_ids, q_cams, g_cams = problem
    return (
        np.tile(dist, times),
        q_ids,
        np.tile(g_ids, times),
        q_cams,
        None if g_cams is None else np.tile(g_cams, times),
    )


def test_both_ways_to_count_give_the_same_places() -> None:
    rng = np.random.default_rng(0)
    row = (rng.integers(0, 50, 400) / 7).astype(np.float32)
    hits = np.sort(rng.choice(400, 150, replace=False))
    row[np.setdiff1d(np.arange(400), hits)[:20]] = np.nan
    places = np.empty(150, np.int64)
    rank_kernel._places_of_many(row, hits, places)
    np.testing.assert_array_equal(places, [rank_kernel._num_before(row, hit) for hit in hits])
    np.testing.assert_array_equal(places, np.argsort(np.argsort(row, kind="stable"), kind="stable")[hits])


def test_worked_example() -> None:
    """Right, wrong, right: AP (1 + 2/3) / 2, trapezoid ((1 + 1)/2 + (1/2 + 2/3)/2) / 2, INP 2/3."""
    args: Problem = ([[0.1, 0.2, 0.3]], [1], [1, 2, 1], None, None)
    result = evaluate(*args, max_rank=5)
    assert (result.map, result.minp) == (pytest.approx(5 / 6), pytest.approx(2 / 3))
    assert result.cmc.tolist() == [1] * 5  # goes on with its last value beyond the gallery
    assert evaluate(*args, ap="trapezoid").map == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)


def test_own_camera_counts_only_without_cameras() -> None:
    dist, ids = [[0.1, 0.2, 0.3]], ([1], [1, 2, 1])
    assert evaluate(dist, *ids, [1], [1, 1, 2], max_rank=3).cmc.tolist() == [0, 1, 1]
    assert evaluate(dist, *ids, max_rank=3).cmc.tolist() == [1, 1, 1]


def test_junk_vanishes_and_distractors_stay() -> None:
    dist, q_ids = [[0.1, 0.2, 0.3]], [1]
    assert evaluate(dist, q_ids, [-1, -1, 1], max_rank=3).cmc.tolist() == [1, 1, 1]
    assert evaluate(dist, q_ids, [0, 0, 1], max_rank=3).cmc.tolist() == [0, 0, 1]


def test_equal_distances_rank_by_index() -> None:
    assert evaluate(np.zeros((1, 3)), [1], [2, 1, 2], max_rank=3).cmc.tolist() == [0, 1, 1]


def test_perfect_ranking_scores_1_with_all_figures() -> None:
    ids = np.arange(1, 6)
    for ap in ("rectangle", "trapezoid"):
        result = evaluate(1 - np.eye(5), ids, ids, ap=ap)
        assert (result.map, result.minp, result.cmc.min()) == (1, 1, 1)


def test_skipped_queries_are_counted_and_nan() -> None:
    result = evaluate(np.zeros((3, 2)), [1, 5, 7], [1, 1])
    assert (result.num_valid_queries, result.num_skipped) == (1, 2)
    assert np.isnan(result.ap).tolist() == [False, True, True]


@pytest.mark.parametrize("ap", ["rectangle", "trapezoid"])
def test_embeddings_give_what_their_distances_give(ap: ApKind) -> None:
    rng = np.random.default_rng(0)
    q_nd, g_nd = rng.standard_normal((300, 6)), torch.from_numpy(rng.standard_normal((90, 6)))
    q_ids, g_ids, q_cams, g_cams = (
        rng.integers(1, high, size) for high, size in ((9, 300), (9, 90), (4, 300), (4, 90))
    )
    whole = evaluate(distance_matrix(q_nd, g_nd, "euclidean"), q_ids, g_ids, q_cams, g_cams, ap=ap)
    blocks = evaluate_embeddings((q_nd, q_ids, q_cams), (g_nd, g_ids, g_cams), metric="euclidean", ap=ap)
    for name in ("map", "minp", "cmc", "ap", "num_valid_queries", "num_skipped"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))


def test_tensors_lists_and_transposed_arrays_are_the_same() -> None:
    dist = np.random.default_rng(0).random((4, 6), np.float32)
    q_ids, g_ids = [1, 2, 3, 1], [1, 2, 3, 1, 2, 3]
    expected = evaluate(dist, q_ids, g_ids).map
    for same in (torch.from_numpy(dist), dist.tolist(), np.asfortranarray(dist), torch.from_numpy(dist).double()):
        assert evaluate(same, torch.tensor(q_ids), torch.tensor(g_ids)).map == expected
    assert evaluate((dist * 1000).astype(int), q_ids, g_ids).num_valid_queries == 4


def test_infinite_distances_rank_last() -> None:
    assert evaluate([[np.inf, 0.5, np.inf]], [1], [1, 2, 2], max_rank=3).cmc.tolist() == [0, 1, 1]


def test_distances_are_left_as_they_were() -> None:
    dist = np.random.default_rng(0).random((2, 3), np.float32)
    before = dist.copy()
    evaluate(dist, [1, 2], [1, 2, -1], [1, 1], [2, 2, 1])
    np.testing.assert_array_equal(dist, before)


def test_matches_of_a_junk_query_are_none() -> None:
    found = Gallery(Labels(np.array([-1, 3, -1]), None)).matches(Labels(np.array([-1, 3]), None))
    assert (found.hits_m.tolist(), found.hit_starts.tolist()) == ([1], [0, 0, 1])


def test_errors_say_what_to_do() -> None:
    dist = np.zeros((2, 3))
    with pytest.raises(InputError, match="identities of all 2 are absent"):
        evaluate(dist, [8, 9], [1, 2, -1])
    with pytest.raises(InputError, match=r"1 identities are absent, and 1 are there .* use a protocol without cameras"):
        evaluate(dist, [1, 9], [1, 1, 2], [1, 1], [1, 1, 1])
    with pytest.raises(InputError, match="the gallery set is empty"):
        evaluate(np.zeros((2, 0)), [1, 2], [])
    with pytest.raises(InputError, match="the query set is empty"):
        evaluate(np.zeros((0, 3)), [], [1, 2, 3])
    with pytest.raises(InputError, match=r"1 distance\(s\) of query 1 are NaN"):
        evaluate([[0, 0, 0], [0, np.nan, 0]], [1, 1], [1, 1, 1])
    with pytest.raises(InputError, match=r"gallery ids have shape \(2,\), expected \(3,\)"):
        evaluate(dist, [1, 2], [1, 2])
    with pytest.raises(InputError, match=r"query ids must be whole numbers, got float64 with .*1\.5"):
        evaluate(dist, [1.5, 2], [1, 2, 3])
    with pytest.raises(InputError, match="query ids are missing"):
        evaluate(dist, None, [1, 2, 3])
    with pytest.raises(InputError, match=r"distances have shape \(3,\)"):
        evaluate(dist[0], [1], [1, 2, 3])
    with pytest.raises(ConfigError, match="cameras are given for one of query and gallery only"):
        evaluate(dist, [1, 2], [1, 2, 3], [1, 1])
    with pytest.raises(ConfigError, match="max_rank=0"):
        evaluate(dist, [1, 2], [1, 2, 3], max_rank=0)
    with pytest.raises(ConfigError, match="ap='area': expected at least 1, and rectangle or trapezoid"):
        evaluate(dist, [1, 2], [1, 2, 3], ap="area")  # type: ignore[arg-type]
