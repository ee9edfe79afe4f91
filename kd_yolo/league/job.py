"""One run of a league, as it is handed to a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from kd_yolo.config.base import StrictModel
from kd_yolo.config.league import Recipe

Kind = Literal["score", "random", "plain", "shipped", "distill"]


class Job(StrictModel):
    """A run.

    Attributes:
        kind: ``score`` trains nothing, ``random`` makes untrained weights, ``plain`` is training without a teacher.
        recipe: what it is about; the teacher's job has a row name too.
        seed: of the training.
        weights: what it starts from.
        teacher: weights of the teacher; None for ``score`` and ``plain``.
        data: data YAML.
        split: what the result is evaluated on.
        arguments: ultralytics arguments.
        folder: the run's own.
        target: the JSON file of its result; the statistics of its images lie beside it.
        settings: all that decides the result, as it stands in that file.
        trust: ``--trust-weights``.
    """

    kind: Kind
    recipe: Recipe
    seed: int
    weights: str
    teacher: str | None = None
    data: str
    split: str
    arguments: dict[str, Any]
    folder: Path
    target: Path
    settings: dict[str, Any]
    trust: bool = False

    @property
    def name(self) -> str:
        """As in messages and file names."""
        return self.folder.name

    @property
    def last(self) -> Path:
        """The checkpoint that says how far the run got."""
        return self.folder / "weights" / "last.pt"

    @property
    def best(self) -> Path:
        """What is evaluated."""
        return Path(self.weights) if self.kind == "score" else self.last.with_name("best.pt")

    @property
    def images(self) -> Path:
        """The statistics of its images."""
        return self.target.with_name(f"{self.name}.npz")

    @property
    def started(self) -> Path:
        """The file that says with which settings the run was started."""
        return self.folder.parent / "started" / self.target.name
