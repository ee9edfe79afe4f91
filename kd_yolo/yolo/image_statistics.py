"""What a validation found on each image, kept while ultralytics' validator goes over the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class ImageStatistics:
    """Watches a validator; afterwards it holds every detection and every label with the image that it is on.

    Give it to :func:`kd_yolo.yolo.evaluate.validate` as ``watch``.
    """

    def __init__(self) -> None:
        self._stats: dict[str, list[Array]] = {}
        self._files: list[str] = []

    def __call__(self, validator: Any) -> None:
        """Callback for ``on_val_batch_end``: upstream empties its lists before the validation returns."""
        keys = ("tp", "conf", "pred_cls", "target_cls")
        self._stats = {key: list(validator.metrics.stats[key]) for key in keys}
        self._files = validator.dataloader.dataset.im_files  # in the order in which they are shown

    def arrays(self) -> dict[str, Array]:
        """Plain arrays.

        Returns:
            Of D detections ``tp`` (D,10) for IoU 0.5 to 0.95, ``conf``, ``pred_class`` and ``pred_image`` (its number);
            of M labels ``target_class`` and ``target_image``; ``names`` of the images.
        """
        stats = self._stats
        names = [Path(file).name for file in self._files[: len(stats["conf"])]]
        return {
            "tp": np.concatenate(stats["tp"]).astype(bool),
            "conf": np.concatenate(stats["conf"]),
            "pred_class": np.concatenate(stats["pred_cls"]).astype(np.int64),
            "pred_image": _images(stats["conf"]),
            "target_class": np.concatenate(stats["target_cls"]).astype(np.int64),
            "target_image": _images(stats["target_cls"]),
            "names": np.array(names),
        }


def _images(parts: list[Array]) -> Array:
    """The number of the image of each entry of concatenated parts."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
