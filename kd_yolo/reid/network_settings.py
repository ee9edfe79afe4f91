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
    """What a network is built from, in settings and in checkpoints.

    Attributes:
        backbone: resnet18, 34, 50, 101, with ``_ibn_a``, or a timm name.
        last_stride: stride of the last stage of a ResNet, 1 or 2.
        pool: of the global feature.
        embedding: length of the embedding; 0 is that of the backbone.
        head: of the classifier.
        local: the local branch of AlignedReID++.
        height, width: of a crop in pixels.
    """

    backbone: str = Field(default="resnet50", min_length=1, max_length=200)
    last_stride: Literal[1, 2] = 1
    pool: Pool = "avg"
    embedding: int = Field(default=0, ge=0, le=MAX_EMBEDDING)
    head: Head = "linear"
    local: bool = False
    height: int = Field(default=256, ge=32, le=MAX_SIDE)
    width: int = Field(default=128, ge=16, le=MAX_SIDE)


class NetworkSettings(NetworkShape):
    """The network.

    Attributes:
        pretrained: ``auto`` (ImageNet weights when they can be had, else random ones; the log says which),
            ``imagenet`` (an error without them), ``none``, or a file.
    """

    pretrained: str = Field(default="auto", min_length=1)
