"""Checkpoints of a run: written atomically, exact on resume, and plain models for everybody else."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import strip_qat, unwrap_model

from kd_yolo.base.errors import KDYoloError
from kd_yolo.base.files import unfinished, write_bytes
from kd_yolo.training.end import ENDED, STATE, EndMixin, is_trained, load
from kd_yolo.training.exact_resume import (
    CarriedAccumulation,
    capture_mosaic,
    capture_random,
    exhaust_epoch,
    live_weights,
    mixed_in,
    pending_gradients,
    restore_mosaic,
    restore_random,
)
from kd_yolo.yolo.files.saving import save_atomically

__all__ = ["STATE", "CheckpointMixin"]


class CheckpointMixin(EndMixin):
    """Saving, resuming and recovering a run, for any ultralytics trainer with settings in ``args.kd``.

    Attributes:
        unsaved: what starts again when a checkpoint without our state is resumed, for the warning.
    """

    unsaved = "random states"
    wdir: Path
    last: Path
    best: Path
    _batches_seen = 0
    _last_step = -1
    _opens = False  # whether a checkpoint of this run was opened as everybody has to open it
    _carried: CarriedAccumulation | None = None

    # -- what a trainer has beside the model ---------------------------------------------------------------------------
    @contextlib.contextmanager
    def plain_model(self) -> Iterator[None]:
        """Hides what a trainer registered on the model, while upstream loads state dicts strictly or copies the EMA."""
        yield

    def own_state(self) -> dict[str, Any]:
        """What a trainer needs for an exact resume beyond the model; plain containers and tensors."""
        return {}

    def restore_own_state(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`own_state` returned, after a resume and after a recovery from NaN."""

    def add_files(self, stage: Path) -> None:
        """Writes further files into ``stage``; they are renamed into the weights folder with upstream's own."""

    def load_own(self, path: Path) -> dict[str, Any]:
        """A checkpoint of this run, by the process's loading rules."""
        return load(path)

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
                    self.add_files(stage)
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
        stage = unfinished(self.wdir / "weights", "partial-epoch")
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        self.wdir, self.last, self.best = stage, stage / "last.pt", stage / "best.pt"
        try:
            yield stage
            # last.pt at the end: it is what tells how far the run got
            for file in sorted(stage.iterdir(), key=lambda file: (file.name == "last.pt", file.name)):
                file.replace(real[0] / file.name)
        finally:
            self.wdir, self.last, self.best = real
            shutil.rmtree(stage, ignore_errors=True)

    def _add_state(self, path: Path) -> None:
        """Replaces upstream's half-precision copies by exact ones and adds what it does not save."""
        # what nobody could open later ends the run at its first save; from then on this process trusts what it wrote
        ckpt = torch.load(path, map_location="cpu", weights_only=False) if self._opens else self.load_own(path)
        self._opens = True
        ema = deepcopy(self.ema.ema).to(memory_format=torch.contiguous_format)
        ema.criterion = None
        strip_qat(ema)  # as upstream does: the classes of quantised layers are made at runtime
        ckpt.update(ema=ema, optimizer=self.optimizer.state_dict())
        ckpt[STATE] = self._exact_state()
        save_atomically(ckpt, path)

    def _exact_state(self) -> dict[str, Any]:
        model = unwrap_model(self.model)
        with self.plain_model():
            weights = live_weights(model)
        return {
            "weights": weights,
            "gradients": pending_gradients(model),
            "last_step": self._last_step,
            ENDED: bool(self.stop),
            "random": capture_random(self.train_loader),
            "mosaic": capture_mosaic(self.train_loader.dataset),
            "mosaic_mixed_in": [capture_mosaic(dataset) for dataset in mixed_in(self.train_loader.dataset)],
            **self.own_state(),
        }

    # -- resume and recovery -------------------------------------------------------------------------------------------
    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Upstream's resume, then everything that it does not restore."""
        if ckpt is None or not self.resume:
            super().resume_training(ckpt)
            return
        trained = is_trained(ckpt)
        with self.plain_model():
            if trained:  # upstream refuses it
                self._load_checkpoint_state(ckpt)
                self.start_epoch = int(ckpt["epoch"]) + 1
            else:
                super().resume_training(ckpt)
        self._trim_results()
        state = ckpt.get(STATE)
        if state is None:
            LOGGER.warning(f"kd-yolo: {self.args.model} has no exact state: {self.unsaved} start again")
            return
        with self.plain_model():
            unwrap_model(self.model).load_state_dict(state["weights"])
        self.restore_own_state(state)
        if self.world_size <= 1 and not trained:
            self._restore_flow(state)

    def _restore_flow(self, state: dict[str, Any]) -> None:
        """Random states, data order, mosaic buffer and accumulated gradients, as at the end of the saved epoch."""
        loader = self.train_loader
        if loader.num_workers == 0:  # worker processes have copies of the data set, which only upstream's reset reaches
            restore_mosaic(loader.dataset, state["mosaic"])
            for dataset, indices in zip(mixed_in(loader.dataset), state.get("mosaic_mixed_in", ()), strict=False):
                restore_mosaic(dataset, indices)
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
        write_bytes(self.csv, "".join([header, *kept]).encode())

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Upstream's recovery from ``last.pt``, then what is ours: it may hold the NaN as well."""
        with self.plain_model():
            recovered = bool(super()._handle_nan_recovery(epoch))
        if recovered:
            state = self.load_own(self.last).get(STATE)
            if state is not None:
                self.restore_own_state(state)
        return recovered

    # -- step ----------------------------------------------------------------------------------------------------------
    def run_callbacks(self, event: str) -> None:
        """Counts batches of the epoch; an out-of-memory retry restarts the epoch and with it the count."""
        if event == "on_train_epoch_start":
            self._batches_seen = 0
        super().run_callbacks(event)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepares the batch, and counts it if it is trained on."""
        batch = super().preprocess_batch(batch)
        if unwrap_model(self.model).training:
            self._batches_seen += 1
            if self._carried is not None:
                self._carried.begin_batch(self, unwrap_model(self.model))
        return batch

    def optimizer_step(self) -> None:
        """Upstream's step, unless accumulation was carried over a resume and the step is not yet due."""
        step = self.global_batch
        if self._carried is not None:
            if not self._carried.is_due(self, step):
                return
            self._carried = None
        self._last_step = step
        super().optimizer_step()

    @property
    def global_batch(self) -> int:
        """Index of the current batch over the whole run, as the training loop counts it."""
        return int(self._batches_seen - 1 + len(self.train_loader) * self.epoch)


def _epoch_of(row: str) -> int:
    try:
        return int(float(row.split(",", 1)[0]))
    except ValueError:
        return 1 << 30
