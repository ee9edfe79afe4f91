"""Gammas by the channels that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune.sparse.gammas import GammaRange, find_gammas
from tests.training.networks import same_weights


def norms(model: nn.Module) -> dict[str, int]:
    return {name: m.num_features for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


@pytest.mark.parametrize(
    ("yaml", "fixed"),
    [
        ("yolov8n.yaml", ()),
        ("yolov8n-seg.yaml", ("proto.cv3",)),
        ("yolo11n.yaml", ("attn", "model.10.cv", "ffn")),
        ("yolov8n-cls.yaml", ()),
    ],
)
def test_every_gamma_behind_channels_that_can_go_is_there_once(
    build: Callable[..., Any], yaml: str, fixed: tuple[str, ...]
) -> None:
    model = build(yaml, pruned=True).train()
    before = deepcopy(model.state_dict())
    groups = find_gammas(model, None)
    assert same_weights(before, model.state_dict())  # statistics included
    seen: dict[str, set[int]] = {}
    for part in (part for group in groups for part in group):
        channels = set(range(part.start, part.stop))
        assert not channels & seen.setdefault(part.norm, set())
        seen[part.norm] |= channels
    everything = norms(model)
    left_out = {name for name in everything if len(seen.get(name, ())) < everything[name]}
    assert all(any(text in name for text in fixed) for name in left_out), left_out
    assert bool(left_out) is bool(fixed)


def test_channels_that_are_added_go_together(build: Callable[..., Any]) -> None:
    """A bottleneck adds its output to the second half of the conv before it."""
    groups = find_gammas(build(), None)
    assert (GammaRange("model.2.cv1.bn", 16, 32), GammaRange("model.2.m.0.cv2.bn", 0, 16)) in groups
    assert (GammaRange("model.2.cv1.bn", 0, 16),) in groups
    assert (GammaRange("model.2.m.0.cv1.bn", 0, 16),) in groups


def test_a_range_reads_and_writes_the_model(build: Callable[..., Any]) -> None:
    model = build()
    GammaRange("model.2.cv1.bn", 16, 32).of(model).fill_(7)
    assert model.model[2].cv1.bn.weight.tolist() == [1.0] * 16 + [7.0] * 16


def test_groups_with_a_frozen_layer_are_left_out(build: Callable[..., Any]) -> None:
    model = build()
    model.model[2].m[0].cv2.bn.weight.requires_grad_(False)
    found = {part for group in find_gammas(model, None) for part in group}
    assert GammaRange("model.2.cv1.bn", 16, 32) not in found
    assert GammaRange("model.2.cv1.bn", 0, 16) in found
    with pytest.raises(ConfigError, match="no BatchNorm layer to work on"):
        find_gammas(model.requires_grad_(False), None)


def test_named_layers(build: Callable[..., Any]) -> None:
    assert find_gammas(build(), ["model.2.cv1.bn"]) == ((GammaRange("model.2.cv1.bn", 0, 32),),)
    with pytest.raises(ConfigError, match=r"no BatchNorm layer 'model.2.cv1.conv'.*'model.2.cv1.bn'"):
        find_gammas(build(), ["model.2.cv1.conv"])


def test_a_conv_that_doubles_its_channels(build: Callable[..., Any]) -> None:
    """GhostConv: a layer of twice the width has no channel for each of the group's."""
    model = build("yolov8n-ghost.yaml")
    groups = find_gammas(model, None)
    assert all(len({part.stop - part.start for part in group}) == 1 for group in groups)
    assert all(torch.equal(part.of(model), torch.ones(part.stop - part.start)) for group in groups for part in group)
