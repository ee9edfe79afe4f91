"""Pruning of ReID networks: the same share of channels out of every layer; embeddings keep their length."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.export import EmbeddingGraph
from kd_yolo.reid.model.backbones import residual_stages
from kd_yolo.reid.model.backbones.ibn import IBN
from kd_yolo.reid.model.network import ReIDModel

ROUND_TO = 8


@dataclass(frozen=True)
class Pruned:
    """A pruned network and what it saves.

    Attributes:
        model: the network, in eval mode.
        parameters: of the part that is deployed, before and after.
        gmacs: billions of multiply-adds of a crop, before and after.
    """

    model: ReIDModel
    parameters: tuple[int, int]
    gmacs: tuple[float, float]


def prune(model: ReIDModel, factor: float, *, round_to: int = ROUND_TO) -> Pruned:
    """Removes the channels with the smallest L2 norms of their groups.

    The output channels of the last stage stay, so that embedding, classifier and local branch keep their size.

    Args:
        model: a ResNet; not touched.
        factor: share of the prunable channels that is REMOVED, as for detectors.
        round_to: widths are multiples of this.

    Raises:
        ConfigError: a factor that is no share, or a backbone that is no ResNet.

    References:
        Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv 2301.12900.
    """
    if not 0 < factor < 1:
        raise ConfigError(f"factor is {factor:g}, expected a share between 0 and 1: --factor 0.2 removes a fifth.")
    stages = residual_stages(model.backbone)
    graph = EmbeddingGraph(copy.deepcopy(model).cpu())
    head, graph.model.head = graph.model.head, None  # torch-pruning would take its bare weights for part of the network
    crop_nchw = torch.rand(1, 3, model.config.height, model.config.width)
    before = _cost(graph, crop_nchw)
    last = graph.model.backbone.get_submodule(list(stages)[-1])
    whole: list[nn.Module] = [convolution for block in last.children() for convolution in _outputs(block)]
    _swap(graph, IBN, _StandIn)
    pruner = tp.pruner.BasePruner(
        graph, crop_nchw, importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=factor,
        round_to=round_to, ignored_layers=whole, root_module_types=[nn.Conv2d],
    )  # fmt: skip
    pruner.step()
    _swap(graph, _StandIn, _StandIn.pruned)
    graph.model.head = head
    after = _cost(graph, crop_nchw)
    return Pruned(graph.model, (before[0], after[0]), (before[1], after[1]))


class _StandIn(nn.BatchNorm2d):
    """Takes the place of an IBN while torch-pruning works, which does not follow the split inside.

    Its running mean counts the channels, so that it tells afterwards which of them are left.
    """

    def __init__(self, norm: IBN) -> None:
        super().__init__(norm.IN.num_features + norm.BN.num_features)
        self.norm = norm
        self.weight.data = torch.cat([norm.IN.weight, norm.BN.weight]).detach().clone()
        self.running_mean = torch.arange(self.num_features).float()

    def pruned(self) -> IBN:
        """The IBN with the channels that are left."""
        assert self.running_mean is not None
        left, half = self.running_mean.long().tolist(), self.norm.IN.num_features
        gone = sorted(set(range(half + self.norm.BN.num_features)) - set(left))
        tp.prune_instancenorm_out_channels(self.norm.IN, [index for index in gone if index < half])
        tp.prune_batchnorm_out_channels(self.norm.BN, [index - half for index in gone if index >= half])
        return self.norm


def _swap(model: nn.Module, kind: type[nn.Module], other: Callable[[Any], nn.Module]) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, kind):
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, other(module))


def _cost(graph: EmbeddingGraph, crop_nchw: Tensor) -> tuple[int, float]:
    """Parameters of what gives the embedding, and billions of multiply-adds of a crop."""
    parts = (graph.model.backbone, graph.model.neck)
    count = sum(parameter.numel() for part in parts for parameter in part.parameters())
    return count, float(tp.utils.count_ops_and_params(graph, crop_nchw)[0]) / 1e9


def _outputs(block: Any) -> list[nn.Module]:
    """The convolutions of a block that write into the sum at its end."""
    found: list[nn.Module] = [block.conv3 if hasattr(block, "conv3") else block.conv2]
    if block.downsample is not None:
        found += [module for module in block.downsample.modules() if isinstance(module, nn.Conv2d)]
    return found
