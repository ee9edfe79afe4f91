"""The one way to open what ``--teacher`` names: a checkpoint, or an ONNX file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from kd_yolo.yolo.exported import is_exported, locate_exported, open_exported
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.locate import TEACHER, locate
from kd_yolo.yolo.files.quantized_state import refuse_quantized
from kd_yolo.yolo.heads import detector_head


def open_teacher(name: str | Path, *, trust: bool = False) -> nn.Module:
    """A teacher's network.

    Args:
        name: a checkpoint, see :func:`kd_yolo.yolo.files.loading.load_checkpoint`, or an ONNX file.
        trust: ``--trust-weights``.

    Raises:
        InputError: it cannot be used, or cannot teach.
        MissingDependencyError: onnx or ONNX Runtime is not installed.
    """
    if is_exported(name):
        return open_exported(name)
    model, _ = load_checkpoint(name, trust=trust, flag=TEACHER)
    detector_head(model, "teacher")
    refuse_quantized(model, str(name), "as a teacher")
    return model


def locate_teacher(name: str) -> str:
    """The path of a teacher's file.

    Raises:
        InputError: there is none.
    """
    return str((locate_exported(name) if is_exported(name) else locate(name)).resolve())
