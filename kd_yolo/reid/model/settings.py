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
    """What a network is built from, in settings and in checkpoints.

    Attributes:
        backbone: resnet18, 34, 50, 101, with ``_ibn_a``, another registered one, or a timm name.
        last_stride: stride of the last stage of a ResNet, 1 or 2.
        pool: of the global feature, a registered name: avg, gem or max.
        embedding: length of the embedding; 0 is that of the backbone.
        head: of the classifier, a registered name: linear, arcface, cosface or circle.
        local: the local branch of AlignedReID++.
        height, width: of a crop in pixels.
    """

    backbone: str = Field(default="resnet50", min_length=1, max_length=200)
    last_stride: Literal[1, 2] = 1
    pool: Pool = "avg"
    embedding: int = Field(default=0, ge=0, le=MAX_EMBEDDING)
    head: HeadName = "linear"
    local: bool = False
    height: int = Field(default=256, ge=32, le=MAX_SIDE)
    width: int = Field(default=128, ge=16, le=MAX_SIDE)


class NetworkSettings(NetworkShape):
    """The network of a run.

    Attributes:
        pretrained: ``auto`` (ImageNet weights when they can be had, else random ones; the log says which),
            ``imagenet`` (an error without them), ``none``, or a file.
    """

    pretrained: str = Field(default="auto", min_length=1)


class NetworkConfig(NetworkShape):
    """A network as a checkpoint describes it, in plain values.

    Attributes:
        num_identities: identities of the classifier; 0 leaves it out.
        mean, std: of the training images by channel, RGB from 0 to 1.
    """

    model_config = ConfigDict(strict=True)

    num_identities: int = Field(default=0, ge=0, le=MAX_IDENTITIES)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
