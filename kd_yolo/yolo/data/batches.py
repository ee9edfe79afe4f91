"""Labelled images in batches, and a model's own loss on them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from ultralytics.cfg import get_cfg
from ultralytics.data.augment import classify_transforms
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.rtdetr.val import RTDETRDataset
from ultralytics.utils import DEFAULT_CFG, DEFAULT_CFG_DICT, IterableSimpleNamespace

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.rng import seeded
from kd_yolo.data.sample import sample_classes, sample_detection
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.yolo.heads import is_decoder
from kd_yolo.yolo.quiet import quiet

# What a model was trained with, less what mixes images: as in the last epochs of a training, when mosaic is closed.
_AUGMENT = (
    "hsv_h",
    "hsv_s",
    "hsv_v",
    "degrees",
    "translate",
    "scale",
    "shear",
    "perspective",
    "flipud",
    "fliplr",
    "bgr",
)
_UNMIXED = {"mosaic": 0.0, "mixup": 0.0, "cutmix": 0.0, "copy_paste": 0.0}
_SET = ("args", "nc", "criterion")  # what a loss needs of a model
LABELLED = ("detect", "segment", "pose", "obb", "classify")


@dataclass(frozen=True)
class Images:
    """Where images come from.

    Attributes:
        data: data YAML; for a classifier the folder with a folder for each split.
        imgsz: longer side in pixels; rounded up to whole strides.
        batch: images in a batch.
        seed: of the choice of images.
        split: "train", "val" or "test".
        augment: as in the last epochs of the model's training: all that it was trained with, but no mosaic. A
            classifier's images are never augmented.
    """

    data: str
    imgsz: int
    batch: int
    seed: int = 0
    split: str = "train"
    augment: bool = False


def batches(model: Any, images: Images, count: int) -> Iterator[dict[str, Any]]:
    """Some images of a split with their labels, as the loss of ``model`` takes them.

    Letterboxed, for a classifier cropped. Equal images, order and augmentation in each call. Images left over after
    the last full batch are left out, unless they are the only ones.

    Args:
        model: a YOLO task model; its task, stride and device count.
        images: where they come from.
        count: images.

    Yields:
        Ultralytics' batches on the model's device, ``img`` (N,C,S,S) in 0..1.

    Raises:
        InputError: the data is unusable.
        ConfigError: a task without a data loader here.
    """
    if model.task not in LABELLED:
        raise ConfigError(
            f"a {model.task} model cannot be pruned with data: {', '.join(LABELLED)} can. Leave data out."
        )
    device = next(model.parameters()).device
    with tempfile.TemporaryDirectory() as folder, quiet():
        with seeded(images.seed):
            dataset, collate = _dataset(model, images, count, Path(folder) / "set")
        size = min(images.batch, len(dataset))
        for batch in DataLoader(dataset, size, collate_fn=collate, drop_last=True):
            found = {"img": batch[0], "cls": batch[1]} if isinstance(batch, list) else batch
            found = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in found.items()}
            found["img"] = found["img"].float() / (255 if found["img"].dtype == torch.uint8 else 1)
            yield found


def _dataset(model: Any, images: Images, count: int, folder: Path) -> tuple[Any, Any]:
    """A data set of ``count`` images, and what makes batches of them."""
    choice = (images.data, images.split, count, images.seed, folder)
    if model.task == "classify":
        return _classes(model, sample_classes(*choice) / "train", images.imgsz), None
    spec = read_data_yaml(sample_detection(*choice))
    stride = max(int(model.stride.max()), 32)
    kind = RTDETRDataset if is_decoder(model) else YOLODataset
    trained: Any = vars(_arguments(model))
    arguments = {key: trained[key] for key in ("overlap_mask", "mask_ratio", *_AUGMENT)}
    try:
        dataset = kind(
            img_path=str(folder / "images"), imgsz=math.ceil(images.imgsz / stride) * stride, rect=False,
            augment=images.augment, hyp=get_cfg(DEFAULT_CFG, {**arguments, **_UNMIXED}), task=model.task,
            batch_size=images.batch, stride=stride,
            data={"channels": 3, **spec.extras, "names": spec.names, "nc": len(spec.names)},
        )  # fmt: skip
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise InputError(f"{images.data} cannot be read for a {model.task} model: {error}") from error
    return _Seeded(dataset, images.seed), dataset.collate_fn


class _Seeded(Dataset[Any]):
    """A data set whose augmentation of an image depends on a seed only; the caller's random states are left alone."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        with seeded(self.seed + index):
            return self.dataset[index]


def _classes(model: Any, folder: Path, imgsz: int) -> ImageFolder:
    """Images by class folder; folders that the model has a class of that name for get its number."""
    numbers = {str(name): int(number) for number, name in model.names.items()}
    dataset = ImageFolder(str(folder), transform=classify_transforms(size=imgsz), allow_empty=True)
    dataset.target_transform = lambda i: numbers.get(dataset.classes[i], i)
    return dataset


@contextmanager
def task_loss(model: Any) -> Iterator[Any]:
    """A function that gives the loss of ``model`` on a batch: that of its training, BatchNorm statistics frozen.

    Args:
        model: in train mode inside the ``with`` block, its BatchNorms excepted; afterwards as it was.
    """
    modes = {module: module.training for module in model.modules()}
    before = {name: getattr(model, name) for name in _SET if hasattr(model, name)}
    # ultralytics' trainers set these two as well: the losses read them
    model.args, model.nc, model.criterion = _arguments(model), len(model.names), None

    def loss(batch: dict[str, Any]) -> Tensor:
        total: Tensor = model.loss(batch)[0].sum()
        return total

    try:
        _train_frozen(model)
        yield loss
    finally:
        for name in _SET:
            delattr(model, name)  # RT-DETR's criterion became a submodule
        for name, value in before.items():
            setattr(model, name, value)
        for module, mode in modes.items():
            module.training = mode


def _train_frozen(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _arguments(model: Any) -> IterableSimpleNamespace:
    """The arguments that the model was trained with, as the losses read them."""
    args = model.args if isinstance(model.args, dict) else vars(model.args)
    return IterableSimpleNamespace(**{**DEFAULT_CFG_DICT, **args})
