"""One graph from a crop to its embedding: normalisation, network, neck and unit length, checked in the runtime."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError, KDYoloError
from kd_yolo.base.extras import check_installed, require
from kd_yolo.base.files import written_beside
from kd_yolo.base.folders import folder_beside
from kd_yolo.base.registry import nearest
from kd_yolo.reid.data.dataset import Crops
from kd_yolo.reid.data.sets import read_reid_set
from kd_yolo.reid.model.network import ReIDModel

Format = Literal["onnx", "torchscript", "openvino"]
FORMATS: tuple[str, ...] = get_args(Format)
ENDINGS = {"onnx": ".onnx", "torchscript": ".torchscript", "openvino": "_openvino_model"}
NEEDS: dict[str, tuple[str, ...]] = {"onnx": ("onnx", "onnxruntime"), "torchscript": (), "openvino": ("openvino",)}
TOLERANCE = 1e-4  # of a value of a unit embedding, float32 against float32
OPSET = 17
BATCHES = (1, 8)
Floats = npt.NDArray[np.float32]
Runner = Callable[[Floats], Floats]


class EmbeddingGraph(nn.Module):
    """What is exported: crops (N,3,H,W), RGB 0-1, to embeddings (N,D) of unit length.

    Args:
        model: its heads are not part of the graph.
    """

    def __init__(self, model: ReIDModel) -> None:
        super().__init__()
        self.model = model
        self.eval()  # the exporter puts a graph back into the mode that it found

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings of unit length."""
        return self.model.embed(images)


def export(model: ReIDModel, file: Path, kind: str, crops_nchw: Tensor | None = None) -> tuple[Path, float]:
    """Writes a network for a runtime and compares the two.

    Args:
        model: on the CPU; is in eval mode afterwards.
        file: the checkpoint that it came from; the export goes beside it under the ending of its kind.
        kind: ``onnx`` (dynamic batch), ``torchscript`` or ``openvino``.
        crops_nchw: crops to compare on, see :func:`read_crops`; noise where there are none.

    Returns:
        The file or folder, and the largest difference of an embedding's value, batches of 1 and 8.

    Raises:
        ConfigError: unknown kind.
        MissingDependencyError: the runtime is not installed.
        KDYoloError: the export gives other embeddings.
    """
    if kind not in FORMATS:
        raise ConfigError(f"unknown format '{kind}'.{nearest(kind, FORMATS)} Known: {', '.join(FORMATS)}.")
    check_installed(*NEEDS[kind], purpose=f"--format {kind}")
    graph, target = EmbeddingGraph(model), file.with_name(f"{file.stem}{ENDINGS[kind]}")
    size = (model.config.height, model.config.width)
    sample = torch.rand(BATCHES[-1], 3, *size, generator=torch.Generator().manual_seed(0))
    crops_nchw = sample if crops_nchw is None else crops_nchw[: BATCHES[-1]]
    writer, opener = WRITERS[kind]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, on checks of the input's shape
        writer(graph, target, crops_nchw)
        run = opener(target)
        difference = max(_difference(graph, run, crops_nchw[:number]) for number in BATCHES)
    if not difference <= TOLERANCE:
        raise KDYoloError(
            f"{target} gives embeddings that differ by {difference:.2g} from PyTorch's, more than {TOLERANCE:g}: do not"
            " use it; try another format."
        )
    return target, difference


def read_crops(folder: str, size_hw: tuple[int, int]) -> Tensor:
    """The first crops of a set (8,3,H,W), or as many as it has; from its queries where it has any.

    Args:
        folder: of a ReID set.
        size_hw: height and width that the network takes.

    Raises:
        InputError: no set that can be read.
    """
    found = read_reid_set(folder, decode=False)
    crops = Crops((found.query or found.train)[: BATCHES[-1]], None, size_hw)
    return torch.stack([crops[index][0] for index in range(len(crops))])


def _difference(graph: EmbeddingGraph, run: Runner, crops_nchw: Tensor) -> float:
    found = run(crops_nchw.numpy())
    return float(np.abs(found - graph(crops_nchw).numpy()).max())


def _write_onnx(graph: EmbeddingGraph, target: Path, crops_nchw: Tensor) -> None:
    with written_beside(target) as part, contextlib.redirect_stdout(io.StringIO()):  # the exporter prints its progress
        torch.onnx.export(
            graph, (crops_nchw,), str(part), input_names=["images"], output_names=["embeddings"], opset_version=OPSET,
            dynamic_axes={"images": {0: "batch"}, "embeddings": {0: "batch"}}, dynamo=False,
        )  # fmt: skip


def _open_onnx(target: Path) -> Runner:
    onnxruntime = require("onnxruntime")

    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return lambda crops_nchw: np.asarray(session.run(None, {"images": crops_nchw})[0], np.float32)


def _write_torchscript(graph: EmbeddingGraph, target: Path, crops_nchw: Tensor) -> None:
    traced: Any = torch.jit.trace(graph, crops_nchw)  # type: ignore[no-untyped-call]
    with written_beside(target) as part:
        traced.save(str(part))


def _open_torchscript(target: Path) -> Runner:
    graph: Any = torch.jit.load(str(target))  # type: ignore[no-untyped-call]
    return lambda crops_nchw: np.asarray(graph(torch.from_numpy(crops_nchw)), np.float32)


def _write_openvino(graph: EmbeddingGraph, target: Path, crops_nchw: Tensor) -> None:
    openvino = require("openvino")

    _, channels, height, width = crops_nchw.shape
    network = openvino.convert_model(graph, example_input=crops_nchw, input=[[-1, channels, height, width]])
    with folder_beside(target) as partial:
        openvino.save_model(network, partial / f"{target.name}.xml", compress_to_fp16=False)


def _open_openvino(target: Path) -> Runner:
    openvino = require("openvino")

    compiled = openvino.compile_model(target / f"{target.name}.xml", "CPU", config={"INFERENCE_PRECISION_HINT": "f32"})
    return lambda crops_nchw: np.asarray(compiled(crops_nchw)[0], np.float32)


WRITERS: dict[str, tuple[Callable[[EmbeddingGraph, Path, Tensor], None], Callable[[Path], Runner]]] = {
    "onnx": (_write_onnx, _open_onnx),
    "torchscript": (_write_torchscript, _open_torchscript),
    "openvino": (_write_openvino, _open_openvino),
}
