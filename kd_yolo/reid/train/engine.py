"""The training loop: epochs of batches, a ranking of held-out identities after each, and checkpoints to resume from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import KDYoloError
from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
from kd_yolo.reid.model.contents import Identity
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.restore import as_input_error
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.train.distributed import World, average, average_gradients
from kd_yolo.reid.train.objective import Objective, Step
from kd_yolo.reid.train.optimizer import learning_rate, make_optimizer, set_learning_rate
from kd_yolo.reid.train.records import Records, Row, write_metrics
from kd_yolo.reid.train.state import restore_generator, restore_modules, restore_optimizer, under_terms

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """What a trainer stands on.

    Attributes:
        batches: the batches (crops, identity indices) of an epoch, by its number.
        num_batches: how many an epoch has.
        validate: metrics of the network on held-out identities; empty without any.
        identities: of the classifier's rows.
        folder: of the run.
        world: the processes that train together.
        say: takes a line for the user.
    """

    batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]]
    num_batches: int
    validate: Callable[[ReIDModel], dict[str, float]]
    identities: Sequence[Identity]
    folder: Path
    world: World
    say: Say


class Trainer:
    """Trains a network.

    Args:
        config: the run's.
        model: the network, on its device.
        objective: its losses, on the same device.
        stage: data, folder and processes.
    """

    def __init__(self, config: ReIDConfig, model: ReIDModel, objective: Objective, stage: Stage) -> None:
        self.config, self.model, self.objective, self.stage = config, model, objective, stage
        self.trained = nn.ModuleList([model, objective])
        self.optimizer = make_optimizer(self.trained, config.train)
        self.device = next(model.parameters()).device
        self.amp = config.train.amp and self.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.records = Records(stage.folder)
        self.epoch = 0
        self.best: dict[str, float] = {}

    @property
    def best_file(self) -> Path:
        """Weights of the best epoch."""
        return self.stage.folder / "weights" / "best.pt"

    @property
    def last_file(self) -> Path:
        """Weights of the last epoch, and until the end all that a resumed run needs."""
        return self.stage.folder / "weights" / "last.pt"

    def fit(self) -> Path:
        """Trains all epochs that are left.

        Returns:
            The weights of the best epoch by mAP on held-out identities; of the last where none are held out.

        Raises:
            KDYoloError: the loss is no longer finite.
        """
        started, first = time.monotonic(), self.epoch
        while self.epoch < self.config.train.epochs and not self._is_patience_over():
            begun = time.monotonic()
            row = self._train_epoch()
            trained_s = time.monotonic() - begun
            metrics = self.stage.validate(self.model)
            row |= {f"val/{key}": value for key, value in metrics.items()}
            self.epoch += 1
            self._close_epoch(row, metrics)
            done = self.epoch - first
            left_s = (time.monotonic() - started) / done * (self.config.train.epochs - self.epoch)
            self.stage.say(describe(row, self.config.train.epochs, self._images() / trained_s, left_s))
        if self.stage.world.is_main:
            self.records.draw()
            write_metrics(self.stage.folder, {"held out": self.best})
            save_checkpoint(self.last_file, self._checkpoint(self.records.rows[-1], with_state=False))
        return self.best_file

    def restore(self, checkpoint: Checkpoint, source: str = "the checkpoint") -> None:
        """Continues from a ``last.pt`` of a run that is not finished.

        Raises:
            InputError: its state is not that of such a run.
        """
        state: Any = checkpoint.extra["train"]
        restore_modules(self.model, dict(checkpoint.state_dict), source)
        restore_modules(self.objective, under_terms(state["objective"]), source)
        restore_optimizer(self.optimizer, state["optimizer"]["state"], self.config.train.optimizer, source)
        with as_input_error(source):
            self.scaler.load_state_dict(state["scaler"] or self.scaler.state_dict())  # it may have begun on a CPU
        restore_generator(state["generator"], source)
        self.records = Records(self.stage.folder, state["rows"])
        self.best, self.epoch = dict(state["best"]), checkpoint.epoch

    def _train_epoch(self) -> Row:
        self.model.train()
        self.objective.train()
        sums: dict[str, Tensor] = {}
        for number, (x_nchw, targets_n) in enumerate(self.stage.batches(self.epoch)):
            place = self.epoch + number / self.stage.num_batches
            set_learning_rate(self.optimizer, learning_rate(self.config.train, place))
            step = self._step(x_nchw.to(self.device), targets_n.to(self.device))
            values = {"train/loss": step.total.detach(), "accuracy": step.accuracy}
            values |= {f"train/{name}": value for name, value in step.parts.items()}
            sums = {key: sums.get(key, 0) + value for key, value in values.items()}
            if not math.isfinite(float(step.total.detach())):
                raise KDYoloError(self._not_finite(step))
        mean = average(torch.stack(list(sums.values())), self.stage.world) / self.stage.num_batches
        means = dict(zip(sums, mean.tolist(), strict=True))
        return {"epoch": self.epoch + 1, **means, "lr": self.optimizer.param_groups[0]["lr"]}

    def _step(self, x_nchw: Tensor, targets_n: Tensor) -> Step:
        with torch.autocast(self.device.type, enabled=self.amp):
            step: Step = self.objective(self.model, x_nchw, targets_n)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(step.total).backward()  # type: ignore[no-untyped-call]
        average_gradients(self.trained.parameters(), self.stage.world)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return step

    def _not_finite(self, step: Step) -> str:
        parts = ", ".join(f"{name} {float(value):.3g}" for name, value in step.parts.items())
        return (
            f"the loss is not finite in epoch {self.epoch + 1} ({parts}): lower train.lr={self.config.train.lr:g} or"
            f" raise train.warmup={self.config.train.warmup}. {self.last_file} holds the last whole epoch."
        )

    def _close_epoch(self, row: Row, metrics: dict[str, float]) -> None:
        is_best = not metrics or metrics["mAP"] >= self.best.get("mAP", -1.0)  # of equal epochs the latest
        if is_best:
            self.best = {"epoch": row["epoch"], **metrics}
        if not self.stage.world.is_main:
            self.records.rows.append(row)
            return
        self.records.add(row)
        if is_best:
            save_checkpoint(self.best_file, self._checkpoint(row, with_state=False))
        save_checkpoint(self.last_file, self._checkpoint(row, with_state=True))  # it tells how far the run got

    def _checkpoint(self, row: Row, *, with_state: bool) -> Checkpoint:
        extra: dict[str, Any] = {"settings": self.config.model_dump(mode="json")}
        if with_state:
            extra["train"] = {
                "objective": dict(self.objective.state_dict()),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "generator": torch.get_rng_state(),
                "rows": self.records.rows,
                "best": self.best,
            }
        metrics = {key.removeprefix("val/"): value for key, value in row.items() if key.startswith("val/")}
        return Checkpoint(self.model.config, self.model.state_dict(), self.stage.identities, metrics, self.epoch, extra)

    def _is_patience_over(self) -> bool:
        patience = self.config.train.patience
        values = [row.get("val/mAP", 0.0) for row in self.records.rows]
        return bool(patience and any(values) and self.epoch - (values.index(max(values)) + 1) >= patience)

    def _images(self) -> int:
        train = self.config.train
        return self.stage.num_batches * train.ids * train.images


def describe(row: Row, epochs: int, images_s: float, left_s: float) -> str:
    """One line about an epoch."""
    losses = ", ".join(f"{key[6:]} {value:.3g}" for key, value in row.items() if key.startswith("train/"))
    held_out = ", ".join(f"{key[4:]} {value:.3f}" for key, value in row.items() if key.startswith("val/"))
    tail = f"; held out: {held_out}" if held_out else ""
    return (
        f"epoch {row['epoch']:.0f}/{epochs}: {losses}; accuracy {row['accuracy']:.2f}, lr {row['lr']:.2g},"
        f" {images_s:.0f} images/s{tail}; {left_s / 60:.1f} min left"
    )
