"""What a network is built from, in plain values, so that a checkpoint can say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkConfig:
    """The network.

    Attributes:
        backbone: resnet18, 34, 50, 101, with ``_ibn_a``, or a timm name.
        last_stride: stride of the last stage, 1 or 2.
        pool: of the global feature: avg, gem or max.
        embedding: length of the embedding; 0 is that of the backbone.
        head: classifier: linear, arcface, cosface or circle.
        num_identities: identities of the classifier; 0 leaves it out.
        local: the local branch of AlignedReID++.
        height, width: of a crop in pixels.
        mean, std: of the training images by channel, RGB from 0 to 1.
    """

    backbone: str = "resnet50"
    last_stride: int = 1
    pool: str = "avg"
    embedding: int = 0
    head: str = "linear"
    num_identities: int = 0
    local: bool = False
    height: int = 256
    width: int = 128
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """The reverse of :meth:`as_dict`.

        Raises:
            ConfigError: a key that no network has.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(f"a network has no setting '{key}'.{nearest(key, known)} Known: {', '.join(known)}.")
        plain: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in values.items()}
        return cls(**plain)
