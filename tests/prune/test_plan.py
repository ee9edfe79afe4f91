"""Widths: shares, blocks, minimum, ties, ranking across layers, plan files."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune.graph import ChannelGroup
from kd_yolo.prune.plan import (
    MAX_SHARE,
    Plan,
    Rules,
    best_channels,
    rank_globally,
    require_minimum,
    uniform_widths,
    units_of,
    whole_units,
    widths_from_plan,
    widths_of,
    widths_on_the_way,
)

GROUPS = (
    ChannelGroup("a", 16, ("a",), None),
    ChannelGroup("b[a]", 64, ("b[a]",), "b[b]"),
    ChannelGroup("b[b]", 64, ("b[b]", "c"), None),
    ChannelGroup("d", 80, ("d",), None),
    ChannelGroup("e", 8, ("e",), None),
)
UNITS = units_of(GROUPS)


def ramp(**starts: float) -> dict[str, Tensor]:
    """Scores that rise by 1 within each group, in shuffled order, from a start of its own."""
    order = torch.Generator().manual_seed(0)
    return {g.name: starts.get(g.name[0], 0.0) + torch.randperm(g.width, generator=order).float() for g in GROUPS}


def test_halves_of_a_conv_are_one_unit() -> None:
    assert [unit.names for unit in UNITS] == [("a",), ("b[a]", "b[b]"), ("d",), ("e",)]
    assert widths_of(GROUPS) == {"a": 16, "b[a]": 64, "b[b]": 64, "d": 80, "e": 8}


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (0.0, [16, 64, 64, 80, 8]),
        (0.2, [16, 48, 48, 64, 8]),  # 12.8, 51.2 and 64: the nearest multiples of 8, not those below
        (0.5, [8, 32, 32, 40, 8]),
        (0.75, [8, 16, 16, 24, 8]),  # 4 is half a block: up; 20 as well
        (0.99, [8, 8, 8, 8, 8]),
    ],
)
def test_every_layer_loses_the_same_share(factor: float, expected: list[int]) -> None:
    assert list(uniform_widths(UNITS, factor, Rules()).values()) == expected


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([1, 2, 4, 8, 16, 32]), st.integers(1, 40), st.floats(0, 1))
def test_widths_obey_the_rules(width: int, factor: float, round_to: int, least: int, progress: float) -> None:
    rules = Rules(round_to, least)
    [unit] = units_of([ChannelGroup("a", width, ("a",), None)])
    left = uniform_widths([unit], factor, rules)["a"]
    assert 1 <= left <= width
    assert left == width or left % round_to == 0
    assert left >= min(width, least)
    wanted = width * (1 - factor)
    if rules.least < wanted <= width // round_to * round_to:
        assert abs(left - wanted) <= round_to / 2
    between = widths_on_the_way({"a": width}, {"a": left}, progress, rules)["a"]
    assert left <= between <= width


def test_a_factor_under_the_minimum_names_the_layer_and_the_largest_that_works() -> None:
    rules = Rules()
    require_minimum(UNITS, 0.75, rules)
    with pytest.raises(ConfigError) as error:
        require_minimum(UNITS, 0.8, rules)
    assert "factor 0.8 would leave a 3.2 of its 16 channels, fewer than the minimum of 8" in str(error.value)
    assert "largest factor that works is 0.75" in str(error.value)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5), st.sampled_from([1, 4, 8]), st.integers(1, 24))
def test_the_largest_factor_works_and_is_the_largest(widths: list[int], round_to: int, least: int) -> None:
    rules = Rules(round_to, least)
    units = units_of([ChannelGroup(str(i), width, (), None) for i, width in enumerate(widths)])
    try:
        require_minimum(units, 0.9999, rules)
        return
    except ConfigError as error:
        largest = float(str(error).partition("that works is ")[2].partition(";")[0])
    require_minimum(units, largest, rules)
    with pytest.raises(ConfigError):
        require_minimum(units, largest + 0.002, rules)


def test_a_global_ranking_takes_the_worst_channels_wherever_they_are() -> None:
    scores = ramp(a=1000, b=0, d=1000, e=1000)  # all of b is worse than anything else
    widths = rank_globally(UNITS, scores, 64 / 232, Rules(1, 1))
    assert widths == {"a": 16, "b[a]": 32, "b[b]": 32, "d": 80, "e": 8}


def test_a_global_ranking_leaves_a_tenth_of_every_layer() -> None:
    widths = rank_globally(UNITS, ramp(a=1000, b=0, d=1000, e=1000), 0.7, Rules(1, 1))
    assert widths["b[a]"] == widths["b[b]"] == math.floor((1 - MAX_SHARE) * 64 + 0.5)


def test_halves_get_the_mean_of_what_each_would_keep() -> None:
    scores = {**ramp(a=1000, d=1000, e=1000), "b[a]": torch.arange(64.0), "b[b]": torch.arange(64.0) + 500}
    assert rank_globally(UNITS, scores, 32 / 232, Rules(1, 1))["b[a]"] == 48  # one would keep 32, the other 64


def test_equal_scores_are_taken_from_all_layers_alike() -> None:
    """Gammas that sparse training made exactly zero: no more of them go than asked for, and not one layer's only."""
    scores = {g.name: (torch.arange(g.width) >= g.width // 2).float() for g in GROUPS}
    widths = rank_globally(UNITS, scores, 0.25, Rules(1, 1))
    assert widths == {"a": 12, "b[a]": 48, "b[b]": 48, "d": 60, "e": 6}


def test_each_half_keeps_its_own_best_channels() -> None:
    scores = {"x": torch.tensor([3.0, 1.0, 2.0, 5.0]), "y": torch.tensor([0.0, 9.0, 9.0, 1.0])}
    assert best_channels(scores, {"x": 2, "y": 2}) == {"x": [0, 3], "y": [1, 2]}
    assert best_channels({"z": torch.zeros(3)}, {"z": 2}) == {"z": [0, 1]}


def test_steps_end_at_the_plan() -> None:
    before, after = widths_of(GROUPS), uniform_widths(UNITS, 0.5, Rules())
    assert widths_on_the_way(before, after, 1.0, Rules()) == after
    assert widths_on_the_way(before, after, 0.5, Rules()) == {"a": 16 - 4 + 4, "b[a]": 48, "b[b]": 48, "d": 64, "e": 8}


def test_a_plan_file_is_checked_against_the_network() -> None:
    assert widths_from_plan(GROUPS, {}, {"b[b]": 24, "d": 8}, "p.yaml") == {
        "a": 16,
        "b[a]": 24,
        "b[b]": 24,
        "d": 8,
        "e": 8,
    }
    wanted = {"b[a]": 24, "b[b]": 32, "d": 96, "dd": 8, "head": 4}
    with pytest.raises(ConfigError) as error:
        widths_from_plan(GROUPS, {"head": "head output"}, wanted, "p.yaml")
    for part in (
        "p.yaml: 4 problem(s)",
        "d has 80 channels, the plan wants 96",
        "Did you mean 'd'?",
        "'head' is no group of channels that can be cut. Its width stays: head output.",
        "halves of one conv need equal widths: b[a]: 24, b[b]: 32",
    ):
        assert part in str(error.value)


def test_reasons_for_what_stays_whole() -> None:
    reasons = whole_units(UNITS, uniform_widths(UNITS, 0.2, Rules()), Rules())
    assert reasons == {"a": "under half a block of 8", "e": "as narrow as the minimum (8)"}


def test_a_plan_counts_what_it_removes() -> None:
    assert Plan({"a": 10, "b": 30}, {"a": 10, "b": 20}, {}, {}).removed_share == pytest.approx(0.25)
