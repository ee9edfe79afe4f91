"""Maps before the ReLU: read before it works in place, with their gradient, and the hooks are gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.overhaul import StageDistances
from kd_yolo.reid.model.backbones import last_norms, random_backbone
from kd_yolo.reid.model.pre_relu import pre_relu_features

IMAGE = torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["resnet18", "resnet18_ibn_a", "resnet50", "timm:resnet10t"])
def test_negatives_exist_and_the_relu_of_it_is_the_stage_map(name: str) -> None:
    torch.manual_seed(0)
    backbone = random_backbone(name, last_stride=1, size_hw=(64, 32)).eval()
    for norm in last_norms(backbone).values():
        nn.init.normal_(norm.weight)
    with torch.no_grad(), pre_relu_features(backbone) as seen:
        maps = backbone(IMAGE)
        assert list(seen) == list(maps)
        for stage, map_nchw in maps.items():
            assert (seen[stage] < 0).any(), stage
            assert torch.equal(seen[stage].relu(), map_nchw), stage
        first = dict(seen)
        backbone(IMAGE.flip(0))
        assert torch.equal(seen["layer4"], first["layer4"].flip(0)) or torch.allclose(
            seen["layer4"], first["layer4"].flip(0), atol=1e-4
        )


def test_reading_changes_nothing_and_leaves_no_hook() -> None:
    backbone = random_backbone("resnet18", last_stride=1, size_hw=(64, 32)).eval()
    before = backbone(IMAGE)["layer4"]
    with pre_relu_features(backbone, ["layer4"]) as seen:
        assert torch.equal(backbone(IMAGE)["layer4"], before)
    assert list(seen) == ["layer4"]
    with pytest.raises(RuntimeError), pre_relu_features(backbone):
        backbone(IMAGE[:, :1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_gradient_of_overhaul_reaches_the_student_only() -> None:
    student, teacher = (random_backbone("resnet18", last_stride=1, size_hw=(64, 32)) for _ in range(2))
    teacher.eval()
    loss = StageDistances(student.channels, last_norms(teacher))
    with pre_relu_features(student) as of_student, pre_relu_features(teacher) as of_teacher:
        student(IMAGE)
        teacher(IMAGE)
        loss(of_student, of_teacher).backward()
    wanted = [name for name, p in student.named_parameters() if p.grad is None]
    assert wanted == []
    assert all(p.grad is None for p in teacher.parameters())


def test_a_stage_without_negatives_is_an_internal_error() -> None:
    backbone = random_backbone("resnet18", last_stride=1, size_hw=(64, 32)).eval()
    nn.init.constant_(backbone.layer1[-1].bn2.bias, 1e6)
    with pre_relu_features(backbone), pytest.raises(AssertionError, match="map of layer1 before its ReLU has no neg"):
        backbone(IMAGE)


def test_zero_gammas_of_timm_are_no_error() -> None:
    backbone = random_backbone("timm:resnet10t", last_stride=1, size_hw=(64, 32)).eval()
    assert all((norm.weight == 0).all() for norm in last_norms(backbone).values())
    with pre_relu_features(backbone) as seen:
        backbone(IMAGE)
    assert len(seen) == 4


def test_errors() -> None:
    backbone = random_backbone("resnet18", last_stride=1, size_hw=(64, 32))
    with (
        pytest.raises(ConfigError, match=r"no stage 'layr4'. Did you mean 'layer4'"),
        pre_relu_features(backbone, ["layr4"]),
    ):
        pass
    mobile = random_backbone("mobilenetv3_small_050", last_stride=2, size_hw=(64, 32))
    with pytest.raises(ConfigError, match="do not end in BatchNorm, sum and ReLU"), pre_relu_features(mobile):
        pass
