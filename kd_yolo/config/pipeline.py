"""Configuration of a whole chain: ``kd-yolo pipeline cfg/prune/<recipe>.yaml``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from kd_yolo.config.base import MAX_COUNT, StrictModel
from kd_yolo.config.options import TERM_FLAGS, DistillOptions, SparseOptions

Train = dict[str, Any]  # ultralytics arguments; they are checked by name and value before anything runs


class TrainStage(StrictModel):
    """Training of the network as it is."""

    epochs: int = Field(default=50, ge=1, le=MAX_COUNT)
    """How long."""
    train: Train = Field(default_factory=dict)
    """ultralytics arguments of this stage alone."""


class SparseStage(TrainStage, SparseOptions):
    """Sparse training: a share of the BatchNorm gammas becomes exactly 0."""


class DistillStage(TrainStage, DistillOptions):
    """Distillation of the pruned network, with the options of ``train_distill.py``."""

    epochs: int = Field(default=100, ge=1, le=MAX_COUNT)
    """How long."""
    teacher: str | None = None
    """Weights of the teacher (default: the network before pruning)."""

    def term_flags(self) -> dict[str, Any]:
        """The options that are said, without the loss."""
        return self.model_dump(include=set(TERM_FLAGS), exclude_unset=True, exclude_none=True)


class QatStage(DistillStage):
    """Training for INT8 (``quantize=8``), under the network itself before it is rounded or another teacher."""

    epochs: int = Field(default=10, ge=1, le=MAX_COUNT)
    """How long."""
    teacher: str | None = None
    """Weights of the teacher (default: the network itself before this stage)."""


class CompareStage(StrictModel):
    """The table at the end."""

    runtime: Literal["torch", "onnx"] = "torch"
    """What runs the latency measurement."""
    rounds: int = Field(default=30, ge=1, le=MAX_COUNT)
    """Timed rounds."""


class PipelineConfig(StrictModel):
    """A chain; a stage that is null is left out."""

    model: str = Field(min_length=1)
    """Weights, or a model YAML (then ``base`` or ``sparse`` trains it from scratch)."""
    data: str | None = Field(default=None, min_length=1)
    """Data YAML (default: the built-in set)."""
    train: Train = Field(default_factory=dict)
    """ultralytics arguments of every stage (``imgsz``, ``batch``, ``device``, ``seed``, ...)."""
    base: TrainStage | None = None
    """Plain training before everything else: the network that the result is compared with."""
    sparse: SparseStage | None = None
    """Sparse training before pruning."""
    prune: dict[str, Any] = Field(default_factory=dict)
    """Settings of ``prune.py`` (``factor``, ``importance``, ``round_to``, ...)."""
    retrain: TrainStage | None = TrainStage()
    """Training of the pruned network."""
    distill: DistillStage | None = DistillStage()
    """Distillation after that."""
    qat: QatStage | None = None
    """Training for INT8 after that; needs the extra ``qat``."""
    compare: CompareStage | None = CompareStage()
    """The table at the end."""
    gate: dict[str, float] = Field(default_factory=dict)
    """Limits that end the command with exit code 4 when missed: ``max-map-drop`` (mAP50-95 lost against the network
    before pruning)."""

    @field_validator("gate")
    @classmethod
    def _check_limits(cls, value: dict[str, float]) -> dict[str, float]:
        wrong = [f"{name}={limit:g}" for name, limit in value.items() if not 0 <= limit <= 1]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: expected a difference of mAP from 0 to 1, such as 0.02.")
        return value
