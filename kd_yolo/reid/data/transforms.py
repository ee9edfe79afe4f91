"""Crops as a network takes them: resized, and for training flipped, shifted, recoloured and partly erased.

Values are RGB in 0..1; the network holds mean and standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.rng import stream
from kd_yolo.reid.data.sampler import Draw
from kd_yolo.reid.model.settings import IMAGENET_MEAN

_ERASED = (0.02, 0.4)  # share of the area
_ASPECT = (0.3, 1 / 0.3)


def resize(image: Image.Image, size_hw: tuple[int, int]) -> Tensor:
    """An RGB image as uint8 (3,H,W), bilinear with antialiasing; the aspect ratio is not kept, as is usual."""
    pixels: Tensor = tv.pil_to_tensor(tv.resize(image, list(size_hw), antialias=True))
    return pixels


def as_unit(x_chw: Tensor) -> Tensor:
    """uint8 to float32 in 0..1."""
    return x_chw / 255


@dataclass(frozen=True)
class Augment:
    """What training does to a crop; the same seed and draw always give the same.

    Args:
        flip: probability of a mirror image.
        pad: black pixels added at each side before a random crop of the old size.
        erase: probability that a rectangle is erased.
        jitter: brightness, contrast, saturation and the strength of each colour channel change by a factor from
            1 - jitter to 1 + jitter each, as between cameras.
        seed: of the run.

    References:
        Zhong et al. 2020, "Random Erasing Data Augmentation", arXiv 1708.04896; area, aspect and the fill with the mean
        as in Luo et al. 2019, "Bag of Tricks", arXiv 1903.07071.
    """

    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("flip", self.flip), ("erase", self.erase)):
            if not 0 <= value <= 1:
                raise ConfigError(f"train.{name}={value}, expected a probability, 0..1.")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"train.jitter={self.jitter}, expected 0 or more and less than 1.")
        if self.pad < 0:
            raise ConfigError(f"train.pad={self.pad}, expected 0 or more pixels.")

    def __call__(self, x_chw: Tensor, draw: Draw) -> Tensor:
        """Augments a crop.

        Args:
            x_chw: uint8.
            draw: which crop it is, in which epoch.

        Returns:
            (3,H,W) float32 in 0..1.
        """
        key = int(stream(self.seed, "augment", draw.epoch, draw.sample, draw.repeat).integers(2**63))
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
            torch.default_generator.manual_seed(key)
            augmented: Tensor = _steps(self, tuple(x_chw.shape[1:]))(x_chw)
        return augmented


@lru_cache(maxsize=8)
def _steps(wanted: Augment, size_hw: tuple[int, ...]) -> v2.Transform:
    """The transforms of crops of one size."""
    steps: list[v2.Transform] = [v2.RandomHorizontalFlip(wanted.flip)]
    if wanted.pad:
        steps.append(v2.RandomCrop(list(size_hw), padding=wanted.pad))
    steps.append(v2.Lambda(as_unit))
    if wanted.jitter:
        steps.append(v2.ColorJitter(wanted.jitter, wanted.jitter, wanted.jitter))
        steps.append(v2.Lambda(partial(_balance, strength=wanted.jitter)))
    fill = list(IMAGENET_MEAN)  # 0 after normalisation
    steps.append(v2.RandomErasing(wanted.erase, scale=_ERASED, ratio=_ASPECT, value=fill))
    return v2.Compose(steps)


def _balance(x_chw: Tensor, strength: float) -> Tensor:
    """Another white balance: each channel times a factor of its own."""
    factors_c11 = 1 + strength * (2 * torch.rand(3, 1, 1) - 1)
    return (x_chw * factors_c11).clamp(max=1)
