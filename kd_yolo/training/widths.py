"""Widths that survive training: a pruned network is trained as it is, not built again from its YAML.

Ultralytics builds every network that it trains from the model's YAML and copies the weights that fit. The YAML
describes the widths before pruning, so a pruned network comes out unpruned and mostly untrained, without a word. One
override of ``get_model`` serves training, resuming, DDP and distillation: they all go through it.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import ultralytics.nn.tasks as tasks
from torch import nn
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import strip_qat

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.yolo.classes import num_classes, set_classes
from kd_yolo.yolo.files.pruned_file import is_pruned

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer as _Base
else:
    _Base = object


class WidthsMixin(_Base):
    """Trains a pruned network with its own widths; any other one exactly as upstream does."""

    def get_model(self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True) -> nn.Module:
        """A copy of ``weights`` if it is pruned, else what upstream builds.

        Raises:
            ConfigError: ``pretrained=`` or the data ask for another network than the pruned one.
            InputError: the network is fused.
        """
        self._check_pretrained(weights)
        if weights is None or not is_pruned(weights):
            return super().get_model(cfg, weights, verbose)  # type: ignore[no-any-return]
        model = self._copy(weights)
        if RANK in {-1, 0}:
            count = sum(p.numel() for p in model.parameters())
            LOGGER.info(f"kd-yolo: {self.args.model} is pruned: its own {count:,} parameters are trained")
        return model

    def _copy(self, weights: Any) -> nn.Module:
        if weights.is_fused():
            raise InputError(f"{self.args.model} is fused for inference and cannot be trained: open its file again.")
        self._check_data(weights)
        model = deepcopy(weights).float().train().requires_grad_(True)
        strip_qat(model)  # of a resumed run; upstream quantises what it gets
        for key in ("args", "task", "pt_path", "criterion"):  # facts of the old file, which a new model has not either
            vars(model).pop(key, None)
        model._modules.pop("criterion", None)  # RT-DETR's is a module
        classes, before = int(self.data["nc"]), num_classes(weights)
        if classes != before:
            set_classes(model, classes)
            if RANK in {-1, 0}:
                LOGGER.info(
                    f"kd-yolo: the data has {classes} classes, the network {before}: the last layers of its class"
                    " branch start again, all other weights stay"
                )
        for module in model.modules():
            if isinstance(module, nn.Dropout) and self.args.dropout:  # as upstream does for classification
                module.p = self.args.dropout
        model.names = self.data["names"]
        return model  # type: ignore[no-any-return]

    def _check_pretrained(self, weights: nn.Module | None) -> None:
        """``pretrained=False`` and ``pretrained=other.pt`` have upstream build from the YAML."""
        pretrained = self.args.pretrained
        if self.resume or pretrained is True:
            return
        source = str(self.args.model)
        is_file_pruned = source.endswith(".pt") and is_pruned(tasks.load_checkpoint(source)[0])
        if is_file_pruned or (weights is not None and is_pruned(weights)):
            raise ConfigError(
                f"pretrained={pretrained}: a pruned network cannot be built from its YAML, its weights and widths are"
                " one. Leave pretrained= out and name the pruned file as the model."
            )

    def _check_data(self, weights: Any) -> None:
        own = next(m for m in weights.modules() if isinstance(m, nn.Conv2d)).in_channels
        if own != self.data["channels"]:
            raise ConfigError(
                f"{self.args.model} takes images of {own} channels, the data has {self.data['channels']}."
            )
        shape, wanted = getattr(weights.model[-1], "kpt_shape", None), self.data.get("kpt_shape")
        if shape is not None and list(shape) != list(wanted):
            raise ConfigError(f"{self.args.model} predicts key points of shape {list(shape)}, the data has {wanted}.")
