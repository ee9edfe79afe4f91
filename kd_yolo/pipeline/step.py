"""What a stage of the chain hands on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """A finished stage; usable wherever a path is wanted.

    Attributes:
        stage: its name in the folder and in ``state.json``.
        path: the weights it made.
        metrics: ``map50_95`` and ``map50`` on the validation split (absent without data), ``parameters``, ``gflops``.
        notes: what a user should know about it, a line each.
    """

    stage: str
    path: Path
    metrics: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        shown = ", ".join(f"{key} {value:.4g}" for key, value in self.metrics.items())
        return f"{self.stage}: {self.path}" + (f" ({shown})" if shown else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``state.json``."""
        return {**asdict(self), "path": str(self.path), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Step:
        """The inverse of :meth:`to_json`."""
        return cls(values["stage"], Path(values["path"]), dict(values["metrics"]), tuple(values["notes"]))
