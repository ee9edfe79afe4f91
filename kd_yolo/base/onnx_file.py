"""ONNX files of strangers: what is looked at before a runtime opens them, and the one way to open them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_yolo.base.device import choose_device, parse_device
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.extras import require
from kd_yolo.base.reading import read_bytes, shown

MAX_BYTES = (1 << 31) - 1  # of a message of protobuf
MAX_NODES = 200_000
_ENDLESS = {"Loop", "Scan"}  # no network for images repeats anything, and a count may be anything


def read_onnx(file: Path) -> Any:
    """The model in a file, without the weights that it may keep in other files.

    Args:
        file: an ONNX file.

    Raises:
        InputError: no regular file, no ONNX model, weights outside its folder, or operators that repeat a graph.
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", purpose=f"{file}")
    data = read_bytes(file, limit=MAX_BYTES, what="network")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which have no common class with a public name
        raise InputError(f"{file} is not an ONNX file, or was cut off ({shown(str(error))}).") from None
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{file} is not an ONNX file with a network in it.")
    for count, node in enumerate(_nodes(model.graph)):
        if count >= MAX_NODES or node.op_type in _ENDLESS:
            raise InputError(
                f"{file} repeats parts of itself ({shown(node.op_type)}), which no network for images does."
            )
    for function in model.functions:
        if any(node.op_type in _ENDLESS for node in function.node):
            raise InputError(f"{file} repeats parts of itself, which no network for images does.")
    for tensor in _tensors(model):
        _check_place(file, tensor, onnx)
    return model


def open_session(file: Path, device: str | None, wanted: str) -> Any:
    """An ONNX Runtime session.

    Args:
        file: a network that :func:`read_onnx` has looked at.
        device: ``cpu``, ``cuda``, ``cuda:1`` or None: a GPU where the runtime can use one.
        wanted: what kind of network was expected, for the message.

    Raises:
        InputError: the runtime cannot open it.
        ConfigError: a device that the runtime cannot use.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    import torch

    onnxruntime = require("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers = _providers(device, onnxruntime)
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # the runtime's errors have no common class
        raise InputError(f"{file} is not an ONNX file that can be run ({str(error)[:200]}): {wanted}.") from error


def _providers(device: str | None, runtime: Any) -> list[Any]:
    import torch

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


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes."""
    left = [graph]
    while left:
        graph = left.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                left += [attribute.g] if attribute.HasField("g") else []
                left += attribute.graphs


def _nodes(graph: Any) -> Iterator[Any]:
    for each in _graphs(graph):
        yield from each.node


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors with values: initializers, and those in attributes."""
    for graph in _graphs(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _in_attributes(graph.node)
    for function in model.functions:
        yield from _in_attributes(function.node)


def _in_attributes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def _check_place(file: Path, tensor: Any, onnx: Any) -> None:
    """Weights in another file lie beside the model: any other path could be any file of the user."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    beside = Path(place).name == place and place not in ("", ".", "..") and "\0" not in place
    if not beside or not (file.parent / place).is_file() or (file.parent / place).is_symlink():
        raise InputError(
            f"{file} keeps weight {shown(tensor.name)} in {shown(place)}, expected a file beside it: fetch it too, or"
            " export the network into one file."
        )
