"""Checks of the installed ultralytics; settings of our own processes: no telemetry, no installs, all threads."""

from __future__ import annotations

import inspect
import os

import torch

from kd_yolo.base.environment import guard_environment
from kd_yolo.base.errors import ConfigError, MissingDependencyError
from kd_yolo.base.extras import is_installed

SUPPORTED = ">=8.4.183,<8.5"
SEAMS = (
    "check_resume",
    "get_dataset",
    "set_model_attributes",
    "preprocess_batch",
    "get_validator",
    "save_model",
    "resume_training",
    "_handle_nan_recovery",
    "final_eval",
    "label_loss_items",
    "_clear_memory",
    "optimizer_step",
    "_setup_train",
)


def prepare_process() -> None:
    """Sets up a process of ours; the frame of every command calls it, before ultralytics is imported.

    No pip installs at run time, no analytics, checkpoints are loaded by our rules, and all cores: importing ultralytics
    sets ``OMP_NUM_THREADS`` to 1 when the user has not set it, and choosing the CPU sets torch to one thread less than
    there are cores: one of two.
    """
    guard_environment()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    switch_off_telemetry()
    from ultralytics.utils import torch_utils

    from kd_yolo.yolo.files.safe_mode import enforce_safe_loading

    torch_utils.NUM_THREADS = threads
    enforce_safe_loading()


def switch_off_telemetry() -> None:
    """Switches off the analytics of ultralytics and of OpenVINO for this process, in memory.

    The user's settings files are not touched. OpenVINO's converter sends unless the user has declined.
    """
    from ultralytics.utils.events import events

    events.enabled = False
    if is_installed("openvino_telemetry"):
        from openvino_telemetry.utils.opt_in_checker import ConsentCheckResult, OptInChecker

        OptInChecker.check = lambda *_args, **_options: ConsentCheckResult.DECLINED


def check_ultralytics() -> str:
    """Checks once, at start-up, that the seams which the trainer overrides are there.

    Returns:
        The version of ultralytics.

    Raises:
        MissingDependencyError: the version lies outside the supported range.
        ConfigError: a seam is missing although the version number fits.
    """
    import ultralytics
    from packaging.specifiers import SpecifierSet
    from ultralytics.engine import trainer
    from ultralytics.engine.trainer import BaseTrainer
    from ultralytics.nn.tasks import BaseModel

    if ultralytics.__version__ not in SpecifierSet(SUPPORTED):
        raise MissingDependencyError(
            f"ultralytics {ultralytics.__version__} is installed, kd-yolo needs {SUPPORTED}:"
            f" pip install 'ultralytics{SUPPORTED}'"
        )
    missing = [name for name in SEAMS if not hasattr(BaseTrainer, name)]
    missing += [name for name in ("prepare_qat", "restore_qat") if not hasattr(trainer, name)]
    if "self.criterion(preds, batch)" not in inspect.getsource(BaseModel.loss):
        missing.append("BaseModel.loss -> criterion")
    if missing:
        raise ConfigError(f"ultralytics {ultralytics.__version__} has changed: {', '.join(missing)} not found.")
    return str(ultralytics.__version__)
