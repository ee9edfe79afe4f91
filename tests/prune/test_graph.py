"""Groups, what stays and why, scores, and what a graph leaves as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning as tp
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.prunable import head_maps

Build = Callable[..., Any]


@pytest.fixture(scope="module")
def open_graph(network: Build, image: Callable[..., Tensor]) -> Callable[..., ChannelGraph]:
    """What stands in a graph, traced once for each network; not for cutting."""

    @cache
    def make(name: str = "yolov8n", **arguments: Any) -> ChannelGraph:
        model = network(name)
        return ChannelGraph(model, image(model), **arguments)

    return make


def by_name(graph: ChannelGraph) -> dict[str, Any]:
    return {group.name: group for group in graph.groups}


def test_names_widths_and_layers_are_those_of_the_stock_model(open_graph: Any) -> None:
    groups = by_name(open_graph())
    assert next(iter(groups)) == "model.0.conv"
    assert groups["model.0.conv"].width == 16
    assert groups["model.2.m.0.cv1.conv"].layers == ("model.2.m.0.cv1.conv",)
    half = groups["model.2.cv1.conv[b]"]  # the residual ties it to the bottleneck's output
    assert (half.width, half.layers, half.follows) == (16, ("model.2.cv1.conv[b]", "model.2.m.0.cv2.conv"), None)
    assert groups["model.2.cv1.conv[a]"].follows == "model.2.cv1.conv[b]"
    assert list(groups).index("model.2.cv1.conv[a]") < list(groups).index("model.2.m.0.cv1.conv")


def test_ghost_convs_count_their_own_channels(open_graph: Any) -> None:
    group = by_name(open_graph("yolov8n-ghost"))["model.2.m.0.conv.2.cv1.conv"]
    assert group.width == 8
    assert group.layers[0] == "model.2.cv1.conv"  # of 16 channels, two for each of the group's


def test_adown_halves_are_tied(small_detector: Build) -> None:
    model = small_detector([-1, 1, "RepNCSPELAN4", [64, 32, 16, 1]], [-1, 1, "ADown", [64]])
    groups = by_name(ChannelGraph(model, torch.rand(1, 3, 64, 64)))
    assert groups["model.2.cv4.conv[a]"].follows == "model.2.cv4.conv[b]"
    assert groups["model.2.cv4.conv[a]"].width == 32


@pytest.mark.parametrize(
    ("name", "conv", "reason"),
    [
        ("yolov8n", "model.22.cv2.0.2", "head output"),
        ("yolov8n", "model.22.dfl.conv", "head output"),
        ("yolov8n-seg", "model.22.proto.cv3.conv", "head output"),
        ("yolo26n-pose", "model.23.cv4_sigma.0", "head output"),
        ("yolo26n-seg", "model.23.proto.semseg.2", "head output"),
        ("yolov10n", "model.23.one2one_cv3.2.2", "head output"),
        ("yolo11n", "model.10.m.0.attn.qkv.conv", "attention"),
        ("yolo11n", "model.10.cv1.conv[b]", "attention"),
        ("yolo11n", "model.10.cv1.conv[a]", "other half"),
        ("yolo12n", "model.6.m.0.0.attn.pe.conv", "attention"),
        ("yolov8n-rtdetr", "model.22.input_proj.0.0", "decoder input"),
    ],
)
def test_what_stays_says_why(open_graph: Any, name: str, conv: str, reason: str) -> None:
    assert reason in open_graph(name).fixed[conv]


def test_area_attention_leaves_what_goes_in_and_out_free(open_graph: Any) -> None:
    grouped = {layer for group in open_graph("yolo12n").groups for layer in group.layers}
    assert {"model.6.m.0.0.attn.proj.conv", "model.6.cv1.conv"} <= grouped


@pytest.mark.slow
def test_the_transformer_keeps_the_width_of_what_feeds_it(open_graph: Any) -> None:
    assert open_graph("rtdetr-l").fixed["model.10.conv"] == "transformer"


@pytest.mark.slow
def test_v9e_keeps_nothing_for_its_fusions(open_graph: Any) -> None:
    graph = open_graph("yolov9e")
    assert set(graph.fixed.values()) == {"head output"}
    assert by_name(graph)["model.11.conv[b]"].layers[-1] == "model.17.conv"  # CBFuse adds them up


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("model.0.conv", {"model.0.conv"}),
        ("model.0", {"model.0.conv"}),
        ("model.2.cv1.conv[a]", {"model.2.cv1.conv[a]"}),
        ("model.2.cv1", {"model.2.cv1.conv[a]", "model.2.cv1.conv[b]"}),
        ("model.2.cv1.*", {"model.2.cv1.conv[a]", "model.2.cv1.conv[b]"}),
        ("model.?.cv2", {f"model.{i}.cv2.conv" for i in (2, 4, 6, 8, 9)}),
    ],
)
def test_ignore(open_graph: Any, pattern: str, covered: set[str]) -> None:
    graph = open_graph(ignore=(pattern,))
    assert {name for name, why in graph.fixed.items() if why == "ignored by the user"} >= covered
    grouped = {layer for group in graph.groups for layer in group.layers}
    assert not covered & grouped
    assert "model.20.cv1.conv" not in covered


def test_ignoring_half_keeps_the_other_half_and_all_that_shares_its_channels(open_graph: Any) -> None:
    graph = open_graph(ignore=("model.2.m.0.cv2",))
    assert graph.fixed["model.2.cv1.conv[b]"] == "ignored by the user"
    assert "other half (model.2.cv1.conv[b]: ignored by the user)" in graph.fixed["model.2.cv1.conv[a]"]


@pytest.mark.parametrize("pattern", ["model.0.con", "model.10", "model.2.cv1.bn", "backbone*"])
def test_a_pattern_that_covers_nothing(open_graph: Any, pattern: str) -> None:
    with pytest.raises(ConfigError, match="covers no conv") as caught:
        open_graph(ignore=("model.0", pattern))
    if pattern == "model.0.con":
        assert "Did you mean 'model.0.conv'?" in str(caught.value)


def test_the_model_is_untouched_while_it_is_open(network: Build, image: Any) -> None:
    model = network()
    model.train()
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    classes = [type(module) for module in model.modules()]

    def look_and_fail() -> None:
        with torch.no_grad(), ChannelGraph(model, image(model)) as graph:
            assert len(graph.groups) == 59
            assert model.training
            model.eval()(image(model))
            model.train()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        look_and_fail()
    assert [type(module) for module in model.modules()] == classes
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_a_frozen_model_has_the_same_groups(network: Build, image: Any) -> None:
    """Autograd would record nothing, and nothing could be pruned."""
    model = network()
    expected = ChannelGraph(model, image(model)).groups
    assert ChannelGraph(model.requires_grad_(False), image(model)).groups == expected
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_scores_read_weights_and_gradients_of_the_stock_model(network: Build, image: Any) -> None:
    model = network()
    model(image(model))[0].sum().backward()
    seen: dict[str, Tensor] = {}

    def importance(group: Any) -> Tensor:
        conv = group[0].dep.layer
        return (conv.weight * conv.weight.grad).flatten(1).sum(1)

    with ChannelGraph(model, image(model)) as graph:
        seen = graph.scores(importance)
    layers = dict(model.named_modules())
    for group in graph.groups:
        conv: Any = layers[group.name.partition("[")[0]]
        expected = (conv.weight * conv.weight.grad).flatten(1).sum(1)
        if group.name.endswith("[a]"):
            expected = expected[: group.width]
        elif group.name.endswith("[b]"):
            expected = expected[group.width :]
        assert torch.equal(seen[group.name], expected.detach()), group.name
        assert not seen[group.name].requires_grad


@pytest.mark.parametrize(("name", "count"), [("yolov8n-seg", 10), ("yolo26n-seg", 20), ("yolo26n-pose", 24)])
def test_head_maps_are_the_raw_outputs_and_leave_the_mode(network: Build, image: Any, name: str, count: int) -> None:
    model = network(name)
    with torch.no_grad():
        maps = head_maps(model, image(model))
        raw = model(image(model))[1]
    assert len(maps) == count  # levels times branches, prototypes, and what only training uses
    boxes = raw.get("one2many", raw)["boxes"]
    assert any(torch.equal(one.flatten(2), boxes[..., : one[0, 0].numel()]) for one in maps)
    assert not any(module.training for module in model.modules())


def test_head_maps_of_a_classifier_are_its_logits(network: Build, image: Any) -> None:
    model = network("yolov8n-cls")
    with torch.no_grad():
        (logits,) = head_maps(model, image(model))
        found = model(image(model))
    assert torch.allclose(logits.softmax(1), found[0] if isinstance(found, tuple) else found)


IMPORTANCES = [
    tp.importance.GroupMagnitudeImportance(p=2), tp.importance.GroupTaylorImportance(),
    tp.importance.BNScaleImportance(), tp.importance.LAMPImportance(), tp.importance.FPGMImportance(),
    tp.importance.RandomImportance(),
]  # fmt: skip


@pytest.mark.parametrize("name", ["yolov8n-seg", "yolov8n-ghost", "yolo12n"])
def test_every_importance_ranks_every_group(network: Build, image: Any, name: str) -> None:
    model = network(name)
    model.train()
    sum(output.sum() for output in model(image(model)).values() if isinstance(output, Tensor)).backward()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.grad is None else parameter.grad
    with ChannelGraph(model, image(model)) as graph:
        found = {type(importance).__name__: graph.scores(importance) for importance in IMPORTANCES}
    for kind, scores in found.items():
        assert scores.keys() == {group.name for group in graph.groups}
        for group in graph.groups:
            assert scores[group.name].shape == (group.width,), (kind, group.name)
            assert scores[group.name].dtype == torch.float32, kind
            assert scores[group.name].isfinite().all(), (kind, group.name)


@pytest.mark.parametrize(
    "name", ["yolov8n", "yolov8n-ghost", pytest.param("yolov9t", marks=pytest.mark.slow), "yolo26n"]
)
def test_the_channel_without_weight_scores_least(network: Build, image: Any, name: str) -> None:
    model = network(name)
    with ChannelGraph(model, image(model)) as graph:
        widths = {group.name: group.width for group in graph.groups}
    layers = dict(model.named_modules())
    for group, width in widths.items():
        conv: Any = layers[group.partition("[")[0]]
        row = width // 2 + (width if group.endswith("[b]") else 0)
        with torch.no_grad():
            conv.weight[row] = 0
    with ChannelGraph(model, image(model)) as graph:
        scores = graph.scores(lambda group: group[0].dep.layer.weight[group[0].idxs].flatten(1).norm(dim=1))
    assert all(int(score.argmin()) == widths[group] // 2 for group, score in scores.items())


def test_official_weights(shared: Path, image: Any, random_keep: Any) -> None:
    """They load with ``requires_grad=False``, with which nothing would be found to prune."""
    model, _ = load_checkpoint(shared / "weights" / "yolov8n.pt")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    before = sum(parameter.numel() for parameter in model.parameters())
    with ChannelGraph(model, image(model)) as graph:
        assert len(graph.groups) == 59
        graph.cut(random_keep(graph))
    assert sum(parameter.numel() for parameter in model.parameters()) < 0.6 * before
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model(torch.rand(1, 3, 64, 64))[0].isfinite().all()
