"""Every family, cut at random: the same network less what went, of stock classes, that trains and reloads."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from kd_yolo.prune.graph import ChannelGraph

# Each kind of block and head once; the slow ones join them otherwise, or are large.
NAMES = [
    "yolov5n", "yolov8n", "yolov8n-ghost", "yolov8n-obb", "yolov8n-cls", "yolov9t", "yolov10n", "yolo11n-seg",
    "yolo12n", "yolo26n-pose", "yolov8n-rtdetr",
]  # fmt: skip
SLOW = [
    "yolov3-tiny", "yolov6n", "yolov8n-p2", "yolov8n-p6", "yolov8n-seg", "yolov8n-pose", "yolov9c", "yolov9e",
    "yolo11n", "yolo11n-pose", "yolo11n-obb", "yolo26n", "yolo26n-seg", "yolo26n-obb", "rtdetr-l",
]  # fmt: skip
FAMILIES = [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
every_family = pytest.mark.parametrize("name", FAMILIES)
FEW = ("yolov8n-ghost", "yolo11n-seg", "yolo26n-pose")  # what a cut network can still do; its values are every family's
few_families = pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in (*NAMES, *SLOW) if name not in FEW)]
)


def tensors(outputs: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors of a head's output, but the features that it was given: those are cut."""
    if isinstance(outputs, Tensor):
        yield path, outputs
    elif isinstance(outputs, dict):
        for key, value in outputs.items():
            yield from tensors(value, f"{path}.{key}") if key != "feats" else ()
    elif isinstance(outputs, list | tuple):
        for i, value in enumerate(outputs):
            yield from tensors(value, f"{path}.{i}")


@torch.no_grad()
def silenced(original: nn.Module, kept: dict[str, list[int]]) -> nn.Module:
    """A copy with zeros in the channels that are not in ``kept``: written apart from the package, which does it too."""
    model = copy.deepcopy(original)
    layers = dict(model.named_modules())
    for name, left in kept.items():
        layer: Any = layers[name]
        mask = torch.zeros(layer.weight.shape[1 if isinstance(layer, nn.ConvTranspose2d) else 0], dtype=torch.float64)
        mask[left] = 1
        shape = [-1, 1, 1, 1][: layer.weight.ndim]
        if isinstance(layer, nn.ConvTranspose2d):
            shape = [1, -1, 1, 1]
        layer.weight *= mask.view(shape)
        if layer.bias is not None:
            layer.bias *= mask
    return model


def assert_equal(got: Any, expected: Any, *, tolerance: float) -> None:
    pairs = list(zip(tensors(got), tensors(expected), strict=True))
    assert pairs
    for (path, a), (_, b) in pairs:
        assert a.shape == b.shape, path
        assert b.isfinite().all(), path
        assert float((a - b).abs().max()) <= tolerance * max(float(b.abs().max()), 1e-300), path


@every_family
def test_equals_the_network_with_those_channels_silent(
    name: str, pruned: Callable[..., Any], image: Callable[..., Tensor]
) -> None:
    original, less, graph, _ = pruned(name)
    noise = image(original)
    with torch.no_grad():
        whole = original(noise)
        silent = silenced(original, graph.kept)(noise)
        assert_equal(less(noise), silent, tolerance=1e-12)
    changed = [
        float((a - b).abs().max()) > 1e-3 * float(b.abs().max())
        for (_, a), (_, b) in zip(tensors(silent), tensors(whole), strict=True)
    ]
    assert any(changed)  # the channels mattered


@every_family
def test_widths_are_as_asked(name: str, pruned: Callable[..., Any]) -> None:
    original, less, graph, keep = pruned(name)
    before, after = dict(original.named_modules()), dict(less.named_modules())
    parts: dict[str, list[tuple[int, int]]] = {}
    for group in graph.groups:
        for layer in group.layers:
            parts.setdefault(layer.partition("[")[0], []).append((group.width, len(keep[group.name])))
    for layer, widths in parts.items():
        times = before[layer].out_channels / sum(width for width, _ in widths)
        assert times == 1 or (times == 2 and "ghost" in name)
        assert after[layer].out_channels == times * sum(left for _, left in widths)
        assert len(graph.kept[layer]) == after[layer].out_channels
    for layer in graph.fixed:
        assert "[" in layer or after[layer].out_channels == before[layer].out_channels
    for group in graph.groups:
        if "[" not in group.name:
            assert graph.kept[group.name] == keep[group.name]


@every_family
def test_every_conv_is_in_a_group_or_fixed_with_a_reason(name: str, pruned: Callable[..., Any]) -> None:
    original, _, graph, _ = pruned(name)
    convs = {n for n, m in original.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
    grouped = {layer for group in graph.groups for layer in group.layers}
    assert not grouped & set(graph.fixed)
    assert {layer.partition("[")[0] for layer in grouped | set(graph.fixed)} == convs
    assert all(graph.fixed.values())
    assert len({group.name for group in graph.groups}) == len(graph.groups)
    by_name = {group.name: group for group in graph.groups}
    for group in graph.groups:
        assert group.name == group.layers[0] or "ghost" in name or name == "yolov9e"
        if group.follows is not None:
            assert by_name[group.follows].width == group.width
            assert by_name[group.follows].follows is None


@every_family
def test_stock_classes_with_their_own_widths_noted(name: str, pruned: Callable[..., Any]) -> None:
    _, less, _, _ = pruned(name)
    for path, module in less.named_modules():
        assert type(module).__module__.startswith(("torch.nn.", "ultralytics.nn.")), path
        assert not [key for key in vars(module) if key in {"forward", "anchor", "parts"}], path
        noted: Any = module
        convs: dict[str, Any] = {key: getattr(module, key, None) for key in ("cv1", "conv", "conv1", "cv4")}
        kind = type(module).__name__
        if kind in {"C2f", "C3k2", "C2fCIB", "C2PSA", "PSA", "RepNCSPELAN4", "ELAN1"}:
            assert noted.c * 2 == convs["cv1"].conv.out_channels, path
        elif kind in {"ADown", "SPPELAN"}:
            assert noted.c == convs["cv1"].conv.out_channels, path
        elif kind == "CBLinear":
            assert sum(noted.c2s) == convs["conv"].out_channels, path
        elif kind == "RepConv":
            assert (noted.c1, noted.c2) == (convs["conv1"].conv.in_channels, convs["conv1"].conv.out_channels), path
        elif kind == "RepVGGDW":
            assert noted.dim == convs["conv"].conv.out_channels, path
        elif kind in {"Segment", "Segment26"}:
            assert noted.npr == noted.proto.cv1.conv.out_channels, path
    for layer in less.model:
        assert layer.np == sum(parameter.numel() for parameter in layer.parameters())


@few_families
def test_keeping_everything_changes_no_bit(
    name: str, network: Callable[..., Any], image: Callable[..., Tensor]
) -> None:
    model = network(name)
    before = copy.deepcopy(model.state_dict())
    noise = image(model)
    with torch.no_grad():
        expected = model(noise)
        with ChannelGraph(model, noise) as graph:
            graph.cut({group.name: range(group.width) for group in graph.groups})
        got = model(noise)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(tensors(got), tensors(expected), strict=True))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@few_families
def test_reloads_copies_and_fuses_with_equal_outputs(
    name: str, pruned: Callable[..., Any], image: Callable[..., Tensor]
) -> None:
    _, less, _, _ = pruned(name)
    noise = image(less)
    file = io.BytesIO()
    torch.save(less, file)
    file.seek(0)
    with torch.no_grad():
        expected = less(noise)
        assert_equal(torch.load(file, weights_only=False)(noise), expected, tolerance=0)
        fused = copy.deepcopy(less).fuse(verbose=False)(noise)
    if name.startswith(("yolov10", "yolo26")):  # one branch is gone
        fused, expected = fused[0], expected[0]
    assert_equal(fused, expected, tolerance=1e-5)  # some of ultralytics' fusing is in float32


def labels(model: Any, images: Tensor) -> dict[str, Any]:
    """Two boxes on the first image, one on the second, with what each task needs beside them."""
    size_px = images.shape[-1]
    batch = {
        "img": images,
        "cls": torch.zeros(3, 1),
        "bboxes": torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.6, 0.6, 0.5, 0.5], [0.5, 0.5, 0.6, 0.4]]),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "masks": torch.zeros(2, size_px // 4, size_px // 4),
        "sem_masks": torch.zeros(2, size_px // 4, size_px // 4),
        "keypoints": torch.rand(3, 17, 3),
    }
    batch["masks"][:, 4:12, 4:12] = 1
    if model.task == "obb":
        batch["bboxes"] = torch.cat((batch["bboxes"], torch.full((3, 1), 0.1)), 1)
    if model.task == "classify":
        batch["cls"] = torch.tensor([0, 1])
    return batch


@few_families
def test_trains(name: str, pruned: Callable[..., Any], image: Callable[..., Tensor]) -> None:
    less = copy.deepcopy(pruned(name)[1]).float().train()
    less.nc = less.model[-1].nc if hasattr(less.model[-1], "nc") else None  # as trainers note it
    batch = labels(less, image(less, 2))
    loss = less.loss(batch)[0].sum()
    loss.backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in less.parameters() if parameter.grad is not None]
    assert len(gradients) > 0.9 * len(list(less.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@few_families
def test_prunes_twice(name: str, pruned: Callable[..., Any], image: Callable[..., Tensor], random_keep: Any) -> None:
    """The second time with the proof, which must not give a false alarm."""
    _, once, first, _ = pruned(name)
    less = copy.deepcopy(once)
    noise = image(less)
    with ChannelGraph(less, noise) as graph:
        assert [group.name for group in graph.groups] == [group.name for group in first.groups]
        graph.cut(random_keep(graph, seed=1, least=0.5))
    with torch.no_grad():
        assert_equal(less(noise), silenced(once, graph.kept)(noise), tolerance=1e-12)


@pytest.mark.parametrize(
    "name",
    ["yolov8n", "yolo26n", *(pytest.param(n, marks=pytest.mark.slow) for n in ("yolov9t", "yolov10n", "yolo11n"))],
)
def test_one_channel_left_everywhere(name: str, pruned: Callable[..., Any], image: Callable[..., Tensor]) -> None:
    original, less, graph, keep = pruned(name, least=0)
    assert min(len(channels) for channels in keep.values()) == 1
    noise = image(original)
    with torch.no_grad():
        assert_equal(less(noise), silenced(original, graph.kept)(noise), tolerance=1e-12)


def test_the_yaml_is_left_alone(pruned: Callable[..., Any]) -> None:
    original, less, _, _ = pruned("yolov8n")
    assert type(less) is DetectionModel
    assert less.yaml == original.yaml
    assert torch.equal(less.stride, original.stride)
