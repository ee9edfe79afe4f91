"""Settings of one pruning: ``prune.py``, ``PruneModel.prune`` and the ``prune:`` part of a recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from kd_yolo.base.reading import shown
from kd_yolo.config.base import MAX_COUNT, MAX_SEED, MAX_SIDE, Device, StrictModel, TrustWeights

ImportanceName = Literal["taylor", "l2", "bn", "lamp", "fpgm", "random"]
Measured = Literal["flops", "params", "latency"]

DEFAULT_FACTOR = 0.2
# What a bare number of 1 or more means, and what a suffix makes of it.
UNITS: dict[Measured, tuple[str, dict[str, float]]] = {
    "flops": ("GFLOPs", {"m": 1e-3, "g": 1.0, "t": 1e3}),
    "params": ("M parameters", {"k": 1e-3, "m": 1.0, "g": 1e3}),
    "latency": ("ms", {"ms": 1.0, "s": 1e3}),
}


@dataclass(frozen=True)
class Target:
    """What a pruned network may cost.

    Attributes:
        what: GFLOPs, millions of parameters, or milliseconds an image.
        value: that many, or the share of the unpruned network's.
        is_share: which of the two.
    """

    what: Measured
    value: float
    is_share: bool

    def limit(self, whole: float) -> float:
        """The most that is allowed, for a network that costs ``whole``."""
        return self.value * whole if self.is_share else self.value

    def show(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.4g} {UNITS[self.what][0]}"

    def __str__(self) -> str:
        shown = f"{self.value:g} of the unpruned network's" if self.is_share else self.show(self.value)
        return f"--target-{self.what} {shown}"


def parse_target(what: Measured, text: str | float) -> Target:
    """Reads a target: below 1 without a unit it is a share, else an absolute value.

    Args:
        what: what is limited.
        text: ``0.5``, ``"4.1G"`` (FLOPs), ``"1.5M"`` (parameters), ``"12ms"``; from 1 on a number without a unit is in
            GFLOPs, millions of parameters, milliseconds.

    Raises:
        ValueError: none of these.
    """
    unit, factors = UNITS[what]
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)", str(text).strip().lower())
    suffixes = ", ".join(suffix if what == "latency" else suffix.upper() for suffix in factors)
    if found is None or not 0 < float(found[1]) < 1e15 or (found[2] and found[2] not in factors):
        raise ValueError(
            f"target_{what} is {shown(text)}, expected a share of the unpruned network's below 1 (0.5), or an absolute"
            f" value: a number of {unit}, or one with a unit ({suffixes})."
        )
    number = float(found[1])
    return Target(what, number * factors.get(found[2], 1.0), is_share=not found[2] and number < 1)


class PruneSettings(TrustWeights):
    """Everything that decides how a network is pruned."""

    model: str = Field(min_length=1)
    """Weights to prune; already pruned ones can be pruned further."""
    data: str | None = Field(default=None, min_length=1)
    """Data YAML (a classifier: its folder) for Taylor importance and BatchNorm statistics (default: none)."""
    factor: float | None = None
    """Share of the prunable channels that is removed, between 0 and 1 (default: 0.2, without a target or a plan)."""
    target_flops: str | float | None = None
    """Instead of --factor: 0.5 (of the unpruned network's), 4.1 or 4.1G (default: none)."""
    target_params: str | float | None = None
    """Instead of --factor: 0.5 (of the unpruned network's), 1.5 or 1.5M (default: none)."""
    target_latency: str | float | None = None
    """Instead of --factor: 0.5 (of the unpruned network's), 12 or 12ms; measured here, on one thread of the CPU
    (default: none)."""
    plan: str | None = None
    """Instead of --factor: a plan.yaml with widths by layer, from --sensitivity or an earlier run (default: none)."""
    importance: ImportanceName | None = None
    """Which channels matter (default: taylor with data=, l2 without)."""
    global_ranking: bool = False
    """Rank the channels of all layers together: keeps more mAP at equal parameters, less at equal FLOPs. Else each
    layer loses the same share."""
    round_to: int = Field(default=8, ge=1, le=4096)
    """Widths are multiples of this, the nearest ones; other widths save little time."""
    min_channels: int = Field(default=8, ge=1, le=65536)
    """No layer gets narrower; those that are not wider already stay."""
    ignore: tuple[str, ...] = ()
    """Layers that stay whole: names of convs or modules (model.0 model.22), * and ? allowed."""
    iterative: int = Field(default=1, ge=1, le=1000)
    """Steps to the final widths, with BatchNorm statistics re-estimated in between."""
    recalibrate: bool | None = None
    """Whether the BatchNorm statistics are re-estimated (default: where there is data=)."""
    batches: int = Field(default=8, ge=1, le=MAX_COUNT)
    """Labelled batches for Taylor importance."""
    recalibration_images: int = Field(default=200, ge=1, le=MAX_COUNT)
    """Training images from which the BatchNorm statistics are re-estimated."""
    sensitivity_images: int = Field(default=100, ge=1, le=MAX_COUNT)
    """Images for each measurement of --sensitivity: of the validation split for the accuracy, of the training split for
    the BatchNorm statistics before it."""
    imgsz: int = Field(default=640, ge=32, le=MAX_SIDE)
    """Longer side of the images in pixels, also for GFLOPs and latency."""
    batch: int = Field(default=8, ge=1, le=65536)
    """Images per batch."""
    runtime: Literal["torch", "onnx"] = "torch"
    """What latency is measured in, always one image on one thread of the CPU."""
    latency_rounds: int = Field(default=10, ge=1, le=MAX_COUNT)
    """Timed rounds."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of the choice of images and of random importance."""
    device: Device = None
    """Where gradients and statistics are computed: cpu, or a GPU's number (default: a GPU if there is one)."""

    @field_validator("factor")
    @classmethod
    def _check_factor(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value < 1:
            raise ValueError(
                f"factor is {value:g}, expected a share between 0 and 1: the share of the channels that is removed"
                " (0.2 removes about 36 % of the parameters)."
            )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> PruneSettings:
        names = ("factor", "target_flops", "target_params", "target_latency", "plan")
        given = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{', '.join(given)}: each says how much is pruned. Give one of them.")
        if self.data is None and self.importance == "taylor":
            raise ValueError("importance=taylor needs labelled images: add data=, or use importance=l2.")
        if self.data is None and self.recalibrate:
            raise ValueError("recalibrate needs images: add data=, or leave it out.")
        _ = self.target  # its form is checked
        return self

    @property
    def target(self) -> Target | None:
        """The one target that was given."""
        given: dict[Measured, str | float | None] = {
            "flops": self.target_flops, "params": self.target_params, "latency": self.target_latency,
        }  # fmt: skip
        return next((parse_target(what, value) for what, value in given.items() if value is not None), None)

    @property
    def share(self) -> float:
        """The factor, or its default."""
        return DEFAULT_FACTOR if self.factor is None else self.factor

    @property
    def criterion(self) -> ImportanceName:
        """The importance, or its default."""
        return self.importance or ("taylor" if self.data is not None else "l2")

    @property
    def ranks_globally(self) -> bool:
        """Whether layers compete: LAMP says how layers compare, and within one layer ranks as L2 does."""
        return self.global_ranking or self.criterion == "lamp"

    @property
    def recalibrates(self) -> bool:
        """Whether BatchNorm statistics are re-estimated."""
        return self.data is not None if self.recalibrate is None else self.recalibrate


class PlanFile(StrictModel):
    """A ``plan.yaml``: widths, and where they come from."""

    widths: dict[str, int] = Field(min_length=1)
    """Output channels by group name; groups not named stay whole."""
    model: str | None = None
    """The weights that the plan was made for; for the reader only."""

    @field_validator("widths")
    @classmethod
    def _positive(cls, value: dict[str, int]) -> dict[str, int]:
        wrong = [f"{name}: {width}" for name, width in value.items() if width < 1]
        if wrong:
            raise ValueError(f"widths must be 1 or more: {', '.join(wrong)}.")
        return value
