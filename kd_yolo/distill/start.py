"""The start of a distillation run: its settings, what ``loss=auto`` is, and how good the teacher is."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from ultralytics.utils import LOGGER, RANK

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import printable
from kd_yolo.config.distill import DEFAULT_LOSS, EMA_TEACHER, DistillConfig, resolve_distill
from kd_yolo.config.options import TERM_FLAGS
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill.auto import choose
from kd_yolo.distill.classes import student_for
from kd_yolo.distill.kept import ALL_CLASSES, KeptClasses
from kd_yolo.distill.scores import Measuring, measure_start
from kd_yolo.distill.teachers.file import open_teacher
from kd_yolo.training.provenance import write_provenance
from kd_yolo.training.stage import open_network
from kd_yolo.training.trainers import TrainerMixin
from kd_yolo.yolo.description.model_yaml import check_model_yaml, is_model_yaml
from kd_yolo.yolo.files.loading import load_checkpoint


class StartMixin(TrainerMixin):
    """What :class:`~kd_yolo.distill.trainer.DistillationMixin` does before there is a network to train."""

    kind = "distillation"
    command = "distill"
    flags = ("teacher", "loss", *TERM_FLAGS, "trust_weights")
    kd_config: DistillConfig

    def settle(self, saved: dict[str, Any] | None, flags: dict[str, Any]) -> dict[str, Any]:
        """A resumed run keeps its settings, except where the teacher is and whether files are trusted."""
        if saved is None or flags:
            saved = self._resolve_config(saved, flags).model_dump()
        self.kd_config = DistillConfig.parse(saved, "kd")
        return saved

    def saved_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """The settings in a checkpoint, without its trust in files: a file must not vouch for itself."""
        return {**config, "trust_weights": False}

    def _resolve_config(self, saved: dict[str, Any] | None, flags: dict[str, Any]) -> DistillConfig:
        if saved is not None:
            changed = sorted(set(flags) - {"teacher", "trust_weights"})
            if changed:
                raise ConfigError(f"a resumed run keeps its {', '.join(changed)}: start a new run to change them.")
            return DistillConfig.parse({**saved, **flags}, "kd")
        if not flags.get("teacher"):
            raise ConfigError("no teacher: DistillationTrainer needs teacher=path/to/weights.pt.")
        if flags.get("loss", DEFAULT_LOSS) == DEFAULT_LOSS:
            flags = {**flags, "loss": self._chosen(flags)}
        return resolve_distill(**flags)

    def _chosen(self, flags: dict[str, Any]) -> dict[str, Any]:
        """What ``loss=auto`` is here; the command has asked before, with the labels at hand."""
        named, trust = flags["teacher"], bool(flags.get("trust_weights"))
        kept, files = KeptClasses.of(vars(self.args)), [named] if isinstance(named, str) else named
        teachers = [open_teacher(file, trust=trust) for file in files if file != EMA_TEACHER]
        student = self._student_as_loaded(trust=trust)
        return choose(student_for(student, read_data_yaml(str(self.args.data)), single=kept.single), teachers, kept)

    def train(self) -> None:
        """Upstream's training; the teacher is measured before, in the process that starts the others."""
        if RANK == -1 and not self.resume and self.kd_config.teacher_val:
            self.measure_start()
        super().train()

    def measure_start(self) -> None:
        """Says how good the teachers are on val, and the student where it knows the classes; notes it in run.json."""
        kept, trust, source = KeptClasses.of(vars(self.args)), self.kd_config.trust_weights, str(self.args.model)
        files = [file for file in self.kd_config.teachers if file != EMA_TEACHER]
        if kept != ALL_CLASSES or not files:
            return
        teachers = {Path(file).name: open_teacher(file, trust=trust) for file in files}
        start, data = self._student_as_loaded(trust=trust), str(self.args.data)
        batch = 2 * self.args.batch if self.args.batch >= 1 else 32
        measuring = Measuring(data, int(self.args.imgsz), int(batch), self.device)
        trained = student_for(deepcopy(start), read_data_yaml(data))
        measured, lines = measure_start(measuring, teachers, trained, None if is_model_yaml(source) else start)
        self.args.kd["measured"] = measured
        write_provenance(self.save_dir, self.args.kd, self.args.seed, self.kind)
        for line in lines:
            LOGGER.info(f"kd-yolo: {printable(line)}")

    def _student_as_loaded(self, *, trust: bool) -> Any:
        """The student as its file has it, safely loaded or built."""
        source = str(self.args.model)
        if not is_model_yaml(source):
            return load_checkpoint(source, trust=trust)[0]
        return open_network(source, check_model_yaml(source, "student")).model
