"""The network that is pruned: one trace for each of its states, and no state changes another."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import KDYoloError
from kd_yolo.config.prune import PruneSettings
from kd_yolo.prune import network as networks
from kd_yolo.prune.network import Network
from tests.prune.test_job import data, prune, settings, weights

__all__ = ["data", "settings", "weights"]  # fixtures

Settings = Callable[..., PruneSettings]


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parameters of each network that is traced, in order."""
    seen: list[int] = []
    original = networks.ChannelGraph

    def trace(model: Any, *arguments: Any) -> Any:
        seen.append(sum(parameter.numel() for parameter in model.parameters()))
        return original(model, *arguments)

    monkeypatch.setattr(networks, "ChannelGraph", trace)
    return seen


def test_a_search_traces_the_whole_network_and_the_pruned_one(
    settings: Settings, traces: list[int], tmp_path: Path
) -> None:
    result = prune(settings(target_params=0.6, round_to=2, min_channels=2), tmp_path)
    assert traces == [result.before.parameters, result.after.parameters]


def test_each_step_is_traced_once(settings: Settings, data: str, traces: list[int], tmp_path: Path) -> None:
    prune(settings(factor=0.5, iterative=3, data=data), tmp_path)
    assert len(traces) == 4
    assert traces == sorted(set(traces), reverse=True)


def test_a_cut_leaves_the_network_as_it_was(settings: Settings) -> None:
    whole = Network.load(settings())
    whole.rank()
    before, state = whole.widths, deepcopy(whole.model.state_dict())
    narrow, narrower = (whole.cut({**before, "model.1.conv": width}) for width in (16, 8))
    for cut, width in ((narrow, 16), (narrower, 8)):
        assert cut.widths == {**before, "model.1.conv": width}
        best = whole.scores["model.1.conv"].argsort(descending=True, stable=True)[:width].sort().values
        assert torch.equal(cut.model.model[1].bn.weight, state["model.1.bn.weight"][best])
        assert not cut.scores
    assert whole.widths == before
    assert all(torch.equal(value, state[key]) for key, value in whole.model.state_dict().items())
    with pytest.raises(KDYoloError, match=r"no longer has the widths of its plan: model\.1\.conv: 8, not 16"):
        narrower.require_widths(narrow.widths)


def test_a_graph_that_is_open_already_gets_the_gradients(settings: Settings, data: str) -> None:
    first, second = Network.load(settings(data=data)), Network.load(settings(data=data))
    assert second.graph.groups == first.graph.groups
    del first.__dict__["graph"]
    first.rank()
    second.rank()
    assert first.scores.keys() == second.scores.keys()
    assert all(torch.equal(first.scores[name], second.scores[name]) for name in first.scores)
    assert any(score.any() for score in first.scores.values())
