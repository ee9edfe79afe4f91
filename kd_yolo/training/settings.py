"""Our own arguments beside ultralytics', and what is done to a data set before ultralytics sees it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ultralytics.cfg import get_save_dir
from ultralytics.utils import DEFAULT_CFG, RANK
from ultralytics.utils.torch_utils import unwrap_model

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.places import new_folder
from kd_yolo.data.check import check_for_training
from kd_yolo.data.resolve import resolved_data
from kd_yolo.training.end import load
from kd_yolo.training.provenance import say_left_out, write_provenance
from kd_yolo.training.resume import run_folder, saved_arguments, settle_data
from kd_yolo.yolo.arguments.check import check_trainer_arguments
from kd_yolo.yolo.arguments.fit import check_fits_data, check_fits_model
from kd_yolo.yolo.arguments.table import Command
from kd_yolo.yolo.files.safe_mode import enforce_safe_loading
from kd_yolo.yolo.guard import check_ultralytics, switch_off_telemetry

if TYPE_CHECKING:
    from ultralytics.engine.trainer import BaseTrainer as _Base
else:
    _Base = object

UNMARKED = "distillation"  # the kind of run whose settings do not name their kind


class SettingsMixin(_Base):
    """Takes its own arguments out of the overrides and keeps them in ``args.kd``: plain values, saved with the run.

    ``args.kd`` reaches DDP workers and resumed runs as ultralytics' own arguments do. It holds ``data`` (what the user
    gave), ``data_sha256``, ``kind`` and ``config`` (the settings).

    Attributes:
        kind: what the run does, for messages and for telling a run from one of another kind.
        flags: names of the arguments that are not ultralytics'.
        command: which column of the table of arguments holds for ultralytics'.

    Raises:
        ConfigError: settings that do not fit, or a run of another kind to resume.
        InputError: data that cannot be used.
    """

    kind = "retraining"
    flags: tuple[str, ...] = ()
    command: Command = "train"

    def __init__(self, cfg: Any = DEFAULT_CFG, overrides: dict[str, Any] | None = None, _callbacks: Any = None) -> None:
        check_ultralytics()
        switch_off_telemetry()
        enforce_safe_loading()
        overrides = dict(overrides or {})
        given = {key: overrides.pop(key) for key in (*self.flags, "kd") if key in overrides}
        self._kd: dict[str, Any] = given.pop("kd", None) or {}
        self._flags = {key: value for key, value in given.items() if value is not None}
        if self._kd.get("data") and not overrides.get("resume"):  # a DDP worker: the copy in the run folder is gone
            overrides["data"] = self._kd["data"]
        if RANK == -1:  # the processes of DDP get what was checked here
            check_trainer_arguments(overrides, self.command, own=self.flags)
        super().__init__(cfg, overrides, _callbacks)

    # -- what a trainer says about its settings ------------------------------------------------------------------------
    def settle(self, saved: dict[str, Any] | None, flags: dict[str, Any]) -> dict[str, Any]:
        """The settings of this run.

        Args:
            saved: those of the run that is resumed, or of the process that started this worker; None for a new run.
            flags: what was given now, without what is None.
        """
        del flags
        return saved or {}

    def saved_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """What a resumed run takes over of the settings in its checkpoint."""
        return config

    # -- ultralytics' seams --------------------------------------------------------------------------------------------
    def check_resume(self, overrides: dict[str, Any]) -> None:
        """After upstream settled ``args`` (from the checkpoint on resume), adds our settings to them."""
        super().check_resume(overrides)
        if self.args.distill_model:
            raise ConfigError(
                "distill_model is ultralytics' own distillation and cannot be mixed with our trainers: use"
                " ultralytics' trainer for it, or DistillationTrainer with teacher= for ours."
            )
        kd = {**self._saved(), **self._kd}
        if self.resume:
            kd |= self._stay_in_place(overrides)
        elif RANK in {-1, 0}:
            self._reserve_folder()
        kd.setdefault("data", str(self.args.data))
        kd["config"] = self.settle(kd.get("config"), self._flags)
        if self.kind != UNMARKED:
            kd["kind"] = self.kind
        self.args.kd = kd

    def _saved(self) -> dict[str, Any]:
        """``args.kd`` of the run that is resumed."""
        if not self.resume:
            return {}
        saved = getattr(self.args, "kd", None)
        is_ours = isinstance(saved, dict) and isinstance(saved.get("config"), dict)
        if not isinstance(saved, dict) or not is_ours or saved.get("kind", UNMARKED) != self.kind:
            raise ConfigError(f"{self.args.model} is not an unfinished {self.kind} run: resume its weights/last.pt.")
        return {**saved, "config": self.saved_config(saved["config"])}

    def _stay_in_place(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Lets a resumed run write beside its checkpoint; returns what ``args.kd`` holds on its data."""
        last = Path(str(self.args.model))
        folder = run_folder(last)
        place = {"save_dir": str(folder), "project": str(folder.parent), "name": folder.name, "exist_ok": True}
        for key, value in place.items():
            setattr(self.args, key, value)
        if self._kd.get("data"):  # a worker: the process that started it has settled the data
            return {}
        ckpt = load(last)
        saved_arguments(ckpt, last)
        given = overrides.get("data")
        if given == (ckpt.get("train_args") or {}).get("data"):  # YOLO(last.pt).train(resume=True) passes it on
            given = None
        found = settle_data(ckpt, folder, None if given is None else str(given))
        self.args.data = found.path
        return found.noted()

    def _reserve_folder(self) -> None:
        """Makes the folder of a new run, so that of two runs of one name at once each has its own."""
        if not getattr(self.args, "save_dir", None) and not self.args.exist_ok:
            first = Path(get_save_dir(SimpleNamespace(**{**vars(self.args), "exist_ok": True})))
            self.args.save_dir = str(new_folder(first))

    def get_dataset(self) -> dict[str, Any]:
        """Checks the data set and gives upstream a copy of its YAML, kept in the run folder; see ``resolved_data``."""
        source, task = str(self.args.data), str(self.args.task)
        if task != "classify" and "data_sha256" not in self.args.kd and RANK in {-1, 0}:  # else the command has checked
            report = check_for_training(source, task)
            say_left_out(report)
            self.args.kd["data_sha256"] = report.sha256
        self.args.data = resolved_data(source, task, self.save_dir)
        if RANK in {-1, 0}:
            write_provenance(self.save_dir, self.args.kd, self.args.seed, self.kind)
        data = super().get_dataset()
        if not self.resume and not self.args.single_cls and self.args.task != "classify":
            names, splits = data["names"], [key for key in ("train", "val", "test") if data.get(key)]
            check_fits_data(vars(self.args), names, splits)
        return data  # type: ignore[no-any-return]

    def set_model_attributes(self) -> None:
        """Checks arguments against the network at the first moment when it is there."""
        super().set_model_attributes()
        if not self.resume:
            check_fits_model(vars(self.args), unwrap_model(self.model), str(self.args.task))

    def get_validator(self) -> Any:
        """Upstream's validator; it refuses argument names that it does not know, so ours are out of sight."""
        kd = self.args.__dict__.pop("kd")
        try:
            return super().get_validator()
        finally:
            self.args.kd = kd
