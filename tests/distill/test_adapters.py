"""Adapters: identity where channels agree, standardisation, and children that no copy of the student has."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

from kd_yolo.distill.adapters import TrainingOnly, build_adapter, standardize
from kd_yolo.distill.taps import Tap, TapPair


def pair(own: int, other: int) -> TapPair:
    return TapPair(Tap(1, 8, own), Tap(2, 8, other))


def test_auto_is_identity_where_channels_agree() -> None:
    assert isinstance(build_adapter("auto", pair(8, 8)), nn.Identity)
    assert isinstance(build_adapter("conv1x1", pair(8, 8)), nn.Conv2d)


@pytest.mark.parametrize("kind", ["auto", "conv1x1"])
def test_1x1_convolution(kind: str) -> None:
    adapter = build_adapter(kind, pair(8, 16))
    assert isinstance(adapter, nn.Conv2d)
    assert (adapter.kernel_size, adapter.padding) == ((1, 1), (0, 0))
    assert adapter(torch.rand(2, 8, 5, 7)).shape == (2, 16, 5, 7)


def test_mlp_is_the_shipped_projector() -> None:
    first, relu, second = build_adapter("mlp", pair(8, 16))  # type: ignore[misc]
    assert (first.in_channels, first.out_channels, first.kernel_size) == (8, 16, (1, 1))
    assert isinstance(relu, nn.ReLU)
    assert (second.in_channels, second.out_channels, second.kernel_size) == (16, 16, (1, 1))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_standardize_by_a_naive_loop(layout: torch.memory_format) -> None:
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64).mul(7).add(2).to(memory_format=layout)
    out = standardize(x)
    assert out.dtype == torch.float64
    for c in range(4):
        values = x[:, c].flatten()
        mean = values.sum() / values.numel()
        var = ((values - mean) ** 2).sum() / values.numel()
        assert torch.allclose(out[:, c].flatten(), (values - mean) / (var + 1e-6).sqrt(), rtol=1e-9)


def test_standardize_ignores_scale_and_offset_and_survives_dead_channels() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(standardize(x * 50 + 9), standardize(x), atol=1e-4)
    assert torch.equal(standardize(torch.full((2, 3, 4, 4), 5.0)), torch.zeros(2, 3, 4, 4))


def test_standardize_of_half_precision_is_float32() -> None:
    x = torch.randn(2, 3, 8, 8).to(torch.bfloat16)
    assert standardize(x).dtype == torch.float32
    assert torch.equal(standardize(x), standardize(x.float()))


def test_copies_and_pickles_are_none() -> None:
    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    terms = TrainingOnly({"kd_cwd": nn.Conv2d(1, 1, 1)})
    student = Student()
    student.kd_adapters = terms
    assert {name for name, _ in student.named_parameters()} == {
        "weight", "kd_adapters.kd_cwd.weight", "kd_adapters.kd_cwd.bias",
    }  # fmt: skip
    assert set(dict(deepcopy(student).named_parameters())) == {"weight"}
    assert pickle.loads(pickle.dumps(terms)) is None
