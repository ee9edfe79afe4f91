"""The search for a target, on a network that is only numbers."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.prune import Target, parse_target
from kd_yolo.prune.graph import ChannelGroup
from kd_yolo.prune.plan import Rules, Widths, uniform_widths, units_of, widths_of
from kd_yolo.prune.target import blocks_between, search

GROUPS = (
    ChannelGroup("in", 64, ("in",), None),
    ChannelGroup("a", 128, ("a",), "b"),
    ChannelGroup("b", 128, ("b",), None),
    ChannelGroup("out", 64, ("out",), None),
)
UNITS, RULES = units_of(GROUPS), Rules()
SCORES = {g.name: torch.arange(1.0, g.width + 1) / g.width for g in GROUPS}
SCORES["out"] = SCORES["out"] / 100  # what matters least


def parameters(widths: Widths) -> float:
    """Of three layers in a row, in thousands."""
    return (widths["in"] + widths["out"]) * (widths["a"] + widths["b"]) / 1e3


def found(target: Target, calls: list[Widths] | None = None) -> tuple[Widths, float]:
    def measure(widths: Widths) -> float:
        if calls is not None:
            calls.append(widths)
        return parameters(widths)

    blocks = partial(blocks_between, UNITS, SCORES, RULES)
    result = search(target, lambda factor: uniform_widths(UNITS, factor, RULES), measure, blocks)
    assert result.whole == parameters(widths_of(GROUPS))
    assert result.value == parameters(result.widths)
    return result.widths, result.value / result.whole


@pytest.mark.parametrize("share", [0.95, 0.8, 0.64, 0.5, 0.31, 0.1, 0.05])
def test_meets_the_target_within_one_block(share: float) -> None:
    widths, reached = found(Target("params", share, is_share=True))
    assert reached <= share
    assert widths["a"] == widths["b"]
    wider = [
        {**widths, **dict.fromkeys(unit.names, widths[unit.name] + 8)}
        for unit in UNITS
        if widths[unit.name] < unit.width
    ]
    whole = parameters(widths_of(GROUPS))
    assert any(parameters(candidate) / whole > share for candidate in wider)  # some block less, and it is not met


def test_absolute_targets() -> None:
    value = parameters(found(parse_target("params", 12))[0])
    assert 10.5 < value <= 12


def test_the_least_important_blocks_go_first() -> None:
    whole, half = widths_of(GROUPS), uniform_widths(UNITS, 0.5, RULES)
    target = Target("params", parameters({**whole, "out": 40}) / parameters(whole), is_share=True)
    blocks = partial(blocks_between, UNITS, SCORES, RULES)
    assert search(target, lambda factor: whole if factor < 0.4 else half, parameters, blocks).widths == {
        "in": 64, "a": 128, "b": 128, "out": 40,
    }  # fmt: skip


def test_few_measurements() -> None:
    calls: list[Widths] = []
    found(Target("params", 0.5, is_share=True), calls)
    assert len(calls) <= 20


def test_blocks_lead_from_one_plan_to_the_other() -> None:
    wide, narrow = widths_of(GROUPS), uniform_widths(UNITS, 0.5, RULES)
    blocks = blocks_between(UNITS, SCORES, RULES, wide, narrow)
    assert [block.score for block in blocks] == sorted(block.score for block in blocks)
    widths = dict(wide)
    for block in blocks:
        assert widths[block.unit.name] - block.width == 8
        widths |= dict.fromkeys(block.unit.names, block.width)
    assert widths == narrow
    assert blocks[0].unit.name == "out"
    assert blocks[0].score == pytest.approx(float(SCORES["out"][:8].mean()))


def test_odd_widths_end_at_a_multiple() -> None:
    [unit] = units_of([ChannelGroup("x", 20, ("x",), None)])
    blocks = blocks_between([unit], {"x": torch.arange(20.0)}, RULES, {"x": 20}, {"x": 8})
    assert [(block.width, block.score) for block in blocks] == [(16, 1.5), (8, 7.5)]


def test_a_target_that_cannot_be_met_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as error:
        found(Target("params", 0.001, is_share=True))
    message = str(error.value)
    assert "--target-params 0.001 of the unpruned network's cannot be met" in message
    nearest = float(message.partition("--target-params ")[2].partition("--target-params ")[2].split(" ")[0].rstrip("."))
    assert nearest < 0.05
    assert found(Target("params", nearest, is_share=True))[1] <= nearest


def test_a_target_that_is_met_already_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"--target-params 40 M parameters: the network has 32\.77 M .* nothing to prune"
    ):
        found(parse_target("params", "40M"))
