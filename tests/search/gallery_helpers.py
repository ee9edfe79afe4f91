"""Made-up crops and small networks, for the tests of galleries."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kd_yolo.search.frames.frame_types import Floats
from kd_yolo.search.gallery.gallery import Gallery

DIM, HASH = 8, "0123456789abcdef"


def jpeg(value: int = 0, size_hw: tuple[int, int] = (16, 8)) -> bytes:
    """Noise that depends on ``value``, as a file."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(value).integers(0, 255, (*size_hw, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def row(frame: int, source: str = "cam1.mp4", **more: Any) -> dict[str, Any]:
    """The line of a crop, a second a frame."""
    return {
        "file": f"{frame}.jpg", "source": source, "frame": frame, "seconds": float(frame), "camera": 1, "track": -1,
        "x1": 1, "y1": 2, "x2": 9, "y2": 18, "score": 0.75, **more,
    }  # fmt: skip


def vectors(count: int, seed: int = 0, dim: int = DIM) -> Floats:
    """Rows of unit length."""
    found_nd = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(found_nd / np.linalg.norm(found_nd, axis=1, keepdims=True), np.float32)


def add(gallery: Gallery, count: int, *, first: int = 0, seed: int = 0, **more: Any) -> Floats:
    """Adds crops of the frames from ``first`` on, and returns their vectors."""
    found_nd = vectors(count, seed, gallery.dim)
    frames = range(first, first + count)
    gallery.add(found_nd, [row(frame, **more) for frame in frames], [jpeg(frame) for frame in frames])
    return found_nd


def files(folder: Path) -> set[str]:
    """All files of a gallery but the lock."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {".lock"}


def save_network(path: Path, seed: int = 0, *, backbone: str = "tiny_resnet") -> Path:
    """A small ReID network with random weights; other processes know ``resnet18`` only."""
    import torch  # the processes that only add crops start without it

    import tests.reid.tiny_backbone  # noqa: F401, it registers itself
    from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
    from kd_yolo.reid.model.network import ReIDModel
    from kd_yolo.reid.model.settings import NetworkConfig

    torch.manual_seed(seed)
    config = NetworkConfig(backbone=backbone, height=64, width=32)
    return save_checkpoint(path, Checkpoint(config, ReIDModel(config, weights="none").state_dict()))
