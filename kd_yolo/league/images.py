"""Detections and labels of every image of a split, and the mAP of any resample of the images.

The mAP is ultralytics': precision at 101 recalls, averaged over IoU 0.5 to 0.95 and the classes that have labels. An
image that is drawn twice counts twice. Sorting is done once; a resample is a count for each image, and all that is
left to compute are cumulative sums of counts.

Between two true positives precision only falls, so the interpolated precision is a step function of the recall x: the
highest precision at any recall above x. The average over the 101 recalls is then a sum over the true positives alone,
each with the share of the recalls that lie between the recall before it and its own.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError

Array = npt.NDArray[Any]
RECALLS = np.linspace(0, 1, 101)
# area under a curve that is 1 at the first c of the 101 recalls and 0 after them, by the trapezoidal rule
AREAS = np.concatenate(([0.0], np.cumsum([0.005, *[0.01] * 99, 0.005])))
CHUNK = 4_000_000  # counts that are in memory at once


@dataclass(frozen=True)
class ImageScores:
    """What a validation found: D detections and M labels on I images, T thresholds of the IoU.

    Attributes:
        tp: (D,T) whether a detection is right.
        conf: (D,) its confidence.
        pred_class: (D,) its class.
        pred_image: (D,) the number of its image.
        target_class: (M,) class of a label.
        target_image: (M,) the number of its image.
        names: (I,) names of the images.
    """

    tp: Array
    conf: Array
    pred_class: Array
    pred_image: Array
    target_class: Array
    target_image: Array
    names: Array

    def to_bytes(self) -> bytes:
        """The content of an ``.npz`` file."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> ImageScores:
        """Reads an ``.npz`` file.

        Raises:
            InputError: it is not one of ours.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} holds no statistics of images: {error}. Remove it.") from error

    def mean_ap(self, counts_bi: Array | None = None) -> Array:
        """The mAP50-95 of resamples.

        Args:
            counts_bi: (B,I) how often each image is drawn; None is each image once.

        Returns:
            (B,)
        """
        counts_bi = np.ones((1, len(self.names)), np.int64) if counts_bi is None else counts_bi
        parts = max(1, len(counts_bi) * len(self.conf) // CHUNK)
        return np.concatenate([self._mean_ap(part) for part in np.array_split(counts_bi, min(parts, len(counts_bi)))])

    def _mean_ap(self, counts_bi: Array) -> Array:
        order = np.argsort(-self.conf)  # as ultralytics writes it: equal confidences come in the same order too
        total_b, classes_b = np.zeros(len(counts_bi)), np.zeros(len(counts_bi), np.int64)
        for label in np.unique(self.target_class):
            targets_b = counts_bi[:, self.target_image[self.target_class == label]].sum(1)
            rows = order[self.pred_class[order] == label]
            total_b += _class_ap(counts_bi[:, self.pred_image[rows]], self.tp[rows], targets_b)
            classes_b += targets_b > 0
        return total_b / np.maximum(classes_b, 1)


def _class_ap(counts_bd: Array, tp_dt: Array, targets_b: Array) -> Array:
    """AP of one class, averaged over the thresholds.

    Args:
        counts_bd: how often each detection counts, the most confident one first.
        tp_dt: whether it is right.
        targets_b: labels of the class; where there are none, the AP is 0.
    """
    seen_bd = np.cumsum(counts_bd, axis=1)
    total_b = np.zeros(len(counts_bd))
    for right in tp_dt.T:
        index = np.flatnonzero(right)
        hits_bk = np.cumsum(counts_bd[:, index], axis=1)
        precision_bk = hits_bk / np.maximum(seen_bd[:, index], 1)
        best_bk = np.maximum.accumulate(precision_bk[:, ::-1], axis=1)[:, ::-1]
        area_bk = AREAS[np.searchsorted(RECALLS, hits_bk / np.maximum(targets_b, 1)[:, None], side="left")]
        total_b += (best_bk * np.diff(area_bk, axis=1, prepend=0.0)).sum(1)
    return np.where(targets_b > 0, total_b / tp_dt.shape[1], 0.0)
