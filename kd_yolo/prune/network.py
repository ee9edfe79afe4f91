"""The network that is pruned: loading it, ranking its channels, cutting it, measuring it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.config.prune import ImportanceName, PruneSettings, Target
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.prune.graph import ChannelGraph, ChannelGroup
from kd_yolo.prune.importance import build_importance, collect_gradients
from kd_yolo.prune.plan import Widths, choose, widths_of
from kd_yolo.prune.recover import recalibrate
from kd_yolo.yolo.data.batches import Pictures, batches, task_loss
from kd_yolo.yolo.evaluate import check_data
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import is_pruned
from kd_yolo.yolo.heads import input_channels
from kd_yolo.yolo.measure import Latency, measure_latency, measure_size, onnx_runner, torch_runner
from kd_yolo.yolo.prunable import head_maps

NORMAL = (
    "mAP near zero is normal after pruning without retraining: kd-yolo retrain brings it back (plain yolo train builds"
    " the unpruned network again)"
)
SPARSE_GAMMA = 0.01  # sparse training leaves its share of gammas below this, ordinary training none


@dataclass(frozen=True)
class Study:
    """What can be pruned of a network, and what it is worth.

    Attributes:
        groups: in network order.
        fixed: convs whose width stays, each with the reason.
        scores: importance of each channel, (width,) by group name, on the CPU.
    """

    groups: tuple[ChannelGroup, ...]
    fixed: Mapping[str, str]
    scores: Mapping[str, Tensor]


def load_network(settings: PruneSettings) -> tuple[Any, dict[str, Any]]:
    """The network on its device, and its checkpoint.

    Raises:
        InputError: weights that cannot be pruned, or data whose classes are not theirs where labels are needed.
        ConfigError: no such device.
    """
    device = choose_device(settings.device)
    model, checkpoint = load_checkpoint(settings.model, trust=settings.trust_weights)
    if checkpoint.get("modelopt"):
        raise InputError(
            f"{settings.model} was trained quantisation-aware: prune the network that it was made from, then quantise."
        )
    _check_data(model, settings)
    return model.to(device), checkpoint


def _check_data(model: Any, settings: PruneSettings) -> None:
    """Statistics need images, Taylor importance labels of the model's classes."""
    if settings.data is None:
        return
    if settings.criterion != "taylor":
        if model.task != "classify":
            read_data_yaml(settings.data, ())
        return
    try:
        check_data(model, settings.data, "train")
    except InputError as error:
        raise InputError(f"{error} Or rank channels without labels: --importance l2.") from None


def notes_on(model: nn.Module, settings: PruneSettings) -> list[str]:
    """What a user should know before reading the numbers."""
    notes = []
    if is_pruned(model):
        notes.append(f"{settings.model} is pruned already: it is pruned further, and compared with what it is now")
    if settings.importance is None and settings.data is None:
        notes.append("no data=: channels are ranked by their L2 norm; with data= Taylor scores rank them better")
    if not settings.recalibrates:
        notes.append("BatchNorm statistics are those of the unpruned network: retraining mends that")
    if settings.criterion == "lamp" and not settings.global_ranking:
        notes.append(
            "lamp says how layers compare: all are ranked together (--global), which removes parameters more than FLOPs"
        )
    if settings.criterion == "bn" and _sparse_share(model) < settings.share / 2:
        notes.append(
            f"only {_sparse_share(model):.0%} of the BatchNorm gammas are nearly zero: ranking by gamma is for networks"
            " that were trained sparse (kd-yolo sparse)"
        )
    return [*notes, NORMAL]


def _sparse_share(model: nn.Module) -> float:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    gammas = torch.cat([norm.weight.detach().abs().cpu() for norm in norms]) if norms else torch.ones(1)
    return float((gammas < SPARSE_GAMMA).float().mean())


def study(model: Any, settings: PruneSettings, criterion: ImportanceName | None = None) -> Study:
    """Finds the groups of a network and ranks their channels.

    Args:
        model: on its device; it is not changed.
        settings: how.
        criterion: another importance than that of the settings.

    Raises:
        ConfigError: nothing can be pruned, or ``ignore`` covers nothing.
        InputError: the network cannot be pruned, or the data cannot be used.
    """
    criterion = criterion or settings.criterion
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    if criterion == "taylor":
        collect_gradients(model, _losses(model, settings))
    with open_graph(model, settings) as graph:
        scores = graph.scores(build_importance(criterion, ranks_globally=settings.ranks_globally))
        found = Study(graph.groups, graph.fixed, {name: _clean(score) for name, score in scores.items()})
    model.zero_grad(set_to_none=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    if not found.groups:
        raise ConfigError("nothing can be pruned: every layer is fixed or ignored.")
    return found


def _losses(model: Any, settings: PruneSettings) -> Iterator[Tensor]:
    """The loss of each batch.

    Raises:
        InputError: none of the images has a label, so that the loss says nothing about finding things.
    """
    count, labels = settings.batches * settings.batch, 0
    with task_loss(model) as loss:
        for batch in batches(model, pictures(settings), count):
            labels += len(batch["cls"])
            yield loss(batch)
    if not labels:
        raise InputError(
            f"none of the {count} images taken from {settings.data} has a label: more --batches, or --importance l2."
        )


def _clean(score: Tensor) -> Tensor:
    """On the CPU; a group whose scores are all zero, and were divided by their mean, is zero again."""
    return score.cpu().nan_to_num(0.0)


def pictures(settings: PruneSettings) -> Pictures:
    """The training images of the settings."""
    assert settings.data is not None
    return Pictures(settings.data, settings.imgsz, settings.batch, settings.seed)


def open_graph(model: Any, settings: PruneSettings) -> ChannelGraph:
    """The channel graph of a network."""
    parameter, side = next(model.parameters()), 2 * max(int(model.stride.max()), 32)
    image_nchw = torch.zeros(1, input_channels(model), side, side, device=parameter.device)
    return ChannelGraph(model, image_nchw, settings.ignore)


def cut(
    model: Any, settings: PruneSettings, scores: Mapping[str, Tensor], widths: Mapping[str, int], *, proof: bool = True
) -> None:
    """Cuts a network in place; each group keeps its best channels.

    Args:
        model: the network.
        settings: how.
        scores: importance, (width,) by group name.
        widths: channels that stay, by group name.
        proof: check that nothing but those channels went; copies that are only measured can do without.
    """
    with open_graph(model, settings) as graph:
        graph.cut(choose(scores, widths), proof=proof)


def require_widths(model: Any, settings: PruneSettings, widths: Mapping[str, int]) -> None:
    """Checks that a network has the widths of its plan: plain ``yolo train``, for one, puts all channels back.

    Raises:
        KDYoloError: it has others.
    """
    with open_graph(model, settings) as graph:
        found = widths_of(graph.groups)
    wrong = [f"{name}: {found.get(name)}, not {width}" for name, width in widths.items() if found.get(name) != width]
    if wrong:
        raise KDYoloError(f"the network has not the widths of its plan any more: {', '.join(wrong[:5])}.")


def recalibrate_on(model: Any, settings: PruneSettings, count: int) -> None:
    """Estimates the BatchNorm statistics of a network on ``count`` training images, labels or not."""
    augmented = replace(pictures(settings), augment=True)  # statistics as the network had them in training
    images = (batch["img"] for batch in batches(model, augmented, count))
    recalibrate(model, images, head_maps)


def measure_cost(target: Target, model: Any, settings: PruneSettings, found: Study) -> Callable[[Widths], float]:
    """A function that cuts a copy and measures it, in the unit of the target; the network is not touched."""
    known: dict[tuple[int, ...], float] = {}
    whole_ms: list[float] = []

    def cost(candidate: nn.Module) -> float:
        if target.what == "latency":
            whole, cut_down = latency_of((model, candidate), settings)
            whole_ms.append(whole.p50_ms)  # what else the machine does slows both down
            return cut_down.p50_ms * whole_ms[0] / whole.p50_ms
        size = measure_size(candidate, settings.imgsz)
        return size.deployed_gflops if target.what == "flops" else size.deployed_parameters / 1e6

    def measure(widths: Widths) -> float:
        key = tuple(widths.values())
        if key not in known:
            candidate = copy.deepcopy(model)
            cut(candidate, settings, found.scores, widths, proof=False)
            known[key] = cost(candidate)
        return known[key]

    return measure


def latency_of(models: Iterable[nn.Module], settings: PruneSettings) -> list[Latency]:
    """Wall time of each network, timed in turns."""
    onnx = settings.runtime == "onnx"
    runners = {
        str(i): onnx_runner(model, settings.imgsz, 1) if onnx else torch_runner(model, settings.imgsz)
        for i, model in enumerate(models)
    }
    times = measure_latency(runners, rounds=settings.latency_rounds, warmup=2, threads=1)
    return list(times.values())
