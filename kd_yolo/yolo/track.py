"""The trackers of ultralytics, fed with boxes instead of a predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ultralytics.engine.results import Boxes
from ultralytics.trackers.track import TRACKER_MAP
from ultralytics.utils import IterableSimpleNamespace

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.registry import nearest
from kd_yolo.yolo.quiet import quiet

Floats = npt.NDArray[np.float32]


def tracker_names() -> list[str]:
    """The trackers of the installed ultralytics."""
    return sorted(TRACKER_MAP)


@dataclass(frozen=True)
class Follower:
    """Gives the boxes of a video's frames the numbers of tracks.

    Attributes:
        tracker: a tracker of ultralytics, with its state.
    """

    tracker: Any

    @classmethod
    def open(cls, settings: Mapping[str, Any], device: str | None = None) -> Follower:
        """Starts a tracker.

        Args:
            settings: as in ultralytics' tracker YAML.
            device: of the network for the appearance; None: a GPU where there is one.

        Raises:
            ConfigError: no such tracker, or a setting is missing.
            InputError: the network for the appearance cannot be opened.
        """
        kind = str(settings.get("tracker_type"))
        if kind not in TRACKER_MAP:
            known = sorted(TRACKER_MAP)
            raise ConfigError(f"unknown tracker_type '{kind}'.{nearest(kind, known)} Known: {', '.join(known)}.")
        chosen = None if device is None else choose_device(device)
        try:
            with quiet():
                return cls(TRACKER_MAP[kind](args=IterableSimpleNamespace(**settings, device=chosen)))
        except AttributeError as error:
            raise ConfigError(f"the settings of tracker {kind} lack a key: {error}") from None
        except Exception as error:  # whatever the runtime of the network raises
            model = Path(str(settings.get("model")))
            why = str(error).partition("\n")[0]
            raise InputError(
                f"{model}: the tracker cannot use this network. Make one with: kd-yolo reid export. It says: {why}"
            ) from error

    def update(self, boxes_xyxy_m4: Floats, scores_m: Floats, image_hw3: npt.NDArray[np.uint8]) -> Floats:
        """The next frame.

        Args:
            boxes_xyxy_m4: boxes that were found, with low scores too: a tracker knows what to do with them.
            scores_m: from 0 to 1.
            image_hw3: BGR.

        Returns:
            (T, 6) corners as the tracker smooths them, number of the track from 1, score: of the tracks that are seen
            in this frame and confirmed.
        """
        rows_m6 = np.column_stack([boxes_xyxy_m4, scores_m, np.zeros(len(scores_m))]).astype(np.float32)
        found = self.tracker.update(Boxes(rows_m6.reshape(-1, 6), image_hw3.shape[:2]), image_hw3)
        return np.asarray(found, np.float32).reshape(-1, 8)[:, :6]
