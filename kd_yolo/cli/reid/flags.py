"""Flags of ``kd-yolo reid`` and what its commands do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTIONS = {
    "train": "Trains a network; with --kd its last stage teaches the others.",
    "distill": "Trains a network under trained ones (--teacher).",
    "test": "CMC, mAP, mINP, curves and the worst rankings of a network on query and gallery.",
    "rank": "Ranks the gallery for one image of a person.",
    "export": "ONNX, TorchScript, OpenVINO, preprocessing inside, checked (on crops of data=); writes a tracker YAML.",
    "prune": "Removes channels; train on with --start pruned.pt.",
}
KEYS = "Anything written key=value changes a setting of the recipe: data=my/market epochs=60 backbone=resnet18 lr=1e-3."
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class Train:
    """Flags of ``train`` and ``distill``."""

    recipe: str | None = None
    """Name of a file in cfg/reid (strong_baseline, sbs, aligned, self_kd, demo, ...), or a path."""
    teacher: tuple[str, ...] = ()
    """Checkpoints of the networks that teach (distill)."""
    kd: Flag = False
    """Self-distillation: a deep stage teaches the stages before it."""
    teacher_stage: str | None = None
    """The stage that teaches in self-distillation (default layer4)."""
    student_stages: tuple[str, ...] = ()
    """The stages that learn (default: all before the teacher)."""
    feature_loss_coefficient: float | None = None
    """Weight of the feature loss of self-distillation (default 0.03)."""
    start: Path | None = None
    """Start from this checkpoint, a pruned one for example; height=, width=, head=, ... may differ from its own."""
    resume: Path | None = None
    """Go on with an interrupted run from its weights/last.pt, with its settings."""
    eval_only: Flag = False
    """Test the checkpoint given by --start and train nothing."""
    name: str | None = None
    """Name of the run's folder in runs/reid (default: recipe or backbone)."""


@dataclass(frozen=True)
class Test:
    """Flags of ``test``."""

    weights: Path
    """A checkpoint of kd-yolo reid train."""
    strips: int = 20
    """How many of the worst rankings to draw."""
    name: str | None = None
    """Name of the folder in runs/reid (default: test)."""


@dataclass(frozen=True)
class Rank:
    """Flags of ``rank``."""

    weights: Path
    """A checkpoint of kd-yolo reid train."""
    query: Path
    """A crop of a person."""
    out: Path = Path("ranking.png")
    """The image to write."""


@dataclass(frozen=True)
class Export:
    """Flags of ``export``."""

    weights: Path
    """A checkpoint of kd-yolo reid train."""
    format: str = "onnx"
    """onnx, torchscript or openvino."""


@dataclass(frozen=True)
class Prune:
    """Flags of ``prune``."""

    weights: Path
    """A checkpoint of kd-yolo reid train."""
    factor: float = 0.2
    """Share of the prunable channels that is removed."""
    out: Path | None = None
    """The pruned checkpoint (default: pruned.pt beside the weights)."""
