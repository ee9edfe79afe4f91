"""A model in ONNX Runtime: exported by ultralytics to a temporary folder, quietly, and run on the CPU."""

from __future__ import annotations

import copy
import importlib
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from ultralytics.engine.exporter import Exporter
from ultralytics.nn.tasks import guess_model_task

from kd_yolo.base.extras import check_installed
from kd_yolo.yolo.export import no_openvino_hint
from kd_yolo.yolo.families import is_end2end
from kd_yolo.yolo.quiet import quiet

NEEDED = ("onnx", "onnxruntime")


def onnx_runner(model: nn.Module, imgsz: int, threads: int) -> Callable[[], None]:
    """A function that runs one image through the exported model, without post-processing.

    Args:
        model: a YOLO task model; it is not touched.
        imgsz: longer side in pixels; rounded up to whole strides.
        threads: threads of the session.

    Raises:
        MissingDependencyError: onnx or ONNX Runtime is not installed.
    """
    require_onnx()
    with tempfile.TemporaryDirectory() as folder:
        return file_runner(export_onnx(model, imgsz, Path(folder)), threads)


def file_runner(file: Path, threads: int) -> Callable[[], None]:
    """A function that runs one image through an ONNX file of ours, without post-processing.

    Args:
        file: exported here, for a fixed size.
        threads: threads of the session.
    """
    session = _session(file, threads)
    source = session.get_inputs()[0]
    image = np.random.default_rng(0).random(source.shape, dtype=np.float32)
    return lambda: session.run(None, {source.name: image})


def require_onnx() -> None:
    """Checks that models can be exported and run.

    Raises:
        MissingDependencyError: onnx or ONNX Runtime is not installed.
    """
    check_installed(*NEEDED, purpose="timing in ONNX Runtime (--runtime torch times PyTorch)")


def export_onnx(model: nn.Module, imgsz: int, folder: Path) -> Path:
    """Writes ``folder/model.onnx`` for one image of a fixed size; an end-to-end head stays end-to-end."""
    exported: Any = copy.deepcopy(model).cpu()
    exported.pt_path = str(folder / "model.pt")  # the exporter writes beside it
    exported.task = getattr(model, "task", None) or guess_model_task(model)
    # not simplified: ONNX Runtime optimises the graph itself, the times are the same
    overrides = {"format": "onnx", "imgsz": imgsz, "batch": 1, "device": "cpu", "simplify": False}
    if is_end2end(exported.model[-1]):
        overrides["nms"] = False  # else newer releases export the one-to-many branch
    with quiet(logging.ERROR), no_openvino_hint():
        return Path(Exporter(overrides=overrides)(model=exported))


def _session(file: Path, threads: int) -> Any:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads of one session would otherwise spin on while the next one is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
