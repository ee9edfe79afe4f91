"""What a ReID network is built from, in settings and in checkpoints, and the bounds of both."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from kd_yolo.config.base import StrictModel

Pool = Literal["avg", "gem", "max"]
Head = Literal["linear", "arcface", "cosface", "circle"]
MAX_EMBEDDING = 16_384
MAX_SIDE = 1024  # pixels of a crop
MAX_EPOCHS = 1_000_000
MAX_WEIGHT = 1e6  # of a loss


class Settings(StrictModel):
    """Base of the sections: no number is infinite or NaN."""

    model_config = ConfigDict(allow_inf_nan=False)


class NetworkShape(Settings):
    """What a network is built from, in settings and in checkpoints."""

    backbone: str = Field(default="resnet50", min_length=1, max_length=200)
    """resnet18, resnet34, resnet50, resnet101, each also with _ibn_a (resnet50_ibn_a), or the name of a timm model."""
    last_stride: Literal[1, 2] = 1
    """Stride of the last stage of a ResNet, 1 or 2."""
    pool: Pool = "avg"
    """Pooling of the global feature: avg, gem or max."""
    embedding: int = Field(default=0, ge=0, le=MAX_EMBEDDING)
    """Length of the embedding; 0 keeps the length of the backbone's feature."""
    head: Head = "linear"
    """Classifier over identities: linear, arcface, cosface or circle."""
    local: bool = False
    """Add the local branch of AlignedReID++ (8 horizontal stripes)."""
    height: int = Field(default=256, ge=32, le=MAX_SIDE)
    """Height of the input crops in pixels."""
    width: int = Field(default=128, ge=16, le=MAX_SIDE)
    """Width of the input crops in pixels."""


class NetworkSettings(NetworkShape):
    """The network."""

    pretrained: str = Field(default="auto", min_length=1)
    """Initial weights: auto (ImageNet if available, the log says so), imagenet (must be available), none, or a file."""
