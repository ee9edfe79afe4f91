"""BatchNorm statistics: exactly those of the images, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_yolo.base.errors import InputError
from kd_yolo.prune.recover import recalibrate
from kd_yolo.yolo.prunable import head_maps


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.drop = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.unused = nn.BatchNorm2d(2)
        self.after = nn.BatchNorm2d(4)

    def forward(self, x_nchw: Tensor) -> Tensor:
        out: Tensor = self.after(self.drop(self.bn(self.conv(x_nchw))))
        return out


def run(model: Any, x_nchw: Tensor) -> Tensor:
    out: Tensor = model(x_nchw)
    return out


@pytest.fixture
def model() -> Tiny:
    torch.manual_seed(0)
    model = Tiny().double().train()
    for norm in (model.bn, model.unused, model.after):
        nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
        norm.momentum = 0.03
        norm.num_batches_tracked.fill_(70)  # type: ignore[union-attr]
    return model


@pytest.fixture
def images() -> list[Tensor]:
    return list(torch.rand(5, 4, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))


def test_statistics_are_the_plain_average_over_batches(model: Tiny, images: list[Tensor]) -> None:
    assert recalibrate(model, images, run) == 5
    maps = [model.conv(x).detach() for x in images]
    means = torch.stack([x.mean((0, 2, 3)) for x in maps]).mean(0)
    variances = torch.stack([x.var((0, 2, 3), unbiased=True) for x in maps]).mean(0)
    torch.testing.assert_close(model.bn.running_mean, means, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.bn.running_var, variances, rtol=1e-12, atol=1e-12)


def test_dropout_is_off_meanwhile(model: Tiny, images: list[Tensor]) -> None:
    recalibrate(model, images, run)
    # after an affine-free BatchNorm in train mode: mean 0, variance 1, unless dropout scaled half of it
    torch.testing.assert_close(model.after.running_mean, torch.zeros(4).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(model.after.running_var, torch.ones(4).double(), rtol=0.02, atol=0)


def test_nothing_else_changes(model: Tiny, images: list[Tensor]) -> None:
    model.drop.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    recalibrate(model, images, run)
    assert [module.training for module in model.modules()] == modes
    assert model.bn.momentum == 0.03
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"{norm}.{what}" for norm in ("bn", "after") for what in
                       ("running_mean", "running_var", "num_batches_tracked")}  # fmt: skip
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_images_is_an_error_and_changes_nothing(model: Tiny) -> None:
    mean = model.bn.running_mean.clone()  # type: ignore[union-attr]
    with pytest.raises(InputError, match="no images"):
        recalibrate(model, [], run)
    torch.testing.assert_close(model.bn.running_mean, mean)


def test_damaged_weights_are_named(model: Tiny, images: list[Tensor]) -> None:
    with torch.no_grad():
        model.conv.weight[0] = float("nan")
    with pytest.raises(InputError, match=r"bn\.running_mean is not finite"):
        recalibrate(model, images, run)


def test_training_only_branches_are_estimated_too(network: Any) -> None:
    """YOLOv10's one-to-many branch: a forward pass of the whole model could leave it out."""
    model = network("yolov10n")
    image = torch.rand(2, 3, 64, 64)
    recalibrate(model, [image], head_maps)
    fresh = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and not _ran(module)]
    assert fresh == []


def _ran(norm: nn.BatchNorm2d) -> bool:
    return int(norm.num_batches_tracked or 0) == 1
