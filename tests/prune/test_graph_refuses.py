"""What cannot be pruned is refused by name, or stays; never cut wrongly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2fAttn, Conv, RepConv
from ultralytics.nn.modules.block import C2f

import kd_yolo.yolo.prunable.standins as standins
from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.prune.graph import ChannelGraph

WIDTH = 32


class Chunks(nn.Module):
    """A splitting block of somebody's own, which DepGraph would trip over."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(WIDTH, WIDTH), Conv(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat((b, a), 1))


class Slices(Chunks):
    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        return self.cv2(torch.cat((y[:, WIDTH // 2 :], y[:, : WIDTH // 2]), 1))


class Shuffles(Chunks):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return self.cv2(self.cv1(x).view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


class Averages(Chunks):
    """Spatial attention: one map for all channels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x) * x.mean(1, keepdim=True))


class Broadcasts(Chunks):
    def __init__(self) -> None:
        super().__init__()
        self.one = Conv(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x) * self.one(x))


class CatsRows(Chunks):
    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(torch.cat((self.cv1(x), x), 2))


class HiddenInFunction(Chunks):
    """An own autograd function is no hiding place."""

    class Swap(torch.autograd.Function):
        @staticmethod
        def forward(_ctx: Any, x: Tensor) -> Tensor:
            return x.flip(1)

        @staticmethod
        def backward(_ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return gradient.flip(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.Swap.apply(self.cv1(x)))


class MyC2f(C2f):
    """A subclass may do anything with the halves."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cv1(x).chunk(2, 1)
        return self.cv2(torch.cat((a, b, self.m[0](a + b)), 1))


class MyConv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flip(1)


class Attn(C2fAttn):
    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH, 1, ec=16, gc=16)
        self.register_buffer("guide", torch.ones(1, 2, 16))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, self.guide)  # type: ignore[arg-type]


class Twice(Chunks):
    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(self.cv1(x)))


class TrainingOnly(Chunks):
    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x)) if self.training else self.cv1(x)


REFUSED = [
    (Chunks, "chunk"), (Slices, "__getitem__"), (Shuffles, "view"), (Averages, "mean"), (Broadcasts, "mul"),
    (CatsRows, "cat"), (HiddenInFunction, "flip"), (lambda: MyC2f(WIDTH, WIDTH), "chunk"), (Attn, "chunk"),
    (lambda: MyConv2d(WIDTH, WIDTH, 1), "conv2d"), (lambda: nn.GroupNorm(4, WIDTH), "group_norm"),
    (lambda: nn.Softmax(1), "softmax"), (lambda: nn.Linear(16, 16), "linear"),
]  # fmt: skip


IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("block", "function"), REFUSED)
def test_a_block_that_is_not_known(network_with: Any, block: Callable[[], nn.Module], function: str) -> None:
    model = network_with(block())
    with pytest.raises(InputError, match=rf"model\.2.* calls '{function}'.*cannot be pruned"):
        ChannelGraph(model, IMAGE)


def test_a_conv_that_runs_twice(network_with: Any) -> None:
    with pytest.raises(InputError, match=r"model\.2\.cv1\.conv runs twice"):
        ChannelGraph(network_with(Twice()), IMAGE)


def test_a_branch_that_only_training_uses(network_with: Any) -> None:
    with pytest.raises(InputError, match=r"model\.2\.cv2\.conv does not run when the model predicts"):
        ChannelGraph(network_with(TrainingOnly()), IMAGE)


def test_grouped_convs_and_what_feeds_them_stay(network_with: Any) -> None:
    graph = ChannelGraph(network_with(Conv(WIDTH, WIDTH, 3, g=4)), IMAGE)
    assert graph.fixed["model.1.conv"] == graph.fixed["model.2.conv"] == "grouped conv"
    assert "model.3.conv" in {group.name for group in graph.groups}


def test_a_conv_of_one_channel_is_accounted_for(network_with: Any) -> None:
    graph = ChannelGraph(network_with(nn.Sequential(Conv(WIDTH, 1, 1), Conv(1, WIDTH, 1))), IMAGE)
    widths = {group.name: group.width for group in graph.groups}
    assert widths.get("model.2.0.conv") == 1
    assert "model.1.conv" in widths


class WidthAware(Chunks):
    """Nothing but known operations, and yet its result depends on how many channels come in."""

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x) * (1 / x.shape[1]))


class Table(Chunks):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.rand(1, WIDTH, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.cv2(self.cv1(x) * self.table)


class SigmoidConv(nn.Module):
    """A channel that is silent before the activation is a constant behind it: cutting it is something else."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1 = Conv(WIDTH, WIDTH, act=nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.cv1(x)


@pytest.mark.parametrize(
    ("block", "cut", "why"),
    [
        (WidthAware, "model.1.conv", "would not be the same"),
        (Table, "model.2.cv1.conv", "does not run"),
        (SigmoidConv, "model.2.cv1.conv", "would not be the same"),
    ],
)
def test_the_proof_stops_what_looked_harmless(
    network_with: Any, block: Callable[[], nn.Module], cut: str, why: str
) -> None:
    model = network_with(block())
    state = copy.deepcopy(model.state_dict())
    graph = ChannelGraph(model, IMAGE)
    with pytest.raises(KDYoloError, match=f"was not done.*{why}"):
        graph.cut({cut: range(10)})
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not graph.kept
    graph.cut({"model.3.conv": range(10)})  # what is not around the block can go
    assert model.model[3].conv.out_channels == 10


def test_the_proof_stops_a_wrong_stand_in(small_detector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ADown's halves exchanged: every shape fits and only the numbers are wrong."""
    right = standins._down
    monkeypatch.setattr(standins, "_down", lambda block, ends, halves, x: right(block, ends, lambda: halves()[::-1], x))
    model = small_detector([-1, 1, "RepNCSPELAN4", [64, 32, 16, 1]], [-1, 1, "ADown", [64]])
    graph = ChannelGraph(model, IMAGE)
    keep = {"model.2.cv4.conv[a]": range(0, 20), "model.2.cv4.conv[b]": range(12, 32)}
    with pytest.raises(KDYoloError, match="was not done"):
        graph.cut(keep)


def test_the_proof_does_not_depend_on_the_weights(network_with: Any) -> None:
    """A network whose signals have faded would hide any mistake."""
    model = network_with(WidthAware())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    with pytest.raises(KDYoloError, match="was not done"):
        ChannelGraph(model, IMAGE).cut({"model.1.conv": range(10)})


def test_a_fused_model(network: Any) -> None:
    model = network().fuse(verbose=False)
    with pytest.raises(InputError, match=r"was fused for inference \(model\.0\).*before fusing"):
        ChannelGraph(model, IMAGE)


def test_a_fused_branch(network_with: Any) -> None:
    block = RepConv(WIDTH, WIDTH)
    block.fuse_convs()
    with pytest.raises(InputError, match=r"was fused for inference \(model\.2\)"):
        ChannelGraph(network_with(block), IMAGE)


@pytest.mark.parametrize("name", ["yolo26n-depth", "yolo26n-sem"])
def test_other_tasks(name: str) -> None:
    from ultralytics import YOLO

    with pytest.raises(InputError, match=r"ends in (Depth|SemanticSegment), which cannot be pruned"):
        ChannelGraph(YOLO(f"{name}.yaml").model, IMAGE)


def test_no_yolo_model() -> None:
    with pytest.raises(InputError, match="ends in NoneType"):
        ChannelGraph(nn.Conv2d(3, 8, 1), IMAGE)
