"""Pruned ReID networks: narrower inside, the same embedding outside, and whole after save and load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig
from kd_yolo.reid.prune import prune


def build(backbone: str = "resnet18") -> ReIDModel:
    torch.manual_seed(0)
    return ReIDModel(NetworkConfig(backbone=backbone, num_identities=4, height=128, width=32, local=True)).eval()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet18_ibn_a", "resnet50"])
def test_a_pruned_network_is_smaller_and_trains(backbone: str) -> None:
    model = build(backbone)
    pruned = prune(model, 0.5)
    assert pruned.parameters[1] < 0.55 * pruned.parameters[0]
    assert pruned.gmacs[1] < 0.5 * pruned.gmacs[0]
    assert pruned.parameters[0] == sum(
        p.numel() for n, p in model.named_parameters() if not n.startswith(("head", "local"))
    )
    widths = [m.out_channels for m in pruned.model.backbone.modules() if isinstance(m, nn.Conv2d)]
    assert all(width % 8 == 0 for width in widths)
    assert pruned.model.dim == model.dim
    pruned.model.train()
    features = pruned.model.features(torch.rand(2, 3, 128, 32))
    pruned.model.logits(features, torch.tensor([0, 1])).sum().backward()
    assert features.local_nhd is not None


def test_the_original_is_not_touched() -> None:
    model = build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prune(model, 0.3)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.head is not None


@pytest.mark.parametrize("backbone", ["resnet18", "resnet18_ibn_a"])
def test_save_and_load(backbone: str, tmp_path: Path) -> None:
    pruned = prune(build(backbone), 0.4).model.eval()
    file = save_checkpoint(tmp_path / "pruned.pt", Checkpoint(pruned.config, pruned.state_dict(), [1, 2, 3, 4]))
    crops = torch.rand(2, 3, 128, 32)
    with torch.no_grad():
        assert torch.equal(ReIDModel.load(file)(crops), pruned(crops))


def test_silent_channels_go_first() -> None:
    """Channels whose weights are zero do nothing: without them the embedding is the same."""
    model = build()
    block = model.backbone.get_submodule("layer2.0")
    with torch.no_grad():
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()
        half = block.conv1.out_channels // 2
        block.conv1.weight[half:] *= 1e-6
        block.bn1.weight[half:] = 0
        block.bn1.bias[half:] = 0
    left = prune(model, 0.5).model.backbone.get_submodule("layer2.0")
    assert torch.equal(left.bn1.weight, block.bn1.weight[:half])


@pytest.mark.parametrize("factor", [0, 1, -0.2, 1.5])
def test_a_factor_is_a_share(factor: float) -> None:
    with pytest.raises(ConfigError, match=r"expected a share between 0 and 1: --factor 0.2 removes a fifth"):
        prune(build(), factor)


def test_other_networks_are_refused() -> None:
    model = ReIDModel(NetworkConfig(backbone="timm:mobilenetv3_small_050", num_identities=4, height=64, width=32))
    with pytest.raises(ConfigError, match="do not end in BatchNorm, sum and ReLU"):
        prune(model, 0.2)
