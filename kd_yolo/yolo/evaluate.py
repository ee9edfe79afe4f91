"""Accuracy of a model on a data set, by ultralytics' validators."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.models.rtdetr.val import RTDETRValidator
from ultralytics.models.yolo.classify import ClassificationValidator
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.obb import OBBValidator
from ultralytics.models.yolo.pose import PoseValidator
from ultralytics.models.yolo.segment import SegmentationValidator
from ultralytics.nn.tasks import guess_model_task

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.data.check import check_for_validation
from kd_yolo.data.resolve import resolved_data
from kd_yolo.data.source import find_class_folder, split_folder
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.heads import input_channels, is_decoder
from kd_yolo.yolo.quiet import quiet

VALIDATORS: dict[str, Any] = {
    "detect": DetectionValidator,
    "segment": SegmentationValidator,
    "pose": PoseValidator,
    "obb": OBBValidator,
    "classify": ClassificationValidator,
}


def validate(
    path_or_model: str | Path | nn.Module,
    data: str | Path,
    *,
    imgsz: int,
    batch: int = 16,
    split: str = "val",
    device: str | torch.device | None = None,
    watch: Callable[[Any], None] | None = None,
    exported: Path | None = None,
) -> dict[str, float]:
    """Validates as ``yolo val`` does, but prints no tables and leaves no run folder.

    Args:
        path_or_model: a checkpoint, loaded safely, or a model, which is not touched; an exported one runs in ONNX
            Runtime.
        data: data YAML; for a classifier the folder with a folder for each split.
        imgsz: longer side in pixels; rounded up to whole strides.
        batch: images at a time.
        split: "train", "val" or "test".
        device: as ultralytics takes it; None is the first GPU, else the CPU.
        watch: called with the validator after every batch, see :class:`kd_yolo.yolo.image_statistics.ImageStatistics`.
        exported: a file or folder that the model was exported to by us, which runs in its own runtime instead of it.

    Returns:
        Ultralytics' names and values: ``metrics/mAP50(B)``, ``metrics/mAP50-95(B)``, ...

    Raises:
        InputError: weights or data that cannot be used, or whose classes differ.
        ConfigError: a task that has no validator here.
    """
    model: Any
    if isinstance(path_or_model, ExportedDetector):
        model, exported = path_or_model, Path(path_or_model.pt_path)
    elif isinstance(path_or_model, nn.Module):
        model = copy.deepcopy(path_or_model)  # the validator fuses what it gets
    else:
        model, _ = load_checkpoint(path_or_model)
    check_data(model, data, split)
    task = _task(model)
    validator = RTDETRValidator if is_decoder(model) else VALIDATORS[task]
    with tempfile.TemporaryDirectory() as folder:
        source = resolved_data(data, task, Path(folder), split)
        settings = {
            "task": task, "mode": "val", "data": source, "imgsz": imgsz, "batch": batch, "split": split,
            "device": device, "rect": True, "plots": False, "verbose": False, "workers": 0,
        }  # fmt: skip
        with quiet(), torch.no_grad():
            run = validator(args=settings, save_dir=Path(folder))
            if watch is not None:
                run.add_callback("on_val_batch_end", watch)
            found = run(model=model.float().eval() if exported is None else str(exported))
    return {str(key): float(value) for key, value in found.items()}


def check_data(model: nn.Module, data: str | Path, split: str = "val") -> None:
    """Checks, before anything is computed, that a model can be validated on a data set.

    Raises:
        InputError: the data cannot be used, or has another number of classes.
        ConfigError: a task that has no validator here.
    """
    facts: Any = model
    task = _task(model)
    if task not in VALIDATORS:
        raise ConfigError(
            f"{_name(model)} is a {task} model, which is not validated here: {', '.join(VALIDATORS)} are."
        )
    num_data = _count_folders(data, split) if task == "classify" else _check_images(model, data, split)
    if num_data != len(facts.names):
        raise InputError(
            f"{_name(model)} has {len(facts.names)} classes, {data} has {num_data}: its accuracy there means nothing."
            " Give the data that it was trained on, or fine-tune it on this data first."
        )


def _check_images(model: nn.Module, data: str | Path, split: str) -> int:
    """Classes of a data YAML whose split has images, with the channels that the model takes."""
    spec = check_for_validation(data, split, _task(model))
    channels = input_channels(model)
    if channels != spec.channels:
        raise InputError(
            f"{_name(model)} takes {channels}-channel images, {data} has {spec.channels} channels ('channels:'):"
            " give data of the kind that it was trained on."
        )
    return len(spec.names)


def _count_folders(data: str | Path, split: str) -> int:
    """Classes of a classification set: a folder each."""
    root = find_class_folder(data, ("train", split))
    folder = split_folder(root, split)
    classes = [entry for entry in folder.glob("*") if entry.is_dir()]
    if not classes:
        raise InputError(f"{data} is no classification set: expected {folder}/<class>/<image>.")
    return len(classes)


def _task(model: nn.Module) -> str:
    return str(getattr(model, "task", None) or guess_model_task(model) or "detect")  # RT-DETR: nothing to guess from


def _name(model: nn.Module) -> str:
    return str(getattr(model, "pt_path", None) or f"the {type(model).__name__}")
