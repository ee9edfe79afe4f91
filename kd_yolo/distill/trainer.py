"""The trainer: ultralytics' own, with the teacher, the terms and the criterion put at its seams.

The order in which upstream does things decides where each part goes:

- the terms hold parameters, so they are registered on the student before compile, optimizer, DDP and EMA
  (:meth:`DistillationMixin.set_model_attributes`);
- the teacher runs on the very images that the student sees, inside autocast but outside DDP and compile
  (:meth:`DistillationMixin.preprocess_batch`);
- whatever upstream copies or pickles of the student holds nothing of ours, see
  :class:`~kd_yolo.distill.adapters.TrainingOnly`.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.utils import LOGGER, RANK
from ultralytics.utils.torch_utils import unwrap_model

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import printable
from kd_yolo.config.distill import EMA_TEACHER
from kd_yolo.distill.balance import WARN_BELOW, Balance, describe, too_much, weak_terms, write_balance
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.checkpoint import TERMS, TermsCheckpointMixin
from kd_yolo.distill.classes import ALL_MATCHED
from kd_yolo.distill.cost import describe_teacher
from kd_yolo.distill.criterion import TASK, DistillCriterion, WeightedTerm
from kd_yolo.distill.kept import KeptClasses
from kd_yolo.distill.preview import check_schedule
from kd_yolo.distill.query_criterion import QueryCriterion
from kd_yolo.distill.start import StartMixin
from kd_yolo.distill.teachers.cached import TeacherCacheMixin
from kd_yolo.distill.teachers.file import open_teacher
from kd_yolo.distill.teachers.runtime import in_runtime
from kd_yolo.distill.teachers.teacher import EMATeacher, Teacher
from kd_yolo.distill.unlabelled import UnlabelledMixin
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.families import RTDETR


class DistillationMixin(TeacherCacheMixin, StartMixin, UnlabelledMixin, TermsCheckpointMixin):
    """Distillation for any ultralytics trainer whose model ends in a Detect head (or a subclass), or in a decoder.

    Takes, beside every ultralytics argument, ``teacher``, ``loss``, ``weight``, ``tau``, ``gate``, ``taps``,
    ``schedule``, ``stop_at``, ``unlabelled``, ``unlabelled_ratio``, ``teacher_cache``, ``teacher_cache_dir``,
    ``teacher_cache_gb``, ``teacher_every``, ``teacher_half``, ``teacher_runtime`` and ``trust_weights`` as in
    :func:`kd_yolo.config.distill.resolve_distill`, or instead of them ``kd={"config": ...}`` with a
    :class:`~kd_yolo.config.distill.DistillConfig` as a dict. A resumed run takes all of that from its checkpoint, but
    for the trust in files, which only the user can give.

    Raises:
        ConfigError: no teacher, or options that do not fit together.
        InputError: teacher or data that cannot be used.
    """

    criterion_type: type[DistillCriterion] = DistillCriterion
    _reached = 0.0
    _reported = 0

    # -- model ---------------------------------------------------------------------------------------------------------
    def set_model_attributes(self) -> None:
        """Attaches terms and criterion to the student: the last moment before freeze, compile, optimizer, DDP, EMA."""
        super().set_model_attributes()
        student, config = unwrap_model(self.model), self.kd_config
        weights = self._weights()
        check_schedule(config, self.epochs, self.args.close_mosaic, is_timed=bool(self.args.time))
        teachers = [self._load_teacher(source, student) for source in config.teachers]
        kept = KeptClasses.of(vars(self.args))
        terms = build_terms(config, student, teachers, seed=self.args.seed, kept=kept)
        teachers = [in_runtime(teacher, config.teacher_runtime, self.device) for teacher in teachers]
        shares = {n: t.share for n, t in zip(config.term_names(), config.terms, strict=True) if t.share is not None}
        self.criterion = self.criterion_type(
            student, terms, teachers, weights, columns=config.columns(), balance=Balance(shares)
        )
        self.criterion.on_skip = self._warn_skipped
        self.criterion.static_graph = self.world_size > 1 and bool(self.args.compile)
        if self.args.compile:
            self.criterion.student.check_compiled()
        setattr(student, TERMS, terms)
        student.criterion = self.criterion
        if RANK in {-1, 0}:
            self._announce(self.criterion)

    def _setup_train(self) -> None:
        """Upstream's; the measurement of gradients goes around a static graph, which would record it as a step."""
        super()._setup_train()
        if self.criterion is not None and self.criterion.static_graph:
            self.model.module.register_forward_hook(self.criterion.keep_inside)

    def _load_teacher(self, source: str, student: nn.Module) -> Teacher:
        half = bool(self.kd_config.teacher_half)
        if source == EMA_TEACHER:
            return EMATeacher(
                deepcopy(student), lambda: self.ema.ema if getattr(self, "ema", None) else None, half=half
            )
        model = open_teacher(source, trust=self.kd_config.trust_weights)
        if isinstance(model, ExportedDetector):
            model.check_images(vars(self.args))
        parameter = next(student.parameters())
        is_nhwc = any(p.ndim == 4 and not p.is_contiguous() for p in student.parameters())
        layout = torch.channels_last if is_nhwc else torch.contiguous_format
        return Teacher(model.to(device=parameter.device, memory_format=layout), half=half)  # type: ignore[call-overload]

    def _weights(self) -> dict[str, WeightedTerm]:
        config = self.kd_config
        schedules = [(t.schedule or config.schedule).build(self.epochs, self.args.close_mosaic) for t in config.terms]
        return {
            name: WeightedTerm(term.weight, schedule)
            for name, term, schedule in zip(config.term_names(), config.terms, schedules, strict=True)
        }

    def _announce(self, criterion: DistillCriterion) -> None:
        teachers = self.kd_config.teachers
        if any(Path(teacher).resolve() == Path(str(self.args.model)).resolve() for teacher in teachers):
            LOGGER.info("kd-yolo: student and teacher are the same file: self-distillation")
        learnable = sum(p.numel() for p in criterion.terms.parameters())
        LOGGER.info(f"kd-yolo: teacher {', '.join(teachers)}, {learnable:,} adapter parameters")
        for line in describe_teacher(self.kd_config):
            LOGGER.info(f"kd-yolo: {line}")
        if self.kd_config.chosen:
            LOGGER.info(f"kd-yolo: {printable(self.kd_config.chosen)}")
        for name, term in named_terms(criterion.terms).items():
            share = criterion.balance.shares.get(name)
            weight = f"{criterion.weights[name].weight:g}" if share is None else f"for {share:.0%} of the gradient"
            for member in term.members():
                levels = ", ".join(f"{p.student} <- {p.teacher}" for p in member.pairs) or member.what
                which = f", teacher {member.number + 1}" if len(teachers) > 1 else ""
                LOGGER.info(f"kd-yolo: {name} weight {weight}{which}: {levels}")
            for note in term.notes:
                say_note(name, note)
        if not any(weighted.weight for weighted in criterion.weights.values()):
            LOGGER.warning("kd-yolo: all weights are 0: this is plain training, the teacher is not run")

    # -- step ----------------------------------------------------------------------------------------------------------
    def run_callbacks(self, event: str) -> None:
        """Keeps the weights up to date, says what was skipped, and cleans up at the end."""
        if event == "on_train_epoch_start" and self.criterion is not None:
            self.criterion.weights = self._weights()  # with time= the number of epochs has changed
            self.criterion.balance.restart_epoch()
            self.criterion.measure_next = True
        if event == "on_train_epoch_end":
            self._report_skipped()
            self._report_balance()
        if event == "on_fit_epoch_end" and self.criterion is not None and RANK in {-1, 0}:
            write_balance(self.save_dir / "balance.csv", self.criterion.balance.history)  # after the checkpoint
        if event == "teardown" and self.criterion is not None:
            self.criterion.forget()  # after Ctrl-C in a forward pass its hooks would stay on the student
        super().run_callbacks(event)

    @property
    def progress(self) -> float:
        """Share of the whole run that is done, from the epoch and batch counters: a resumed run continues the curve."""
        batches = max(len(self.train_loader), 1)
        share = (self.epoch + min(self._batches_seen / batches, 1.0)) / max(self.epochs, 1)
        if self.args.time:  # epochs is an estimate that moves, but the curve must not run backwards
            share = max(share, self._reached)
        return min(float(share), 1.0)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepares the batch, then shows it to the teacher."""
        if self.criterion is None or not unwrap_model(self.model).training:
            return super().preprocess_batch(batch)
        self._reached = self.progress  # before this batch counts as done
        self.criterion.measure_next |= bool(self.criterion.balance.shares) and self._is_early_measurement()
        batch = super().preprocess_batch(batch)
        every = self.kd_config.teacher_every or 1
        times = every if self.global_batch % every == 0 else 0
        self.criterion.observe(batch, self._reached, times=times)
        return batch

    def _is_early_measurement(self) -> bool:
        """Steps 2, 4, 8, ...: a generator that learns makes its term's gradient a hundred times larger at first."""
        step: int = self.epoch * len(self.train_loader) + self._batches_seen
        return step > 1 and step & (step - 1) == 0

    def _clear_memory(self, threshold: float | None = None) -> None:
        """Also forgets the teacher's maps: after running out of memory they would survive in the criterion."""
        if threshold is None and self.criterion is not None:
            self.criterion.forget()
        super()._clear_memory(threshold)

    def label_loss_items(self, loss_items: dict[str, Tensor] | None = None, prefix: str = "train") -> Any:
        """Loss columns; validation runs the plain criterion of the EMA model, so it has no distillation columns."""
        out = super().label_loss_items(loss_items, prefix)
        if prefix != "val":
            return out
        own = {f"val/{name}" for name in self.kd_config.columns()}
        return [k for k in out if k not in own] if isinstance(out, list) else {k: out[k] for k in out if k not in own}

    # -- health --------------------------------------------------------------------------------------------------------
    def _warn_skipped(self, name: str, value: float) -> None:
        if self.criterion is not None and self.criterion.skipped[name] == 1:
            LOGGER.warning(f"kd-yolo: {name} is {value} in epoch {self.epoch + 1}: skipped, training goes on without")

    def _report_balance(self) -> None:
        """Says what share of the epoch was distillation."""
        if self.criterion is None:
            return
        row = self.criterion.balance.close_epoch(self.epoch + 1, TASK)
        if RANK not in {-1, 0}:
            return
        LOGGER.info(f"kd-yolo: {describe(row)}")
        limit = too_much(row)
        if limit is not None:
            LOGGER.warning(
                f"kd-yolo: above {limit:.0%} the labels count for little: a lower weight=, or weight=auto:0.3"
            )
        weak = weak_terms(row) if self.epoch == 0 else []
        if weak:
            LOGGER.warning(
                f"kd-yolo: {', '.join(weak)} below {WARN_BELOW:.0%} of the gradient"
                f" {'teaches' if len(weak) == 1 else 'teach'} next to nothing: a higher weight=, or weight=auto:0.1"
            )

    def _report_skipped(self) -> None:
        """Says at the end of an epoch how often terms were skipped, if it happened again."""
        counts = {} if self.criterion is None else {k: n for k, n in self.criterion.skipped.items() if n}
        if sum(counts.values()) > self._reported:
            self._reported = sum(counts.values())
            LOGGER.warning(f"kd-yolo: non-finite terms skipped so far: {counts}")


def say_note(name: str, note: str) -> None:
    """A term's note is a warning, unless it says that all is well."""
    log = LOGGER.info if ALL_MATCHED in note else LOGGER.warning
    log(f"kd-yolo: {name}: {note}")


class DistillationTrainer(DistillationMixin, DetectionTrainer):
    """Distils a detector: ``YOLO("yolov8n.pt").train(trainer=DistillationTrainer, teacher="yolov8s.pt", data=...)``."""


class SegmentDistillationTrainer(DistillationMixin, SegmentationTrainer):
    """Distils a segmentation student (features, and class logits)."""


class PoseDistillationTrainer(DistillationMixin, PoseTrainer):
    """Distils a pose student (features, and class logits)."""


class OBBDistillationTrainer(DistillationMixin, OBBTrainer):
    """Distils an oriented-box student (features, and class logits)."""


class RTDETRDistillationTrainer(DistillationMixin, RTDETRTrainer):
    """Distils an RT-DETR student (features; from another RT-DETR its queries too)."""

    criterion_type = QueryCriterion
    _loss_items: dict[str, Tensor] | None = None

    @property
    def loss_items(self) -> dict[str, Tensor] | None:
        """The items of a step: the three that the network names, and the terms, which its criterion keeps."""
        return self._loss_items

    @loss_items.setter
    def loss_items(self, items: dict[str, Tensor] | None) -> None:
        terms = self.criterion.items if isinstance(self.criterion, QueryCriterion) else {}
        self._loss_items = None if items is None else {**items, **terms}


TRAINERS = {
    "detect": DistillationTrainer,
    "segment": SegmentDistillationTrainer,
    "pose": PoseDistillationTrainer,
    "obb": OBBDistillationTrainer,
    RTDETR: RTDETRDistillationTrainer,
}


def trainer_for(task: str) -> Any:
    """The trainer class of a task.

    Raises:
        ConfigError: no such class.
    """
    if task not in TRAINERS:
        raise ConfigError(f"a {task} model cannot be distilled: {', '.join(TRAINERS)} can.")
    return TRAINERS[task]
