"""A network that turns crops of people into vectors: a ReID checkpoint, or an ONNX export of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.fingerprint import file_hash
from kd_yolo.base.reading import regular_file
from kd_yolo.reid.data.transforms import as_unit, resize
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.search.frames.frame_types import Floats, ImageHW3
from kd_yolo.search.networks.embedder_onnx import open_onnx

BATCH = 64
Run = Callable[[Tensor], Floats]


@dataclass(frozen=True)
class Embedder:
    """An open network; made by :meth:`open`.

    Attributes:
        weights: its file.
        hash: the first 16 hexadecimal digits of the file's SHA-256, by which a gallery knows it.
        dim: length D of a vector.
        size_hw: height and width in pixels to which crops are brought.
    """

    weights: Path
    hash: str
    dim: int
    size_hw: tuple[int, int]
    _run: Run

    @classmethod
    def open(cls, weights: Path, device: str | None = None) -> Embedder:
        """Loads a network.

        Args:
            weights: a checkpoint of ``kd-yolo reid train``, or an ONNX file with input (N,3,H,W), RGB 0-1.
            device: ``cpu``, ``cuda``, ``cuda:1``, or None: a GPU where there is one.

        Raises:
            InputError: no such file, not a ReID network, or a device that is not there.
        """
        weights = regular_file(weights, "network")
        opened = open_onnx(weights, device) if weights.suffix.lower() == ".onnx" else _open_checkpoint(weights, device)
        return cls(weights, file_hash(weights), *opened)

    def embed(self, images_rgb: Sequence[ImageHW3], batch: int = BATCH) -> Floats:
        """Vectors of crops.

        Args:
            images_rgb: crops (H,W,3), RGB uint8, each of its own size.
            batch: crops in a forward pass.

        Returns:
            (N,D) float32, rows of unit length; (0,D) for no crops.

        Raises:
            InputError: a crop that is no such image.
            ConfigError: ``batch`` below 1.
        """
        if batch < 1:
            raise ConfigError(f"batch={batch}, expected 1 or more.")
        found_nd = np.empty((len(images_rgb), self.dim), np.float32)
        for start in range(0, len(images_rgb), batch):
            chosen = images_rgb[start : start + batch]
            x_nchw = as_unit(torch.stack([self._resized(image) for image in chosen]))
            found_nd[start : start + len(chosen)] = self._run(x_nchw)
        length_n1 = np.linalg.norm(found_nd, axis=1, keepdims=True)
        np.divide(found_nd, length_n1, out=found_nd, where=length_n1 > 0)
        return found_nd

    def _resized(self, image_hw3: ImageHW3) -> Tensor:
        if image_hw3.ndim != 3 or image_hw3.shape[2] != 3 or 0 in image_hw3.shape or image_hw3.dtype != np.uint8:
            raise InputError(f"a crop is {image_hw3.dtype} of shape {image_hw3.shape}, expected uint8 (H,W,3), RGB.")
        return resize(Image.fromarray(image_hw3), self.size_hw)


def _open_checkpoint(weights: Path, device: str | None) -> tuple[int, tuple[int, int], Run]:
    place = choose_device(device)
    model = ReIDModel.load(weights).to(place).eval()

    def run(x_nchw: Tensor) -> Floats:
        with torch.inference_mode():
            found: Any = model.embed(x_nchw.to(place)).float().cpu().numpy()
        return np.asarray(found, np.float32)

    return model.dim, (model.config.height, model.config.width), run
