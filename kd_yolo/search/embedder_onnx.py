"""An ONNX file as an embedder: ours, and those of torchreid and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_yolo.base.device import choose_device, parse_device
from kd_yolo.base.extras import require
from kd_yolo.config.reid_network import MAX_EMBEDDING, MAX_SIDE
from kd_yolo.errors import ConfigError, InputError
from kd_yolo.reid.model.onnx_file import read_onnx
from kd_yolo.reid.model.settings import IMAGENET_MEAN, IMAGENET_STD
from kd_yolo.search.records import Floats

MAX_BATCH = 1024  # of a file with a fixed one
_WANTED = "expected a network with one input (N,3,H,W) of float32 and vectors (N,D), as kd-yolo reid export writes it"


def open_onnx(file: Path, device: str | None) -> tuple[int, tuple[int, int], Callable[[Tensor], Floats]]:
    """Opens an ONNX file.

    A graph that convolves its input as it comes has no normalisation inside, as torchreid exports it: crops are
    normalised by ImageNet's mean and deviation before it. One with a fixed batch gets its crops in such batches.

    Args:
        file: the network.
        device: ``cpu``, ``cuda``, ``cuda:1`` or None: a GPU where the runtime can use one.

    Returns:
        D, height and width of the input, and a function from crops (N,3,H,W), RGB 0-1, to (N,D).

    Raises:
        InputError: not such a network, or a device that the runtime cannot use.
    """
    graph = read_onnx(file).graph
    session = _session(file, device)
    inputs = session.get_inputs()
    if len(inputs) != 1 or not _takes_crops(inputs[0]):
        raise InputError(f"{file} has inputs {[(one.name, one.shape) for one in inputs][:4]}: {_WANTED}.")
    shape = inputs[0].shape
    size_hw, fixed = (shape[2], shape[3]), shape[0] if isinstance(shape[0], int) else None
    normalised = not any(node.op_type == "Conv" and inputs[0].name in node.input for node in graph.node)
    mean_c11, std_c11 = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def run(x_nchw: Tensor) -> Floats:
        crops_nchw = (x_nchw if normalised else (x_nchw - mean_c11) / std_c11).numpy()
        parts = [_run(session, crops_nchw[start : start + (fixed or len(crops_nchw))], fixed)
                 for start in range(0, len(crops_nchw), fixed or len(crops_nchw))]  # fmt: skip
        return np.concatenate(parts)

    try:
        found_nd = run(torch.rand(1, 3, *size_hw, generator=torch.Generator().manual_seed(0)))
    except Exception as error:  # the runtime's errors have no common class
        raise InputError(f"{file} cannot be run on a crop ({str(error)[:200]}): {_WANTED}.") from error
    if found_nd.ndim != 2 or not 0 < found_nd.shape[1] <= MAX_EMBEDDING or not np.isfinite(found_nd).all():
        what = f"an output of shape {found_nd.shape}" if np.isfinite(found_nd).all() else "NaN or infinite values"
        raise InputError(f"{file} gives {what} for one crop: {_WANTED}.")
    return found_nd.shape[1], size_hw, run


def _run(session: Any, crops_nchw: Floats, fixed: int | None) -> Floats:
    """Vectors of one batch, filled up to a fixed size where the network wants it."""
    count = len(crops_nchw)
    if fixed is not None and count < fixed:
        filling = np.zeros((fixed - count, *crops_nchw.shape[1:]), np.float32)
        crops_nchw = np.concatenate([crops_nchw, filling])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: crops_nchw})[0], np.float32)[:count]


def _session(file: Path, device: str | None) -> Any:
    onnxruntime = require("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers = _providers(device, onnxruntime)
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # the runtime's errors have no common class
        raise InputError(f"{file} is not an ONNX file that can be run ({str(error)[:200]}): {_WANTED}.") from error


def _providers(device: str | None, runtime: Any) -> list[Any]:
    cuda = "CUDAExecutionProvider"
    name = parse_device(device)
    can = cuda in runtime.get_available_providers() and torch.cuda.is_available()
    if name not in (None, "cpu") and not can:
        raise ConfigError(
            f"device={device}, but this onnxruntime runs on {runtime.get_available_providers()}: --device cpu."
        )
    if name == "cpu" or not can:
        return ["CPUExecutionProvider"]
    return [(cuda, {"device_id": choose_device(name).index or 0}), "CPUExecutionProvider"]


def _takes_crops(one: Any) -> bool:
    """Whether an input is (N,3,H,W) in float32 of a bounded size."""
    shape = one.shape
    if one.type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
        return False
    fits = all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in shape[2:])
    return fits and (not isinstance(shape[0], int) or 0 < shape[0] <= MAX_BATCH)
