"""What a ReID network is built from, in settings and in checkpoints, and the bounds of both; loads no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.base import StrictModel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STAGES = ("layer1", "layer2", "layer3", "layer4")
MAX_EMBEDDING = 16_384
MAX_IDENTITIES = 10_000_000
MAX_SIDE = 1024  # pixels of a crop
MAX_EPOCHS = 1_000_000
MAX_WEIGHT = 1e6  # of a loss


def _known_head(name: str) -> str:
    from kd_yolo.reid.model.heads import heads

    return _known(name, heads)


def _known_pool(name: str) -> str:
    from kd_yolo.reid.model.neck import pools

    return _known(name, pools)


def _known(name: str, registry: Any) -> str:
    try:
        registry.get(name[:100])
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


Pool = Annotated[str, AfterValidator(_known_pool)]
HeadName = Annotated[str, AfterValidator(_known_head)]
Deviation = Annotated[float, Field(gt=0, le=1e3)]


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
    head: HeadName = "linear"
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


class NetworkConfig(NetworkShape):
    """A network as a checkpoint describes it, in plain values."""

    model_config = ConfigDict(strict=True)

    num_identities: int = Field(default=0, ge=0, le=MAX_IDENTITIES)
    """Identities of the classifier; 0 leaves it out."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    """Mean and deviation of the training images by channel, RGB from 0 to 1."""
