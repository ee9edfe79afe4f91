"""The networks of a run that cuts out crops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.networks.embedder import Embedder
from kd_yolo.search.settings import CropsConfig


@dataclass(frozen=True)
class Networks:
    """Open networks.

    Attributes:
        detector, embedder: the latter is None where no vectors are asked for.
        trust: load whatever files hold, code included.
    """

    detector: PersonDetector
    embedder: Embedder | None
    trust: bool

    @classmethod
    def open(cls, config: CropsConfig, *, trust: bool) -> Networks:
        """Loads them.

        Args:
            config: which, and on which device.
            trust: load whatever files hold, code included.

        Raises:
            ConfigError: unknown class of people or device.
            InputError: a file cannot be used.
        """
        embedder = None if config.embed is None else Embedder.open(Path(config.embed), config.detector.device)
        return cls(PersonDetector.open(config.detector, trust=trust), embedder, trust)

    @property
    def hashes(self) -> tuple[str, str | None]:
        """Of the files of the detector and of the embedder."""
        return self.detector.hash, None if self.embedder is None else self.embedder.hash
