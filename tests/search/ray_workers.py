"""A detector for the workers of a Ray cluster, which dies as its file of weights says."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_yolo.search.crops.ray import plan as ray_plan
from kd_yolo.search.crops.ray import worker as ray_worker
from kd_yolo.search.frames.frame_types import ImageHW3, People
from kd_yolo.search.networks import detector
from kd_yolo.search.settings import DetectorSettings
from tests.search.crops_helpers import BrightDetector


def write_weights(path: Path, **orders: Any) -> Path:
    """Orders: ``die_at``, images that a process sees before it is killed; ``times``, how many processes are."""
    path.write_text(json.dumps(orders))
    return path


class MortalDetector(BrightDetector):
    """Kills its process in the middle of a batch."""

    def detect(self, images_bgr: Sequence[ImageHW3], conf: float) -> list[People]:
        """See :class:`BrightDetector`."""
        orders, pid = json.loads(self.file.read_text()), os.getpid()
        found = super().detect(images_bgr, conf)
        if self.num_seen > orders.get("die_at", 1e9):
            graves = self.file.parent / "graves"
            graves.mkdir(exist_ok=True)
            if len(list(graves.iterdir())) < orders["times"]:
                (graves / str(pid)).touch()
                os.kill(pid, signal.SIGKILL)
        return found


def prepare_worker() -> None:
    """What each process of the cluster does first."""

    def open_mortal(cls: type, settings: DetectorSettings, trust: bool = False) -> MortalDetector:
        return MortalDetector(settings)

    detector.PersonDetector.open = classmethod(open_mortal)  # type: ignore[method-assign, assignment]
    ray_plan.LEAST_FRAMES = 8
    ray_worker.GROUP_FRAMES = 3
