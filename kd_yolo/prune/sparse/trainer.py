"""The sparse trainer: training in which a wanted share of the BatchNorm gammas becomes exactly zero."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import strip_optimizer, unwrap_model

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_bytes
from kd_yolo.config.options import SparseOptions
from kd_yolo.prune.sparse.gammas import GammaGroup, find_gammas
from kd_yolo.prune.sparse.penalty import shrink, zero_share
from kd_yolo.prune.sparse.rates import rates_after
from kd_yolo.training.end import finish_checkpoint, handed_over, without_state
from kd_yolo.training.trainers import TrainerMixin
from kd_yolo.yolo.files.saving import save_atomically

SPARSE_FILE = "sparse.pt"
GAMMAS_FILE = "gammas.npz"
HOLD = 0.2  # share of the sum of all learning rates that is left when the zeros are complete: the others adapt to them


class SparseSettings(SparseOptions):
    """What sparse training takes beside ultralytics' arguments.

    Attributes:
        norms: names of BatchNorm layers; None is all behind channels that pruning can cut, and gammas of channels that
            can only be cut together become zero together.
    """

    norms: list[str] | None = None


class SparseMixin(TrainerMixin):
    """Sparse training for any ultralytics trainer; takes ``sparsity`` and ``norms``, see :class:`SparseSettings`.

    The result is ``weights/sparse.pt``, the weights of the last epoch, which have the zeros; ``best.pt`` is the epoch
    with the highest accuracy and so the least sparse one. ``results.csv`` has each epoch's share of zeros and lambda,
    ``gammas.npz`` the sizes of all gammas ``before`` and ``after``.

    Raises:
        ConfigError: settings that do not fit, ``time=``, layers that are no BatchNorm, all of them frozen.
    """

    kind = "sparse training"
    flags = ("sparsity", "norms")
    _groups: tuple[GammaGroup, ...]
    _param_group: int  # the optimizer's; rates of several rise and fall together
    _before: Tensor
    _lambda: Tensor | float = 0.0

    # -- settings ------------------------------------------------------------------------------------------------------
    def settle(self, saved: dict[str, Any] | None, flags: dict[str, Any]) -> dict[str, Any]:
        self.sparse = SparseSettings.parse({**(saved or {}), **flags}, self.kind)
        config = self.sparse.model_dump()
        changed = [key for key in flags if saved is not None and config[key] != saved[key]]
        if changed:
            raise ConfigError(f"a resumed run keeps its {', '.join(changed)}: start a new run to change them.")
        if self.args.time:
            raise ConfigError("time= does not go with sparse training, its lambda follows from epochs=: use that.")
        if self.args.quantize:
            raise ConfigError("quantize= does not go with sparse training: prune first, then train for INT8.")
        self.args.patience = 0  # the zeros are complete after the last epoch, and accuracy falls on the way
        return config

    # -- step ----------------------------------------------------------------------------------------------------------
    def build_optimizer(self, model: nn.Module, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Upstream's optimizer, with the proximal step as a hook behind each of its steps.

        The hook comes before the EMA takes its share of the step, and after a step that was made: AMP skips some (not
        those of fused Adam, which skips inside).
        """
        optimizer: torch.optim.Optimizer = super().build_optimizer(model, *args, **kwargs)
        self._groups = find_gammas(unwrap_model(model), self.sparse.norms)
        self._before = self._sizes()
        gamma = unwrap_model(model).get_submodule(self._groups[0][0].norm).weight
        self._param_group = next(
            i for i, g in enumerate(optimizer.param_groups) if any(p is gamma for p in g["params"])
        )
        optimizer.register_step_post_hook(lambda stepped, *_: self._shrink(stepped))
        return optimizer

    def _shrink(self, optimizer: torch.optim.Optimizer) -> None:
        group = optimizer.param_groups[self._param_group]
        now = group["lr"] / group["initial_lr"]
        if now > 0:  # the first step of warm-up has rate 0
            left = self._rates_after(self.global_batch) - HOLD * self._rates_after(-1)
            thresholds = shrink(self._gammas(), self.sparse.sparsity, 1 + max(left, 0.0) / now)
            self._lambda = thresholds.mean() / group["lr"]

    def _gammas(self) -> list[list[Tensor]]:
        model = unwrap_model(self.model)
        return [[part.of(model) for part in group] for group in self._groups]

    def _rates_after(self, batch: int) -> float:
        batches = len(self.train_loader)
        every = min(max(round(self.args.nbs / self.batch_size), 1), batches * self.epochs)  # as upstream
        return rates_after(batch, every=every, batches=batches, epochs=self.epochs, factor=self.lf)

    def _sizes(self) -> Tensor:
        return torch.cat([gamma.abs().float().cpu() for group in self._gammas() for gamma in group])

    # -- epoch ---------------------------------------------------------------------------------------------------------
    def run_callbacks(self, event: str) -> None:
        """Before an epoch is validated, gives the EMA the zeros of the live model: an average lags behind."""
        if event == "on_train_epoch_end":
            for part in (part for group in self._groups for part in group):
                part.of(self.ema.ema).masked_fill_(part.of(unwrap_model(self.model)) == 0, 0)
        super().run_callbacks(event)

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        """Adds the share of zeros and the latest lambda, the mean over all groups, to ``results.csv``."""
        own = {"sparse/zeros": zero_share(self._gammas()), "sparse/lambda": float(self._lambda)}
        super().save_metrics({**metrics, **own})

    # -- checkpoints ---------------------------------------------------------------------------------------------------
    def own_state(self) -> dict[str, Any]:
        return {"gammas": self._before, "lambda": float(self._lambda)}

    def restore_own_state(self, state: dict[str, Any]) -> None:
        self._before, self._lambda = state["gammas"], state["lambda"]

    def add_files(self, stage: Path) -> None:
        """After the last epoch: ``sparse.pt``, and the sizes of the gammas."""
        if not self.stop:
            return
        sparse = stage / SPARSE_FILE
        plain = without_state(self.load_own(stage / "last.pt"))
        save_atomically(plain, sparse)
        with handed_over(plain):
            strip_optimizer(sparse)
        sizes = io.BytesIO()
        np.savez(sizes, before=self._before.numpy(), after=self._sizes().numpy())
        write_bytes(self.save_dir / GAMMAS_FILE, sizes.getbuffer())
        share, count = zero_share(self._gammas()), self._before.numel()
        LOGGER.info(f"kd-yolo: {share:.1%} of {count:,} gammas are zero, wanted {self.sparse.sparsity:.1%}")

    # -- end -----------------------------------------------------------------------------------------------------------
    def final_eval(self) -> None:
        """Upstream's end of a run, with the sparse weights in the place of the best ones: they are validated."""
        if (self.wdir / SPARSE_FILE).is_file():
            if RANK in {-1, 0}:
                finish_checkpoint(self.best)
            self.best = self.wdir / SPARSE_FILE
        super().final_eval()

    def train(self) -> None:
        """Upstream's; afterwards ``best`` is the sparse weights, which ``YOLO.train`` goes on with, after DDP too."""
        super().train()
        if (self.wdir / SPARSE_FILE).is_file():
            self.best = self.wdir / SPARSE_FILE


class SparseTrainer(SparseMixin, DetectionTrainer):
    """Trains a detector sparse: ``YOLO("yolov8n.pt").train(trainer=SparseTrainer, sparsity=0.5, data=...)``."""


class SegmentSparseTrainer(SparseMixin, SegmentationTrainer):
    """Trains a segmentation network sparse."""


class PoseSparseTrainer(SparseMixin, PoseTrainer):
    """Trains a pose network sparse."""


class OBBSparseTrainer(SparseMixin, OBBTrainer):
    """Trains an oriented-box network sparse."""


class ClassifySparseTrainer(SparseMixin, ClassificationTrainer):
    """Trains a classifier sparse."""


class RTDETRSparseTrainer(SparseMixin, RTDETRTrainer):
    """Trains an RT-DETR detector sparse."""


SPARSE_TRAINERS: dict[str, Any] = {
    "detect": SparseTrainer,
    "segment": SegmentSparseTrainer,
    "pose": PoseSparseTrainer,
    "obb": OBBSparseTrainer,
    "classify": ClassifySparseTrainer,
    "rtdetr": RTDETRSparseTrainer,
}
