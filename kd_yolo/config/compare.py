"""Configuration of a comparison of weights: ``kd-yolo compare``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kd_yolo.config.base import MAX_COUNT, MAX_SIDE, Device, StrictModel


class CompareConfig(StrictModel):
    """How weights are compared.

    Attributes:
        data: data YAML (a classifier: its folder); None leaves accuracy out.
        imgsz: longer side in pixels, for everything that is measured.
        batch: images at a time in the validation.
        split: split that is validated.
        device: where the validation runs, as ultralytics takes it; latency is always that of the CPU.
        runtime: what is timed: PyTorch in eager mode, or ONNX Runtime.
        rounds: timed rounds; the models take turns in each.
        threads: threads that one model may use while it is timed.
        trust_weights: load checkpoints that name classes outside the allow-list: runs the code they hold.
    """

    data: str | None = Field(default=None, min_length=1)
    imgsz: int = Field(default=640, ge=32, le=MAX_SIDE)
    batch: int = Field(default=16, ge=1, le=65536)
    split: Literal["train", "val", "test"] = "val"
    device: Device = None
    runtime: Literal["torch", "onnx"] = "torch"
    rounds: int = Field(default=50, ge=1, le=MAX_COUNT)
    threads: int = Field(default=1, ge=1, le=1024)
    trust_weights: bool = False
