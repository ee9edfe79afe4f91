"""What each of ultralytics' export formats imports: asked for before the export begins, never installed by it."""

from __future__ import annotations

from kd_yolo.base.extras import check_installed

_ONNX = ("onnx",)
_TENSORFLOW = ("tensorflow", "onnx2tf")
# By the format's name, the modules that ultralytics imports for it and would otherwise install with pip.
NEEDS: dict[str, tuple[str, ...]] = {
    "torchscript": (),
    "onnx": _ONNX,
    "openvino": ("openvino",),
    "engine": ("tensorrt", *_ONNX),
    "coreml": ("coremltools",),
    "coreai": ("coreai_torch",),
    "saved_model": _TENSORFLOW,
    "pb": _TENSORFLOW,
    "tflite": _TENSORFLOW,
    "edgetpu": _TENSORFLOW,
    "tfjs": (*_TENSORFLOW, "tensorflowjs"),
    "litert": ("litert_torch", "ai_edge_litert"),
    "paddle": ("paddle", "x2paddle"),
    "mnn": ("MNN",),
    "ncnn": ("ncnn", "pnnx"),
    "imx": ("model_compression_toolkit", "edgemdt_tpc"),
    "rknn": ("rknn", *_ONNX),
    "executorch": ("executorch",),
    "axelera": ("axelera",),
    "deepx": ("dx_com", *_ONNX),
    "qnn": ("onnxruntime_qnn", *_ONNX),
    "hailo": ("hailo_sdk_client", *_ONNX),
    "ascend": _ONNX,
    "xilinx": ("quark", *_ONNX),
}


def require_format(kind: str) -> None:
    """Checks that a format's packages are there, before anything is loaded or written.

    Args:
        kind: ultralytics' name of the format; one that this table does not know is left to ultralytics.

    Raises:
        MissingDependencyError: one is not installed; says the install line.
    """
    check_installed(*NEEDS.get(kind, ()), purpose=f"export to {kind}")
