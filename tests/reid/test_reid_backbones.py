"""Backbones: names, stages, last stride, IBN-a, timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError, MissingDependencyError
from kd_yolo.reid.model.backbones import (
    Backbone,
    backbones,
    full_name,
    last_norms,
    random_backbone,
    timm_backbone,
)
from kd_yolo.reid.model.backbones.ibn import IBN
from kd_yolo.reid.model.backbones.resnet import RESNET_NAMES, ResNetBackbone
from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.train.start import network_of

IMAGE = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
SIZE = (64, 32)


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18", "timm:resnet10t", "timm:mobilenetv3_small_050"])
def test_last_stride_1_doubles_the_last_map_only(name: str) -> None:
    shapes = {}
    for stride in (1, 2):
        backbone = random_backbone(name, last_stride=stride, size_hw=SIZE).eval()
        maps = backbone(IMAGE)
        assert list(maps) == list(backbone.stages) == ["layer1", "layer2", "layer3", "layer4"]
        assert {stage: x.shape[1] for stage, x in maps.items()} == backbone.channels
        shapes[stride] = [tuple(x.shape[2:]) for x in maps.values()]
    assert shapes[2] == [(16, 8), (8, 4), (4, 2), (2, 1)]
    assert shapes[1] == [(16, 8), (8, 4), (4, 2), (4, 2)]


def test_stages_are_modules_whose_output_is_the_map() -> None:
    for name in ("resnet18", "timm:resnet10t", "timm:mobilenetv3_small_050"):
        backbone = random_backbone(name, last_stride=1, size_hw=SIZE).eval()
        seen: dict[str, torch.Tensor] = {}
        for stage, module in backbone.stages.items():
            module.register_forward_hook(lambda _, __, out, stage=stage, seen=seen: seen.update({stage: out}))
        maps = backbone(IMAGE)
        assert all(torch.equal(seen[stage], maps[stage]) for stage in maps)


def test_ibn_normalises_half_by_image_and_half_by_batch() -> None:
    layer = IBN(6)
    x = torch.randn(4, 6, 5, 3, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 5).view(4, 1, 1, 1)
    y = layer(x)
    by_image, by_batch = y[:, :3], y[:, 3:]
    assert torch.allclose(by_image.mean((2, 3)), torch.zeros(4, 3), atol=1e-5)
    assert torch.allclose(by_image.var((2, 3), unbiased=False), torch.ones(4, 3), atol=1e-3)
    assert torch.allclose(by_batch.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(by_batch.var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-3)
    assert (by_batch.var((2, 3), unbiased=False) - 1).abs().max() > 0.3
    layer.eval()
    assert torch.allclose(layer(x)[:, :3], by_image, atol=1e-6)
    assert torch.allclose(layer(x[:1])[:, :3], by_image[:1], atol=1e-6)


def test_ibn_is_the_first_norm_of_the_first_three_stages() -> None:
    backbone = ResNetBackbone("resnet18_ibn_a")
    places = {name for name, module in backbone.named_modules() if isinstance(module, IBN)}
    assert places == {f"layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)}
    assert isinstance(backbone.bn1, nn.BatchNorm2d)
    assert all(type(norm) is nn.BatchNorm2d for norm in last_norms(backbone).values())
    assert backbone(IMAGE)["layer4"].shape == (2, 512, 4, 2)


def test_bottlenecks_end_in_their_third_norm() -> None:
    backbone = ResNetBackbone("resnet50")
    assert backbone.channels == {"layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048}
    assert last_norms(backbone)["layer3"] is backbone.layer3[-1].bn3
    strides = [module.stride for module in backbone.layer4[0].modules() if isinstance(module, nn.Conv2d)]
    assert strides == [(1, 1)] * 4


@pytest.mark.parametrize("name", ["test_vit", "mixer_s32_224"])
def test_networks_with_a_fixed_grid_are_built_for_the_size(name: str) -> None:
    backbone = random_backbone(name, last_stride=1, size_hw=SIZE).eval()
    maps = backbone(IMAGE)
    assert list(maps) == ["layer2", "layer3", "layer4"]
    assert all(x.shape[1] == backbone.channels[stage] for stage, x in maps.items())


def test_channels_last_networks_give_channels_first_maps() -> None:
    backbone = random_backbone("swin_tiny_patch4_window7_224", last_stride=2, size_hw=SIZE)
    assert backbone.channels == {"layer1": 96, "layer2": 192, "layer3": 384, "layer4": 768}


def test_tokens_become_a_map_where_timm_gives_no_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm_backbone._create

    def without_stages(name: str, arguments: dict[str, object]) -> tuple[object, bool]:
        import timm

        assert create(name, arguments)[1]
        return timm.create_model(name, num_classes=0, **arguments), False

    monkeypatch.setattr(timm_backbone, "_create", without_stages)
    for name, shape in (("test_vit", (2, 64, 8, 1)), ("resnet10t", (2, 512, 2, 1))):
        backbone = random_backbone(name, last_stride=2, size_hw=SIZE)
        assert list(backbone.stages) == ["layer4"]
        assert {stage: tuple(x.shape) for stage, x in backbone.eval()(IMAGE).items()} == {"layer4": shape}


def test_names() -> None:
    assert [full_name(name) for name in RESNET_NAMES] == list(RESNET_NAMES)
    assert full_name("resnet10t") == full_name("timm:resnet10t") == "timm:resnet10t"
    assert full_name("timm:resnet18") == "timm:resnet18"
    for wrong, right in (
        ("resnet52", "resnet50"),
        ("resnet50_ibn", "resnet50_ibn_a"),
        ("mobilenetv3_smal_050", "mobilenetv3_small_050"),
        ("timm:mobilenetv3_smal_050", "timm:mobilenetv3_small_050"),
    ):
        with pytest.raises(ConfigError, match=f"unknown backbone '{wrong}'. Did you mean '{right}'"):
            full_name(wrong)


def test_without_timm_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingDependencyError, match=r"needs timm, .*: pip install 'kd-yolo\[reid\]'"):
        full_name("timm:resnet10t")
    assert full_name("resnet18") == "resnet18"


def test_errors() -> None:
    with pytest.raises(ConfigError, match="last_stride is 3, expected 1 or 2"):
        random_backbone("resnet18", last_stride=3, size_hw=SIZE)
    with pytest.raises(ConfigError, match=r"'timm:test_convnext' cannot be taken out .*: use network.last_stride=2"):
        random_backbone("test_convnext", last_stride=1, size_hw=SIZE)
    with pytest.raises(ConfigError, match=r"'timm:test_vit'.* 70x32|'timm:test_vit'.*\(70, 32\)"):
        random_backbone("test_vit", last_stride=2, size_hw=(70, 32))
    mobile = random_backbone("mobilenetv3_small_050", last_stride=2, size_hw=SIZE)
    with pytest.raises(ConfigError, match=r"do not end in BatchNorm, sum and ReLU.*distill.overhaul_weight=0"):
        last_norms(mobile)


def test_a_backbone_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its registration is all: settings, network and checkpoint know it by its name."""
    monkeypatch.setattr(backbones, "_classes", {**backbones._classes})

    @backbones.register("mine")
    class Mine(Backbone):
        def __init__(self, name: str, last_stride: int) -> None:
            super().__init__()
            self.name = name
            self.layer4 = nn.Conv2d(3, 6, 3, stride=8 * last_stride, padding=1)

        @property
        def stages(self) -> dict[str, nn.Module]:
            return {"layer4": self.layer4}

        @property
        def channels(self) -> dict[str, int]:
            return {"layer4": self.layer4.out_channels}

        def forward(self, x_nchw: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"layer4": self.layer4(x_nchw)}

    config = resolve_reid(None, {"backbone": "mine", "last_stride": 2, "height": 64, "width": 32})
    model = ReIDModel(network_of(config.network, 3), weights=config.network.pretrained).eval()
    assert model.weights_note == (
        "mine: random weights, which need longer training; ImageNet weights of 'mine' are not known: set"
        " network.pretrained=FILE or none."
    )
    assert model.backbone(IMAGE)["layer4"].shape == (2, 6, 4, 2)
    file = save_checkpoint(tmp_path / "mine.pt", Checkpoint(model.config, model.state_dict(), [1, 2, 3]))
    assert torch.equal(ReIDModel.load(file)(IMAGE), model(IMAGE))
    with pytest.raises(ConfigError, match=r"unknown backbone 'mien'. Did you mean 'mine'"):
        resolve_reid(None, {"backbone": "mien"})
