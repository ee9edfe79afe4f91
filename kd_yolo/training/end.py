"""The end of a run, in an order that a kill cannot spoil: ``last.pt`` is finished when everything else is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ultralytics.nn.tasks as tasks
from ultralytics.utils import LOCAL_RANK, LOGGER, RANK, torch_utils
from ultralytics.utils.torch_utils import strip_optimizer, torch_distributed_zero_first

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import written_beside
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.lock import holding
from kd_yolo.yolo.files.saving import save_atomically
from kd_yolo.yolo.quiet import quiet

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer as _Base
else:
    _Base = object

STATE = "kd_yolo"  # top-level key of a checkpoint; upstream ignores keys that it does not know
ENDED = "ended"  # in it: no epoch is left


class EndMixin(_Base):
    """Holds the run's folder while it trains, and ends the run; also one that was killed after its last epoch."""

    last: Path
    best: Path

    def train(self) -> None:
        """Upstream's training, while no other process works in the folder.

        Raises:
            ConfigError: another process trains there.
        """
        if RANK != -1:  # a worker: the process that started it holds the folder
            super().train()
            return
        with holding(Path(self.save_dir)):
            remove_leftovers(Path(self.save_dir), Path(self.wdir))
            super().train()

    def _do_train(self) -> None:
        """Upstream's loop; of a run whose epochs are all done, what comes behind the loop."""
        if self.resume and is_trained(load(Path(self.args.model))):
            self._do_end()
        else:
            super()._do_train()

    def _do_end(self) -> None:
        if self.world_size > 1:
            self._setup_ddp()
        self._setup_train()
        self.epoch, self.stop = self.start_epoch - 1, True
        self.epoch_time, self.train_time_start = None, time.time()
        LOGGER.info("kd-yolo: all epochs of this run are done; finishing its checkpoints and its evaluation")
        self.final_eval()
        if RANK in {-1, 0}:
            if self.args.plots:
                self.plot_metrics()
            self.run_callbacks("on_train_end")
        self._clear_memory()

    def final_eval(self) -> None:
        """Finishes ``best.pt`` and validates it. As upstream's, which writes both checkpoints in place."""
        with torch_distributed_zero_first(LOCAL_RANK):
            if RANK in {-1, 0}:
                finish_checkpoint(self.best, {"train_results": self.read_results_csv()})
        if not self.best.is_file():
            return
        LOGGER.info(f"\nValidating {self.best}...")
        self.validator.args.plots = self.args.plots
        self.validator.args.compile = False
        self.metrics = self.validator(model=self.best)
        self.metrics.pop("fitness", None)
        self.epoch += 1  # upstream's callbacks log the best metrics behind the last epoch
        self.run_callbacks("on_fit_epoch_end")
        self.epoch -= 1

    def run_callbacks(self, event: str) -> None:
        """Finishes ``last.pt`` when plots and evaluation are made: it is what tells how far the run got."""
        if event == "on_train_end" and RANK in {-1, 0}:
            finish_checkpoint(self.last)
        super().run_callbacks(event)


def is_trained(ckpt: dict[str, Any]) -> bool:
    """Whether no epoch is left to the run of this checkpoint.

    Raises:
        InputError: the checkpoint does not say.
    """
    state = ckpt.get(STATE)
    if isinstance(state, dict) and ENDED in state:
        return bool(state[ENDED])
    try:
        epochs = int((ckpt.get("train_args") or {}).get("epochs", 0))
        return int(ckpt.get("epoch", -1)) + 1 >= epochs
    except (TypeError, ValueError, AttributeError):
        raise InputError("the checkpoint does not say which epoch it is of: it cannot be resumed.") from None


def without_state(ckpt: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without what a resume needs of ours; the run's settings stay, under a key of their own."""
    kd = (ckpt.get("train_args") or {}).pop("kd", None)
    if kd is not None:
        ckpt[STATE] = {key: value for key, value in kd.items() if key not in ("data", "data_sha256", "measured")}
    for key in ("ema", "model"):
        arguments = getattr(ckpt.get(key), "args", None) or {}
        (arguments if isinstance(arguments, dict) else vars(arguments)).pop("kd", None)
    return ckpt


def finish_checkpoint(path: Path, updates: dict[str, Any] | None = None) -> None:
    """Turns a checkpoint that can be resumed into a plain model, by one rename.

    Args:
        path: ``best.pt`` or ``last.pt``; nothing happens when it is missing or finished.
        updates: keys of the checkpoint that get other values.
    """
    if not path.is_file():
        return
    ckpt = load(path)
    if ckpt.get("optimizer") is None:
        return
    with written_beside(path) as part:
        plain = save_atomically(without_state(ckpt), part)  # first, as it says why a disk takes nothing more
        with quiet(), handed_over(ckpt):
            strip_optimizer(plain, updates=updates)
    LOGGER.info(f"Optimizer stripped from {path}, {path.stat().st_size / 1e6:.1f}MB")


@contextmanager
def handed_over(ckpt: dict[str, Any]) -> Iterator[None]:
    """Inside, ``strip_optimizer`` takes this checkpoint and opens no file: it would be the one just written."""
    before = torch_utils.torch_load
    vars(torch_utils).update(torch_load=lambda *_, **__: ckpt)
    try:
        yield
    finally:
        vars(torch_utils).update(torch_load=before)


def load(path: Path) -> dict[str, Any]:
    """By ultralytics' own name, which stands for our loader (``enforce_safe_loading``) and knows the trusted files."""
    return tasks.torch_safe_load(path)[0]  # type: ignore[no-any-return]
