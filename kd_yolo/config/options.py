"""What a user may say of a training and of a distillation; the flags of the commands and stages of chains are these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from kd_yolo.config.base import StrictModel, TrustWeights
from kd_yolo.geometry.schedule import ScheduleKind

Gate = Literal["confidence", "balanced", "assigned", "all"]
TeacherRuntime = Literal["auto", "torch", "openvino"]


def _check_share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"is {value}, expected a share of the gammas above 0 and below 1, such as 0.5.")
    return value


class SparseOptions(StrictModel):
    """What sparse training takes."""

    sparsity: Annotated[float, AfterValidator(_check_share)] = 0.5
    """Share of the gammas of prunable channels that are exactly zero at the end."""


class RunOptions(TrustWeights):
    """What every training takes beside ultralytics' arguments."""

    resume: str | None = None
    """Continue an interrupted run from its weights/last.pt, with its settings (default: a new run)."""
    name: str | None = None
    """Name of the run folder (default: made from the model's)."""
    device: str | None = None
    """cpu, 0, or 0,1 (several: DDP) (default: a GPU if there is one)."""
    seed: int | None = None
    """Seed of everything random (default: ultralytics' 0)."""


class DistillOptions(StrictModel):
    """What is distilled and how: goes over the recipe that :attr:`loss` names, where it is said."""

    loss: str | list[Any] | None = None
    """A loss (--list-losses), several joined by '+' (cwd+bkd), or a recipe (a name in cfg/distill, or a YAML path). l2
    compares feature maps; what YOLOv5 distillation calls l2 is obj_gated, its kl obj_gated_kl (default: auto, which
    chooses by classes and heads)."""
    weight: float | str | None = None
    """Weight of the loss; with several, one for all or one each: 1+2. auto:0.3 keeps 30 % of the gradient (default: the
    loss's own)."""
    tau: float | str | None = None
    """Temperature, one for all or one each (default: the loss's own)."""
    gate: Gate = "confidence"
    """Which anchors response losses count: confidence (the teacher's), balanced (the same, every class alike), assigned
    (those with an object), or all."""
    taps: str | list[int] = "head"
    """Where features are compared: head (the Detect inputs), cv2 (neck blocks), or layers: 15,18,21."""
    schedule: ScheduleKind = "cosine"
    """Weight over the run."""
    stop_at: float | str | None = None
    """Switch the distillation off at this share of the run (0.8), or at 'mosaic', when mosaic closes (default: never).
    """
    unlabelled: str | None = None
    """Images without labels that join through the terms: a folder, glob, .txt list or video (default: none)."""
    unlabelled_ratio: float = 1.0
    """How many of them join each batch, as a share of its labelled images (1: as many)."""
    teacher_cache: int | None = None
    """Give each training image this many fixed augmented views, run the teacher once for each and keep what it says on
    disk: from the second pass on a step costs about as much as a plain one (default: fresh views, live teacher)."""
    teacher_cache_dir: str = "runs/teacher_cache/{hash}"
    """Where it is kept; {hash} stands for teacher, data, image size and augmentation, to which it belongs."""
    teacher_cache_gb: float = 20.0
    """The most that it may take on disk, in GB; a run that would need more is refused before it starts."""
    teacher_every: int = 1
    """Run the teacher in every N-th step only; there the terms count N times."""
    teacher_half: bool = False
    """Run the teacher in half precision (bfloat16): cheaper on CPUs that have it (AMX), and on GPUs without amp."""
    teacher_runtime: TeacherRuntime = "torch"
    """Where the teacher runs: torch, openvino (faster on a CPU), or auto: OpenVINO where it is installed and says what
    torch says."""
    teacher_val: bool = True
    """Do not measure the teacher on val before the first epoch (default: it is, for a minute at most)."""


TERM_FLAGS = tuple(key for key in DistillOptions.model_fields if key != "loss")
DEFAULTS = DistillOptions()
