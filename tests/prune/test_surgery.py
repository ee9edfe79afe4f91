"""Cutting: what is asked is checked, gradients and frozen layers are carried over, other blocks than the usual work."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.nn.modules.block import C2f
from ultralytics.nn.modules.conv import RepConv

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune.graph import ChannelGraph


@pytest.fixture(scope="module")
def graph(network: Any, image: Any) -> ChannelGraph:
    """One that no test cuts."""
    model = network()
    return ChannelGraph(model, image(model))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"model.0.convs": [0]}, "'model.0.convs' is no group.*Did you mean 'model.0.conv'"),
        ({"model.22.cv2.0.2": [0]}, "'model.22.cv2.0.2' is no group.*stays: head output"),
        ({"model.2.m.0.cv2.conv": [0]}, "no group"),
        ({"model.0.conv": []}, "no channel is left of 16"),
        ({"model.0.conv": [3, 1]}, "sorted numbers from 0 to 15"),
        ({"model.0.conv": [1, 1]}, "sorted numbers from 0 to 15"),
        ({"model.0.conv": [0, 16]}, "sorted numbers from 0 to 15"),
        ({"model.0.conv": [-1, 3]}, "sorted numbers from 0 to 15"),
        ({"model.2.cv1.conv[a]": [0, 1]}, "would keep 2 channels, model.2.cv1.conv.b. 16.*equal widths"),
        ({"model.2.cv1.conv[a]": [0, 1], "model.2.cv1.conv[b]": [0]}, "would keep 2 channels, model.2.cv1.conv.b. 1:"),
    ],
)
def test_keeping_what_cannot_be_kept(graph: ChannelGraph, keep: dict[str, list[int]], message: str) -> None:
    before = graph._model.state_dict()
    with pytest.raises(ConfigError, match=message):
        graph.cut(keep)
    assert all(value.shape == before[key].shape for key, value in graph._model.state_dict().items())


def test_only_the_named_group_is_cut(network: Any, image: Any) -> None:
    model = network()
    with ChannelGraph(model, image(model)) as graph:
        graph.cut({"model.3.conv": [1, 5, 7]})
    original = network()
    assert torch.equal(model.model[3].conv.weight, original.model[3].conv.weight[[1, 5, 7]])
    assert torch.equal(model.model[3].bn.running_var, original.model[3].bn.running_var[[1, 5, 7]])
    assert torch.equal(model.model[4].cv1.conv.weight, original.model[4].cv1.conv.weight[:, [1, 5, 7]])
    assert graph.kept["model.3.bn"] == [1, 5, 7]
    assert graph.kept["model.4.cv1.conv"] == list(range(64))
    assert model.model[4].cv1.conv.weight.shape == (64, 3, 1, 1)


def test_halves_keep_their_own_channels(network: Any, image: Any) -> None:
    model = network()
    with ChannelGraph(model, image(model)) as graph:
        graph.cut({"model.2.cv1.conv[a]": [0, 3], "model.2.cv1.conv[b]": [1, 15]})
    rows = [0, 3, 17, 31]
    assert graph.kept["model.2.cv1.conv"] == rows
    assert torch.equal(model.model[2].cv1.conv.weight, network().model[2].cv1.conv.weight[rows])
    assert model.model[2].c == 2
    assert torch.equal(model.model[2].m[0].cv2.bn.bias, network().model[2].m[0].cv2.bn.bias[[1, 15]])


def test_gradients_and_frozen_layers_are_carried_over(network: Any, image: Any) -> None:
    model = network()
    model(image(model))[0].sum().backward()
    gradient = model.model[3].conv.weight.grad.clone()
    for parameter in [*model.model[3].parameters(), *model.model[4].parameters()]:
        parameter.requires_grad_(False)
    with ChannelGraph(model, image(model)) as graph:
        graph.cut({"model.3.conv": [1, 5, 7], "model.5.conv": [0]})
    assert torch.equal(model.model[3].conv.weight.grad, gradient[[1, 5, 7]])
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    layers = ("model.3.", "model.4.")
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith(layers) or "dfl" in name}


def test_one_graph_one_cut(small_detector: Callable[..., Any]) -> None:
    graph = ChannelGraph(small_detector(), torch.rand(1, 3, 64, 64))
    graph.cut({"model.0.conv": [0, 1]})
    with pytest.raises(AssertionError, match="open a new one"):
        graph.cut({"model.0.conv": [0]})
    with pytest.raises(AssertionError, match="open a new one"):
        graph.scores(lambda group: torch.ones(1))


BLOCKS: dict[str, list[Any]] = {
    "C2": [32, True], "C3": [32], "C3x": [32], "C3Ghost": [32], "C2fPSA": [32], "BottleneckCSP": [32],
    "GhostBottleneck": [32, 3, 2], "SPP": [32], "SPPF": [32, 5, 3, True], "C2fCIB": [32, True, True], "PSA": [32],
    "A2C2f": [64, False, -1], "RepC3": [32], "SCDown": [32, 3, 2], "ConvTranspose": [32, 2, 2],
    "nn.ConvTranspose2d": [32, 2, 2], "ELAN1": [32, 32, 16], "ADown": [32], "HGStem": [16, 32],
    "HGBlock": [16, 32, 3, True, True], "C3k2": [32, True, 0.5, True],
}  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_that_no_small_family_has(
    block: str, small_detector: Callable[..., Any], random_keep: Callable[..., Any]
) -> None:
    """The proof inside ``cut`` holds; two of each, so that ADown also stands where no conv can be split for it."""
    model = small_detector([-1, 1, block, BLOCKS[block]], [-1, 1, block, BLOCKS[block]])
    with ChannelGraph(model, torch.rand(1, 3, 64, 64)) as graph:
        keep = random_keep(graph)
        graph.cut(keep)
    assert len(keep) >= 10


@pytest.mark.parametrize("block", [lambda: RepConv(32, 32, bn=True), lambda: C2f(32, 32, 2, True)])
def test_blocks_fuse_after_the_cut(
    block: Callable[[], nn.Module], network_with: Callable[..., Any], random_keep: Callable[..., Any]
) -> None:
    model = network_with(block())
    noise = torch.rand(1, 3, 64, 64)
    with ChannelGraph(model, noise) as graph:
        graph.cut(random_keep(graph))
    with torch.no_grad():
        expected = model(noise)[0]
        assert torch.allclose(model.fuse(verbose=False)(noise)[0], expected, atol=1e-4 * float(expected.abs().max()))


def test_a_factor_for_each_channel_is_cut_too(
    small_detector: Callable[..., Any], random_keep: Callable[..., Any]
) -> None:
    """A2C2f of YOLO12 l and x scales what it adds by a bare parameter."""
    model = small_detector([-1, 1, "Conv", [64, 1]], [-1, 1, "A2C2f", [64, True, 1, True]])
    model.model[3].gamma.data.uniform_()
    factors, gradient = model.model[3].gamma.clone(), torch.rand(64)
    model.model[3].gamma.grad = gradient.clone()
    with ChannelGraph(model, torch.rand(1, 3, 64, 64)) as graph:
        keep = random_keep(graph)
        graph.cut(keep)
    left = keep["model.2.conv"]
    assert torch.equal(model.model[3].gamma, factors[left])
    assert torch.equal(model.model[3].gamma.grad, gradient[left])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolov9t", "yolo11n"])
def test_exports(name: str, pruned: Callable[..., Any], image: Callable[..., Tensor], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    less = deepcopy(pruned(name)[1])
    yolo = YOLO(f"{name}.yaml")
    yolo.model = less.float()
    yolo.save(str(tmp_path / "pruned.pt"))
    file = YOLO(str(tmp_path / "pruned.pt")).export(format="onnx", imgsz=64)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    noise = image(less)
    (got,) = session.run(None, {session.get_inputs()[0].name: noise.numpy()})
    with torch.no_grad():
        expected = less(noise)[0]
    assert torch.allclose(torch.from_numpy(got), expected, atol=1e-3 * float(expected.abs().max()))
