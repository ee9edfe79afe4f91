"""Configuration of a comparison of weights: ``kd-yolo compare``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kd_yolo.config.base import MAX_COUNT, MAX_SIDE, Device, TrustWeights


class CompareConfig(TrustWeights):
    """How weights are compared."""

    data: str | None = Field(default=None, min_length=1)
    """Data YAML (a classifier: its folder) on which accuracy is measured (default: accuracy is left out)."""
    imgsz: int = Field(default=640, ge=32, le=MAX_SIDE)
    """Longer side of the images in pixels, for everything that is measured."""
    batch: int = Field(default=16, ge=1, le=65536)
    """Images per batch of the validation."""
    device: Device = None
    """Where the validation runs: cpu, or a GPU's number; latency is always that of the CPU (default: a GPU if any)."""
    split: Literal["train", "val", "test"] = "val"
    """Split that is validated."""
    runtime: Literal["torch", "onnx"] = "torch"
    """What is timed: PyTorch, or ONNX Runtime after an export to a temporary folder."""
    rounds: int = Field(default=50, ge=1, le=MAX_COUNT)
    """Timed rounds; the models take turns in each."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads that a model may use while it is timed."""
