"""Crops for a loader."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.sampler import Draw
from kd_yolo.reid.data.transforms import Augment, as_unit, resize

CACHE_MAX_BYTES = 8 * 2**30
Item = tuple[Tensor, int, int, int]


class Crops(Dataset[Item]):
    """Crops with their identities, as (x_chw, identity row, camera, index).

    ``x_chw`` is RGB float32 in 0..1. An item is asked for by its index, or with augmentation by a
    :class:`~kd_yolo.reid.data.sampler.Draw`; it depends on nothing else, so workers need not be told of epochs.

    Args:
        samples: the crops.
        targets: row of each one's identity; the identity itself when None.
        size_hw: height and width in pixels.
        augment: for training; None only resizes.
        cache: decode and resize everything now and keep it as uint8, 3 x H x W bytes a crop.

    Raises:
        ConfigError: the cache would be too large.
        InputError: a crop does not decode (at once with ``cache``, else when it is asked for).
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Sequence[int] | None,
        size_hw: tuple[int, int] = (256, 128),
        *,
        augment: Augment | None = None,
        cache: bool = False,
    ) -> None:
        self.samples = tuple(samples)
        self.targets = tuple(sample.identity for sample in samples) if targets is None else tuple(targets)
        assert len(self.targets) == len(self.samples)
        self.size_hw, self.augment = size_hw, augment
        self._pixels_nchw = self._read_all() if cache else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | Draw) -> Item:
        draw = key if isinstance(key, Draw) else Draw(int(key))
        x_chw = self.pixels(draw.sample)
        crop = as_unit(x_chw) if self.augment is None else self.augment(x_chw, draw)
        return crop, self.targets[draw.sample], self.samples[draw.sample].camera, draw.sample

    def pixels(self, index: int) -> Tensor:
        """A crop as uint8 (3,H,W), resized only."""
        if self._pixels_nchw is not None:
            return self._pixels_nchw[index]
        return resize(read_rgb(self.samples[index].path), self.size_hw)

    def _read_all(self) -> Tensor:
        size = (len(self.samples), 3, *self.size_hw)
        num_bytes = torch.Size(size).numel()
        if num_bytes > CACHE_MAX_BYTES:
            raise ConfigError(
                f"train.cache=true would hold {num_bytes / 2**30:.1f} GiB for {size[0]} crops of"
                f" {size[2]} x {size[3]} px, at most {CACHE_MAX_BYTES / 2**30:.0f} GiB: set train.cache=false."
            )
        pixels_nchw = torch.empty(size, dtype=torch.uint8)
        for index, sample in enumerate(self.samples):
            pixels_nchw[index] = resize(read_rgb(sample.path), self.size_hw)
        return pixels_nchw
