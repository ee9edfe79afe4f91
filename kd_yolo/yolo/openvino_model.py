"""ONNX files in OpenVINO, as they are: ultralytics converts no network with quantisers to its format itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from kd_yolo.base.extras import require
from kd_yolo.base.files import write_text

PURPOSE = "running ONNX files in OpenVINO"


def convert_onnx(file: Path) -> Path:
    """Writes ``<name>_openvino_model/`` beside an ONNX file that ultralytics exported, in the form that it opens.

    Args:
        file: the ONNX file.

    Raises:
        MissingDependencyError: OpenVINO or onnx is not installed.
    """
    openvino, onnx = (require(name, purpose=PURPOSE) for name in ("openvino", "onnx"))
    folder = file.with_name(f"{file.stem}_openvino_model")
    folder.mkdir(exist_ok=True)
    openvino.save_model(openvino.Core().read_model(file), folder / f"{file.stem}.xml", compress_to_fp16=False)
    facts = {prop.key: prop.value for prop in onnx.load(file, load_external_data=False).metadata_props}
    write_text(folder / "metadata.yaml", yaml.safe_dump(facts, sort_keys=False))
    return folder


def openvino_runner(folder: Path, threads: int) -> Callable[[], None]:
    """A function that runs one image through a converted network on the CPU, without post-processing.

    Args:
        folder: from :func:`convert_onnx`.
        threads: of the runtime.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    openvino = require("openvino", purpose=PURPOSE)
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(next(folder.glob("*.xml")), "CPU", settings)
    image = np.random.default_rng(0).random(tuple(compiled.inputs[0].shape), dtype=np.float32)

    def run() -> None:
        compiled(image)

    return run
