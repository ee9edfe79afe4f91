"""Weight of a distillation term over a run: ``w(progress)``, progress = global step / all steps of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ScheduleKind = Literal["cosine", "constant", "linear"]
SCHEDULES: tuple[str, ...] = get_args(ScheduleKind)


def cosine(progress: float, *, end: float) -> float:
    """Half a cosine from 1 to ``end``: ``end + (1 - end) * (1 + cos(pi * progress)) / 2``."""
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, *, end: float) -> float:
    """A straight line from 1 to ``end``."""
    return 1 + (end - 1) * progress


@dataclass(frozen=True)
class Schedule:
    """A weight in [0, 1] as a pure function of progress, so that a resumed run continues the same curve.

    Args:
        kind: shape of the curve.
        end: weight that cosine and linear reach at progress 1.
        stop_at: progress from which on the weight is 0 (None: never).
    """

    kind: ScheduleKind = "cosine"
    end: float = 0.1
    stop_at: float | None = None

    def __call__(self, progress: float) -> float:
        """The weight at ``progress``; values outside [0, 1] are clipped to it."""
        progress = min(max(progress, 0.0), 1.0)
        if self.stop_at is not None and progress >= self.stop_at:
            return 0.0
        if self.kind == "constant":
            return 1.0
        return cosine(progress, end=self.end) if self.kind == "cosine" else linear(progress, end=self.end)
