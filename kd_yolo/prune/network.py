"""A network in one state of its pruning: ranking its channels, cutting, recovering, measuring and saving it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.config.prune import ImportanceName, PruneSettings
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.prune.importance import build_importance, collect_gradients
from kd_yolo.prune.plan import Rules, Unit, Widths, best_channels, units_of, widths_of
from kd_yolo.prune.recover import recalibrate
from kd_yolo.yolo.data.batches import Images, batches, task_loss
from kd_yolo.yolo.evaluate import check_data
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from kd_yolo.yolo.files.quantized_state import refuse_quantized
from kd_yolo.yolo.heads import input_channels
from kd_yolo.yolo.measure import Latency, Size, measure_latency, measure_size, onnx_runner, torch_runner
from kd_yolo.yolo.prunable import head_maps


@dataclass(eq=False)
class Network:
    """One state of a network: as it was loaded, or after a step of its pruning.

    Its widths never change, a cut makes the next state: so its channels are traced once.

    Attributes:
        model: on its device.
        checkpoint: of the file that it was loaded from.
        settings: how it is pruned.
        scores: importance of each channel, (width,) by group name, on the CPU; empty before :meth:`rank`.
    """

    model: Any
    checkpoint: dict[str, Any]
    settings: PruneSettings
    scores: Mapping[str, Tensor] = field(default_factory=dict, init=False)

    @classmethod
    def load(cls, settings: PruneSettings) -> Network:
        """The network that is to be pruned.

        Raises:
            InputError: weights that cannot be pruned, or data whose classes are not theirs where labels are needed.
            ConfigError: no such device.
        """
        device = choose_device(settings.device)
        model, checkpoint = load_checkpoint(settings.model, trust=settings.trust_weights)
        refuse_quantized(model, str(settings.model), "to prune")
        network = cls(model.to(device), checkpoint, settings)
        network._check_data()
        return network

    def _check_data(self) -> None:
        """Statistics need images, Taylor importance labels of the model's classes.

        Raises:
            InputError: the data of the settings has neither.
        """
        data = self.settings.data
        if data is None:
            return
        if self.settings.criterion != "taylor":
            if self.model.task != "classify":
                read_data_yaml(data, ())
            return
        try:
            check_data(self.model, data, "train")
        except InputError as error:
            raise InputError(f"{error} Or rank channels without labels: --importance l2.") from None

    @cached_property
    def graph(self) -> ChannelGraph:
        """Which channels belong together."""
        parameter, side_px = next(self.model.parameters()), 2 * max(int(self.model.stride.max()), 32)
        image_nchw = torch.zeros(1, input_channels(self.model), side_px, side_px, device=parameter.device)
        return ChannelGraph(self.model, image_nchw, self.settings.ignore)

    @property
    def widths(self) -> Widths:
        """Channels of each group."""
        return widths_of(self.graph.groups)

    @property
    def units(self) -> list[Unit]:
        """Groups that must stay equally wide, together."""
        return units_of(self.graph.groups)

    @property
    def rules(self) -> Rules:
        """The widths that a plan may use."""
        return Rules(self.settings.round_to, self.settings.min_channels)

    @property
    def images(self) -> Images:
        """The training images of the settings."""
        settings = self.settings
        assert settings.data is not None, "asked for with data only"
        return Images(settings.data, settings.imgsz, settings.batch, settings.seed)

    def rank(self, criterion: ImportanceName | None = None) -> None:
        """Finds out how much each channel matters.

        Args:
            criterion: another importance than that of the settings.

        Raises:
            ConfigError: nothing can be pruned, or ``ignore`` covers nothing.
            InputError: the network cannot be pruned, or the data cannot be used.
        """
        criterion = criterion or self.settings.criterion
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        if criterion == "taylor":
            collect_gradients(self.model, self._losses())
            self.__dict__.pop("graph", None)  # one that is open already has no gradients
        scores = self.graph.scores(build_importance(criterion, ranks_globally=self.settings.ranks_globally))
        # scores that are all zero, divided by their mean, are zero again
        self.scores = {name: score.cpu().nan_to_num(0.0) for name, score in scores.items()}
        self.model.zero_grad(set_to_none=True)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        if not self.scores:
            raise ConfigError("nothing can be pruned: every layer is fixed or ignored.")

    def _losses(self) -> Iterator[Tensor]:
        """The loss of each batch.

        Raises:
            InputError: none of the images has a label, so that the loss says nothing about finding things.
        """
        count, labels = self.settings.batches * self.settings.batch, 0
        with task_loss(self.model) as loss:
            for batch in batches(self.model, self.images, count):
                labels += len(batch["cls"])
                yield loss(batch)
        if not labels:
            raise InputError(
                f"none of the {count} images taken from {self.settings.data} has a label: more --batches, or"
                " --importance l2."
            )

    def cut(self, widths: Mapping[str, int], *, proof: bool = True) -> Network:
        """The network with the best channels of each group; this one stays as it is.

        Args:
            widths: channels that stay, by group name.
            proof: check that nothing but the others went; copies that are only measured can do without.
        """
        model = copy.deepcopy(self.model)
        self.graph.cut(best_channels(self.scores, widths), model, proof=proof)
        return replace(self, model=model)

    def recover(self, num_images: int) -> None:
        """Re-estimates the BatchNorm statistics on some training images, with labels or without."""
        augmented = replace(self.images, augment=True)  # statistics as the network had them in training
        found = (batch["img"] for batch in batches(self.model, augmented, num_images))
        recalibrate(self.model, found, head_maps)

    def measure(self) -> Size:
        """Layers, parameters and GFLOPs, at the settings' image size."""
        return measure_size(self.model, self.settings.imgsz)

    def reload(self, path: Path) -> Network:
        """The network of another file, on the same device."""
        model, _ = load_checkpoint(path, trust=self.settings.trust_weights)
        return replace(self, model=model.to(next(self.model.parameters()).device))

    def require_widths(self, widths: Mapping[str, int]) -> None:
        """Checks that the widths are those of a plan: plain ``yolo train``, for one, puts all channels back.

        Raises:
            KDYoloError: they are others.
        """
        found = self.widths
        wrong = [f"{name}: {found.get(name)}, not {n}" for name, n in widths.items() if found.get(name) != n]
        if wrong:
            raise KDYoloError(f"the network no longer has the widths of its plan: {', '.join(wrong[:5])}.")

    def save(self, path: Path, history: Mapping[str, Any]) -> Path:
        """Writes a plain checkpoint; ``history`` says how the network was pruned."""
        return save_pruned(path, self.model, self.checkpoint, dict(history))


def latency_of(networks: Sequence[Network]) -> list[Latency]:
    """Wall time of each network, timed in turns."""
    settings = networks[0].settings
    onnx = settings.runtime == "onnx"
    runners = {
        str(i): onnx_runner(one.model, settings.imgsz, 1) if onnx else torch_runner(one.model, settings.imgsz)
        for i, one in enumerate(networks)
    }
    times = measure_latency(runners, rounds=settings.latency_rounds, warmup=2, threads=1)
    return list(times.values())
