"""What a user asked of a league."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a user asked for; None is "not said".

    Attributes:
        losses: recipes as they were typed.
        seeds: of the student's trainings.
        teacher, student: weights, or names of weights.
        teacher_epochs: fine-tune the teacher first.
        name: of the folder in ``runs/league``; None is that of the data.
        out: folder for results; None is the league's own, for the test split one inside it.
        trust: ``--trust-weights``.
        arguments: ultralytics arguments.
        split: what the runs are evaluated on: ``val`` to choose, ``test`` once at the end.
        teacher_seeds: of the teacher's trainings; they take turns over the seeds.
        claims: a claims file.
    """

    losses: tuple[str, ...]
    seeds: tuple[int, ...]
    teacher: str | None = None
    student: str | None = None
    teacher_epochs: int = 0
    name: str | None = None
    out: Path | None = None
    trust: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    split: str = "val"
    teacher_seeds: tuple[int, ...] = (0,)
    claims: Path | None = None
