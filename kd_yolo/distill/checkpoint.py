"""Checkpoints of a distillation run: written atomically, exact on resume, and plain students for everybody else."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import unwrap_model

from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.exact_resume import (
    TERMS,
    CarriedAccumulation,
    capture_mosaic,
    capture_random,
    exhaust_epoch,
    live_weights,
    pending_gradients,
    restore_mosaic,
    restore_random,
)
from kd_yolo.errors import KDYoloError
from kd_yolo.yolo.loading import load_checkpoint_dict
from kd_yolo.yolo.saving import save_atomically

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer as _Base
else:
    _Base = object

STATE = "kd_yolo"  # top-level key of a checkpoint; upstream ignores keys that it does not know


class CheckpointMixin(_Base):
    """Saving, resuming and recovering a run; the other half of :class:`~kd_yolo.distill.trainer.DistillationMixin`."""

    kd_config: DistillConfig
    wdir: Path
    last: Path
    best: Path
    _last_step = -1
    _carried: CarriedAccumulation | None = None

    def _setup_train(self) -> None:
        super()._setup_train()
        self.ema.ema._modules.pop(TERMS, None)  # the deep copy left a None there

    # -- save ----------------------------------------------------------------------------------------------------------
    def save_model(self) -> bool:
        """Writes ``last.pt`` (with the state for an exact resume), ``best.pt`` and ``epochN.pt``, each atomically.

        Raises:
            KDYoloError: the disk is full or not writable; the previous checkpoints are untouched.
        """
        try:
            with self._staged_weights() as stage:
                saved = super().save_model()
                if (stage / "last.pt").is_file():
                    self._add_state(stage / "last.pt")
            return bool(saved)
        except (OSError, KDYoloError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(reason, OSError):
                raise
            raise KDYoloError(
                f"the checkpoint of epoch {self.epoch + 1} could not be written to {self.wdir} "
                f"({reason.strerror or reason}). {self._way_out()}"
            ) from reason

    def _way_out(self) -> str:
        if not self.last.is_file():
            return "Make room, or choose another folder with project=, and start again."
        return f"The previous one is unharmed: make room, then continue with --resume {self.last}"

    @contextlib.contextmanager
    def _staged_weights(self) -> Iterator[Path]:
        """Points upstream's file names into a folder beside the real one; renames the files when all are written."""
        real = self.wdir, self.last, self.best
        stage = self.wdir / ".partial"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        self.wdir, self.last, self.best = stage, stage / "last.pt", stage / "best.pt"
        try:
            yield stage
            for file in sorted(stage.iterdir()):
                file.replace(real[0] / file.name)
        finally:
            self.wdir, self.last, self.best = real
            shutil.rmtree(stage, ignore_errors=True)

    def _add_state(self, path: Path) -> None:
        """Replaces upstream's half-precision copies by exact ones and adds what it does not save."""
        ckpt = self._load_own(path)
        ema = deepcopy(self.ema.ema).to(memory_format=torch.contiguous_format)
        ema.criterion = None
        ckpt.update(ema=ema, optimizer=self.optimizer.state_dict())
        ckpt[STATE] = self._exact_state()
        save_atomically(ckpt, path)

    def _exact_state(self) -> dict[str, Any]:
        model = unwrap_model(self.model)
        terms = getattr(model, TERMS)
        return {
            "weights": live_weights(model),
            "terms": {k: v.cpu() for k, v in terms.state_dict().items()},
            "gradients": pending_gradients(model),
            "last_step": self._last_step,
            "random": capture_random(self.train_loader),
            "mosaic": capture_mosaic(self.train_loader.dataset),
        }

    def _load_own(self, path: Path) -> dict[str, Any]:
        """A checkpoint of this run; it holds classes outside the allow-list only if the user trusted such a student."""
        return load_checkpoint_dict(path, trust=self.kd_config.trust_weights)

    # -- resume and recovery -------------------------------------------------------------------------------------------
    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Upstream's resume, then everything that it does not restore."""
        if ckpt is None or not self.resume:
            super().resume_training(ckpt)
            return
        with self.plain_student():
            super().resume_training(ckpt)
        self._trim_results()
        state = ckpt.get(STATE)
        if state is None:
            LOGGER.warning(f"kd-yolo: {self.args.model} has no exact state: adapters and random states start anew")
            return
        self._restore_parameters(state)
        if self.world_size <= 1:
            self._restore_flow(state)

    def _restore_parameters(self, state: dict[str, Any]) -> None:
        model = unwrap_model(self.model)
        with self.plain_student():
            model.load_state_dict(state["weights"])
        getattr(model, TERMS).load_state_dict(state["terms"])

    def _restore_flow(self, state: dict[str, Any]) -> None:
        """Random states, data order, mosaic buffer and accumulated gradients, as at the end of the saved epoch."""
        loader = self.train_loader
        if loader.num_workers == 0:  # worker processes have copies of the data set, which only upstream's reset reaches
            restore_mosaic(loader.dataset, state["mosaic"])
            if self.args.close_mosaic and self.start_epoch > self.epochs - self.args.close_mosaic:
                loader.reset = lambda: None  # the loop closes mosaic again: the loader was reset when it first closed
            exhaust_epoch(loader)
        restore_random(state["random"], loader)
        self._last_step = state["last_step"]
        self._carried = CarriedAccumulation(state["gradients"], state["last_step"])

    def _trim_results(self) -> None:
        """Drops rows of ``results.csv`` that were written after the checkpoint, or cut off in the middle."""
        if RANK not in {-1, 0} or not self.csv.is_file():
            return
        header, *rows = self.csv.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        if not header.endswith("\n"):  # upstream writes the header into a new file only
            self.csv.unlink()
            return
        columns = header.count(",")
        kept = [r for r in rows if r.endswith("\n") and r.count(",") == columns and _epoch_of(r) <= self.start_epoch]
        partial = self.csv.with_suffix(".partial")
        partial.write_text("".join([header, *kept]), encoding="utf-8")
        partial.replace(self.csv)

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Upstream's recovery from ``last.pt``, then the terms: they may hold the NaN as well."""
        with self.plain_student():
            recovered = bool(super()._handle_nan_recovery(epoch))
        if recovered:
            state = self._load_own(self.last).get(STATE)
            if state is not None:
                getattr(unwrap_model(self.model), TERMS).load_state_dict(state["terms"])
        return recovered

    def optimizer_step(self) -> None:
        """Upstream's step, unless accumulation was carried over a resume and the step is not yet due."""
        step = self._global_step()
        if self._carried is not None:
            if not self._carried.is_due(self, step):
                return
            self._carried = None
        self._last_step = step
        super().optimizer_step()

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        batch = super().preprocess_batch(batch)
        if self._carried is not None and unwrap_model(self.model).training:
            self._carried.begin_batch(self, unwrap_model(self.model))
        return batch

    def _global_step(self) -> int:
        """Index of the current batch over the whole run, as the training loop counts it."""
        return int(self._batches_seen - 1 + len(self.train_loader) * self.epoch)

    def final_eval(self) -> None:
        """Drops the resume state from the finished checkpoints, leaving a line on where the student came from."""
        if RANK in {-1, 0}:
            for path in (self.last, self.best):
                if path.is_file():
                    ckpt = self._load_own(path)
                    ckpt[STATE] = {"config": self.args.kd["config"]}
                    vars(ckpt["ema"].args).pop("kd", None)
                    save_atomically(ckpt, path)
        super().final_eval()


def _epoch_of(row: str) -> int:
    try:
        return int(float(row.split(",", 1)[0]))
    except ValueError:
        return 1 << 30
