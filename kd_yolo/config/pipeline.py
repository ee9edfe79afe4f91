"""Configuration of a whole chain: ``kd-yolo pipeline cfg/prune/<recipe>.yaml``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from kd_yolo.config.base import MAX_COUNT, StrictModel

Train = dict[str, Any]  # ultralytics arguments; they are checked by name and value before anything runs


class TrainStage(StrictModel):
    """Training of the network as it is.

    Attributes:
        epochs: how long.
        train: ultralytics arguments of this stage alone.
    """

    epochs: int = Field(default=50, ge=1, le=MAX_COUNT)
    train: Train = Field(default_factory=dict)


class SparseStage(TrainStage):
    """Sparse training: a share of the BatchNorm gammas becomes exactly 0.

    Attributes:
        sparsity: that share.
    """

    sparsity: float = Field(default=0.5, gt=0, lt=1, allow_inf_nan=False)


class DistillStage(TrainStage):
    """Distillation of the pruned network.

    Attributes:
        teacher: weights of the teacher; None is the network before pruning.
        loss: as ``train_distill.py --loss``; None is its default.
        weight, tau, taps, schedule, stop_at: as the flags of ``train_distill.py``.
    """

    epochs: int = Field(default=100, ge=1, le=MAX_COUNT)
    teacher: str | None = None
    loss: str | list[Any] | None = None
    weight: float | str | None = None
    tau: float | str | None = None
    taps: str | list[int] | None = None
    schedule: str | None = None
    stop_at: float | str | None = None


class CompareStage(StrictModel):
    """The table at the end.

    Attributes:
        runtime: what runs the latency measurement: ``torch`` or ``onnx``.
        rounds: timed rounds.
    """

    runtime: Literal["torch", "onnx"] = "torch"
    rounds: int = Field(default=30, ge=1, le=MAX_COUNT)


class PipelineConfig(StrictModel):
    """A chain; a stage that is null is left out.

    Attributes:
        model: weights, or a model YAML (then ``base`` or ``sparse`` trains it from scratch).
        data: data YAML; None is the built-in set.
        train: ultralytics arguments of every stage (``imgsz``, ``batch``, ``device``, ``seed``, ...).
        base: plain training before everything else: the network that the result is compared with.
        sparse: sparse training before pruning.
        prune: settings of ``prune.py`` (``factor``, ``importance``, ``round_to``, ...).
        retrain: training of the pruned network.
        distill: distillation after that.
        compare: the table at the end.
        gate: limits that end the command with exit code 4 when missed: ``max-map-drop`` (mAP50-95 lost against the
            network before pruning).
    """

    model: str = Field(min_length=1)
    data: str | None = Field(default=None, min_length=1)
    train: Train = Field(default_factory=dict)
    base: TrainStage | None = None
    sparse: SparseStage | None = None
    prune: dict[str, Any] = Field(default_factory=dict)
    retrain: TrainStage | None = TrainStage()
    distill: DistillStage | None = DistillStage()
    compare: CompareStage | None = CompareStage()
    gate: dict[str, float] = Field(default_factory=dict)

    @field_validator("gate")
    @classmethod
    def _check_limits(cls, value: dict[str, float]) -> dict[str, float]:
        wrong = [f"{name}={limit:g}" for name, limit in value.items() if not 0 <= limit <= 1]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: expected a difference of mAP from 0 to 1, such as 0.02.")
        return value
