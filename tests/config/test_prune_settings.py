"""Settings of a pruning: defaults, targets, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.prune import PlanFile, PruneSettings, parse_target


def settings(**values: Any) -> PruneSettings:
    return PruneSettings.parse({"model": "m.pt", **values}, "prune.py")


def test_defaults_depend_on_the_data() -> None:
    without, data = settings(), settings(data="d.yaml")
    assert (without.share, without.criterion, without.recalibrates) == (0.2, "l2", False)
    assert (data.share, data.criterion, data.recalibrates) == (0.2, "taylor", True)
    assert settings(data="d.yaml", recalibrate=False).recalibrates is False
    assert settings(data="d.yaml", importance="l2").criterion == "l2"


def test_lamp_ranks_all_layers_together() -> None:
    assert settings(importance="lamp").ranks_globally
    assert not settings(importance="l2").ranks_globally
    assert settings(importance="l2", global_ranking=True).ranks_globally


@pytest.mark.parametrize(
    ("what", "text", "value", "is_share"),
    [
        ("flops", "0.5", 0.5, True),
        ("flops", 0.5, 0.5, True),
        ("flops", "4.1", 4.1, False),
        ("flops", "4.1G", 4.1, False),
        ("flops", "800M", 0.8, False),
        ("flops", "1", 1.0, False),
        ("params", "1.5M", 1.5, False),
        ("params", "0.8m", 0.8, False),
        ("params", "500k", 0.5, False),
        ("params", 2, 2.0, False),
        ("latency", "12ms", 12.0, False),
        ("latency", "0.7 ms", 0.7, False),
        ("latency", ".7", 0.7, True),
        ("latency", "0.1s", 100.0, False),
    ],
)
def test_targets(what: Any, text: Any, value: float, is_share: bool) -> None:
    target = parse_target(what, text)
    assert target.value == pytest.approx(value)
    assert target.is_share is is_share
    assert target.limit(10.0) == pytest.approx(10 * value if is_share else value)


@pytest.mark.parametrize("text", ["half", "-0.5", "0", "0.5x", "50%", "", "1.2.3", "12ms"])
def test_other_targets_are_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"target_flops is .*, expected a share .* GFLOPs, or one with a unit \(M, G, T\)"
    ):
        settings(target_flops=text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factor": 0}, "factor is 0, expected a share between 0 and 1: the share of the channels that is removed"),
        ({"factor": 1}, "factor is 1, expected"),
        ({"factor": -0.2}, "factor is -0.2"),
        ({"factor": 20}, "factor is 20"),
        ({"factor": 0.2, "target_params": 0.5}, "factor=0.2, target_params=0.5: each says how much is pruned"),
        ({"target_flops": 0.5, "plan": "p.yaml"}, "Give one of them"),
        ({"importance": "taylor"}, "importance=taylor needs labelled images: add data="),
        ({"importance": "hessian"}, "importance"),
        ({"recalibrate": True}, "recalibrate needs images"),
        ({"round_to": 0}, "round_to"),
        ({"iterative": 0}, "iterative"),
        ({"facter": 0.2}, "Did you mean 'factor'?"),
        ({"min_chanels": 4}, "Did you mean 'min_channels'?"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings(**values)
    assert message in str(error.value)


def test_a_device_may_be_a_number() -> None:
    assert settings(device=0).device == "cuda:0"


def test_a_plan_file_holds_positive_widths() -> None:
    assert PlanFile.parse({"widths": {"a": 8}}, "p.yaml").widths == {"a": 8}
    with pytest.raises(ConfigError, match="widths must be 1 or more: a: 0"):
        PlanFile.parse({"widths": {"a": 0, "b": 8}}, "p.yaml")
    with pytest.raises(ConfigError, match="unknown key 'width'"):
        PlanFile.parse({"width": {"a": 0}}, "p.yaml")
