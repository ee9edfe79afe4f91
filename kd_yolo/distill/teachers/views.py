"""Fixed augmented views of a training set: a view is the same images, bit for bit, whenever and wherever it is made.

View ``v`` of image ``i`` is what ultralytics' augmentation makes of it when its random numbers start from a seed of
``v`` and ``i``; the run's seed, the order of the images and the loader's processes have no part in it. Partners for
mosaic come from the whole set, as what ultralytics keeps in memory for it depends on what was loaded before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from kd_yolo.base.rng import seeded

VIEW = "view"  # of a batch: the numbers of its views
MIXING = ("mosaic", "mixup", "cutmix", "copy_paste")  # what close_mosaic= switches off


class Views(Dataset[Any]):
    """The views of ultralytics' training set; everything else is that set's.

    A view has a number: ``slot * images + image``. Slots alternate: an even one is a view as training begins, the odd
    one after it the view with mosaic closed.

    Args:
        dataset: ultralytics' set; its mosaic is changed to draw from the whole of it.
        arguments: ultralytics' arguments, with the augmentation.
    """

    def __init__(self, dataset: Any, arguments: Any) -> None:
        self.dataset = dataset
        self.is_closed = False
        with self._whole_set():
            dataset.transforms = dataset.build_transforms(hyp=copy(arguments))

    def number(self, image: int, view: int) -> int:
        """The number of a view, as the augmentation is now."""
        return (2 * view + self.is_closed) * len(self.dataset) + image

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """The sample of a view, with its number."""
        slot, image = divmod(number, len(self.dataset))
        with seeded(int(np.random.SeedSequence([slot, image]).generate_state(1, np.uint64)[0] >> 1)):
            return {**self.dataset[image], VIEW: number}

    def close_mosaic(self, hyp: Any) -> None:
        """Upstream's: the last epochs have views of their own, unless nothing was mixed anyway."""
        self.is_closed = any(getattr(hyp, key) > 0 for key in MIXING)
        with self._whole_set():
            self.dataset.close_mosaic(hyp)

    @contextmanager
    def _whole_set(self) -> Iterator[None]:
        """Upstream's mosaic draws from the whole set where all images are in memory; it looks when it is built."""
        cache, self.dataset.cache = self.dataset.cache, "ram"
        try:
            yield
        finally:
            self.dataset.cache = cache

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


class Turns:
    """Stands for the batch sampler of a loader: each epoch shows the next view of every image.

    It goes on for ever, as that of ultralytics' loader, which may be an epoch ahead.

    Args:
        sampler: gives the batches of an epoch, as image numbers.
        views: the data set.
        count: views of an image.

    Attributes:
        epoch: which epoch the next iteration begins with.
    """

    def __init__(self, sampler: Iterable[list[int]], views: Views, count: int) -> None:
        self.sampler, self.views, self.count = sampler, views, count
        self.epoch = 0

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self.epoch
        while True:
            for batch in self.sampler:
                yield [self.views.number(image, epoch % self.count) for image in batch]
            epoch += 1
