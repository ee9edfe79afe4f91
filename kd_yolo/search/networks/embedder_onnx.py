"""An ONNX file as an embedder: ours, and those of torchreid and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import written_beside
from kd_yolo.base.onnx_file import open_session, read_onnx
from kd_yolo.reid.model.settings import IMAGENET_MEAN, IMAGENET_STD, MAX_EMBEDDING, MAX_SIDE
from kd_yolo.search.frames.frame_types import Floats

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
    normalised = has_normalisation(file)
    session = open_session(file, device, _WANTED)
    inputs = session.get_inputs()
    if len(inputs) != 1 or not _takes_crops(inputs[0]):
        raise InputError(f"{file} has inputs {[(one.name, one.shape) for one in inputs][:4]}: {_WANTED}.")
    shape = inputs[0].shape
    size_hw, fixed = (shape[2], shape[3]), shape[0] if isinstance(shape[0], int) else None
    mean_c11, std_c11 = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def run(x_nchw: Tensor) -> Floats:
        crops_nchw = (x_nchw if normalised else (x_nchw - mean_c11) / std_c11).numpy()
        parts = [_run(session, crops_nchw[start : start + (fixed or len(crops_nchw))], fixed)
                 for start in range(0, len(crops_nchw), fixed or len(crops_nchw))]  # fmt: skip
        return np.concatenate(parts)

    try:
        found_nd = run(torch.rand(2, 3, *size_hw, generator=torch.Generator().manual_seed(0)))
    except Exception as error:  # the runtime's errors have no common class
        raise InputError(f"{file} cannot be run on crops ({str(error)[:200]}): {_WANTED}.") from error
    if (
        found_nd.ndim != 2
        or len(found_nd) != 2
        or not 0 < found_nd.shape[1] <= MAX_EMBEDDING
        or not np.isfinite(found_nd).all()
    ):
        what = f"an output of shape {found_nd.shape}" if np.isfinite(found_nd).all() else "NaN or infinite values"
        raise InputError(f"{file} gives {what} for two crops: {_WANTED}.")
    return found_nd.shape[1], size_hw, run


def _run(session: Any, crops_nchw: Floats, fixed: int | None) -> Floats:
    """Vectors of one batch, filled up to a fixed size where the network wants it."""
    count = len(crops_nchw)
    if fixed is not None and count < fixed:
        filling = np.zeros((fixed - count, *crops_nchw.shape[1:]), np.float32)
        crops_nchw = np.concatenate([crops_nchw, filling])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: crops_nchw})[0], np.float32)[:count]


def _takes_crops(one: Any) -> bool:
    """Whether an input is (N,3,H,W) in float32 of a bounded size."""
    shape = one.shape
    if one.type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
        return False
    fits = all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in shape[2:])
    return fits and (not isinstance(shape[0], int) or 0 < shape[0] <= MAX_BATCH)


def has_normalisation(file: Path) -> bool:
    """Whether a network normalises its input itself, as an export of ``kd-yolo reid export`` does.

    Raises:
        InputError: not an ONNX file.
    """
    graph = read_onnx(file).graph
    constants = {value.name for value in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    return not inputs or _is_normalised(graph, inputs[0])


def with_normalisation(file: Path, target: Path) -> Path:
    """Writes a network that takes RGB 0-1 and normalises it by ImageNet's mean and deviation before its first layer.

    Args:
        file: a network without, see :func:`has_normalisation`.
        target: the ONNX file to write.

    Raises:
        InputError: not an ONNX file.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = read_onnx(file)
    onnx.load_external_data_for_model(model, str(file.parent))
    graph = model.graph
    constants = {value.name for value in graph.initializer}
    name = next(value.name for value in graph.input if value.name not in constants)
    mean, std, shifted, scaled = (f"kd_yolo_{part}" for part in ("mean", "std", "shifted", "scaled"))
    for node in graph.node:
        node.input[:] = [scaled if used == name else used for used in node.input]
    for constant, values in ((mean, IMAGENET_MEAN), (std, IMAGENET_STD)):
        array_1c11 = np.array(values, np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(array_1c11, constant))
    graph.node.insert(0, helper.make_node("Sub", [name, mean], [shifted]))
    graph.node.insert(1, helper.make_node("Div", [shifted, std], [scaled]))
    with written_beside(target) as part:
        onnx.save(model, str(part))
    return target


def _is_normalised(graph: Any, name: str) -> bool:
    """Whether something is done to the input before the first convolution."""
    names = {name}
    for node in graph.node:  # in the order of the work
        if names & set(node.input):
            if node.op_type == "Conv":
                return False
            if node.op_type in {"Identity", "Cast"}:
                names |= set(node.output)
    return True
