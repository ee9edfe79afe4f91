"""Images without labels in every training batch: behind the labelled ones, augmented alike, never mixed with them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.rtdetr.val import RTDETRDataset
from ultralytics.utils import LOGGER, RANK

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.data.spec import DataSpec, list_images
from kd_yolo.data.unlabelled import UnlabelledImages, find_unlabelled
from kd_yolo.distill.split import NUM_LABELLED, NUM_MASKS
from kd_yolo.training.exact_resume import mixed_in
from kd_yolo.training.trainers import TrainerMixin

_NO_FILE = Path(os.devnull, "none")


class WithoutLabels:
    """Training images whose labels are empty, whatever label files there are; nothing is written beside them."""

    im_files: list[str]
    use_keypoints: bool
    data: dict[str, Any]

    def get_img_files(self, img_path: list[str]) -> list[str]:
        """The files as given: they are checked already."""
        return list(img_path)

    def get_labels(self) -> list[dict[str, Any]]:
        """No object in any image, in the shapes that upstream gives to an image without a label file."""
        points = int(self.data["kpt_shape"][0]) if self.use_keypoints else 0
        return [
            {
                "im_file": file,
                "cls": np.zeros((0, 1), np.float32),
                "bboxes": np.zeros((0, 4), np.float32),
                "segments": [],
                "keypoints": np.zeros((0, points, 3), np.float32) if self.use_keypoints else None,
                "normalized": True,
                "bbox_format": "xywh",
            }
            for file in self.im_files
        ]

    @property
    def npy_files(self) -> list[Path]:
        """Files that do not exist: upstream takes a ``.npy`` beside an image for its own, to replace and to delete."""
        return [_NO_FILE] * len(self.im_files)

    @npy_files.setter
    def npy_files(self, files: list[Path]) -> None:
        del files


class UnlabelledDataset(WithoutLabels, YOLODataset):  # type: ignore[misc]  # ultralytics has no type information
    """Unlabelled images as a YOLO sees its images."""


class StretchedUnlabelledDataset(WithoutLabels, RTDETRDataset):  # type: ignore[misc]
    """Unlabelled images as an RT-DETR sees its images."""


@dataclass(frozen=True)
class MixedCollate:
    """Makes a batch of the labelled samples that it is given, and of unlabelled ones that it draws.

    The batch has ``num_labelled`` (its first images) and, where there are masks, ``num_labelled_masks``. Choice and
    augmentation draw from Python's and NumPy's global generators, as those of the labelled images do.

    Args:
        collate: the labelled set's own.
        unlabelled: where to draw from.
        count: images to draw; none twice, if there are enough.
    """

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]
    unlabelled: UnlabelledDataset | StretchedUnlabelledDataset
    count: int

    def __call__(self, labelled: list[dict[str, Any]]) -> dict[str, Any]:
        """The mixed batch."""
        choice = range(len(self.unlabelled))
        is_enough = self.count <= len(choice)
        drawn = random.sample(choice, self.count) if is_enough else random.choices(choice, k=self.count)
        batch = self.collate([*labelled, *(self.unlabelled[index] for index in drawn)])
        batch[NUM_LABELLED] = len(labelled)
        if "masks" in batch:
            batch[NUM_MASKS] = sum(len(sample["masks"]) for sample in labelled)
        return batch


def mix_unlabelled(dataset: Any, images: UnlabelledImages, ratio: float, batch: int, args: Any) -> None:
    """Lets every batch of a labelled training set have unlabelled images behind the labelled ones.

    Args:
        dataset: ultralytics' labelled set; its batches grow, what is in them before stays.
        images: the unlabelled ones.
        ratio: unlabelled images as a share of the labelled ones in a batch; at least one is mixed in.
        batch: labelled images in a batch.
        args: ultralytics' arguments, for the augmentation.

    Raises:
        ConfigError: a ratio of 0 or less, or ``rect=True``.
    """
    if not ratio > 0:
        raise ConfigError(f"--unlabelled-ratio {ratio}: expected more than 0, such as 1 for as many as labelled ones.")
    if dataset.rect:
        raise ConfigError("rect=True gives every batch a shape of its own, so no unlabelled images fit in: leave out.")
    kind = StretchedUnlabelledDataset if isinstance(dataset, RTDETRDataset) else UnlabelledDataset
    unlabelled = kind(
        img_path=[str(file) for file in images.files],
        imgsz=args.imgsz,
        cache="ram" if args.cache is True or args.cache == "ram" else None,
        augment=True,
        hyp=args,
        prefix="unlabelled: ",
        batch_size=batch,
        stride=dataset.stride,
        pad=dataset.pad,
        data=dataset.data,
        task=args.task,
    )
    count = max(1, round(ratio * min(batch, len(dataset))))
    dataset.collate_fn = MixedCollate(dataset.collate_fn, unlabelled, count)
    dataset.mixed_in = (unlabelled,)


class UnlabelledMixin(TrainerMixin):
    """Mixes unlabelled images into the training batches if the settings name any."""

    kd_config: DistillConfig
    _unlabelled: UnlabelledImages | None = None

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Upstream's data set; for training, with unlabelled images in its batches."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode == "train" and self.kd_config.unlabelled is not None:
            if self._unlabelled is None:
                self._unlabelled = self._find(self.kd_config.unlabelled, dataset)
            ratio = self.kd_config.unlabelled_ratio
            mix_unlabelled(dataset, self._unlabelled, ratio, batch or self.batch_size, self.args)
        return dataset

    def _find(self, source: str, dataset: Any) -> UnlabelledImages:
        """The images, without those that are trained on with labels and those that the student is judged by."""
        known = [*(Path(file) for file in dataset.im_files), *_held_out(self.data)]
        images = find_unlabelled(source, frames_dir=self.save_dir / "unlabelled", exclude=known)
        if RANK in {-1, 0}:
            LOGGER.info(f"kd-yolo: {len(images.files)} unlabelled images of {source}")
            if self.args.cache == "disk":
                LOGGER.info("kd-yolo: cache=disk would write beside the unlabelled images: they are not cached")
            for note in images.notes:
                LOGGER.info(f"kd-yolo: unlabelled: {note}")
        return images

    def auto_batch(self) -> int:
        """Upstream's choice for ``batch=-1``, less the room that the unlabelled images take."""
        size = int(super().auto_batch())
        if self.kd_config.unlabelled is None:
            return size
        labelled = max(int(size / (1 + self.kd_config.unlabelled_ratio)), 1)
        LOGGER.info(f"kd-yolo: batch={labelled}, which leaves room for the unlabelled images")
        return labelled

    def _close_dataloader_mosaic(self) -> None:
        super()._close_dataloader_mosaic()
        for dataset in mixed_in(self.train_loader.dataset):
            dataset.close_mosaic(hyp=copy(self.args))


def _held_out(data: dict[str, Any]) -> list[Path]:
    """Images of validation and test, of a data set as upstream has read it."""
    entries = {split: data.get(split) or [] for split in ("val", "test")}
    splits = {split: (found,) if isinstance(found, str) else tuple(found) for split, found in entries.items()}
    spec = DataSpec(Path(), Path(), {}, {split: tuple(map(Path, paths)) for split, paths in splits.items()}, {})
    return [file for split in splits for file in list_images(spec, split)]
