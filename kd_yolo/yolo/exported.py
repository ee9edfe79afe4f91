"""A detector in an ONNX file, as ultralytics exports it: what people have who may not share a checkpoint."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.onnx_file import open_session, read_onnx
from kd_yolo.base.reading import regular_file, shown
from kd_yolo.geometry.anchors import anchor_points
from kd_yolo.yolo.heads import HeadFacts

SUFFIX = ".onnx"
LEVELS = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64), (16, 32))
PROBE_PX = 160  # for a file of any size
MAX_PX = 4096
MAX_NAMES = 1 << 20  # characters of the class names
WANTED = (
    "expected a detector as `yolo export format=onnx` writes it, images (N,3,H,W) in, boxes and scores (N,4+K,A) out"
)
_LEAST = 1e-6  # of a score, for its logit


class ExportedDetector(nn.Module):
    """A detector in an ONNX file, with the facts and the raw outputs of a head without box bins.

    It has no parameters and no features. A head with box bins has been decoded by the export, so it counts as one
    without: ``reg_max`` is 1.

    Args:
        file: an ONNX file.
        device: as :func:`kd_yolo.base.onnx_file.open_session` takes it.

    Attributes:
        facts: of its head.
        channels: of its images.
        size_hw: of its images in pixels; None for any.
        names: of its classes, where the file says them.
        pt_path: the file.

    Raises:
        InputError: no such network: another task, non-maximum suppression or an end-to-end head inside, other shapes.
        MissingDependencyError: onnx or ONNX Runtime is not installed.
    """

    def __init__(self, file: Path, device: str | None = "cpu") -> None:
        super().__init__()
        read_onnx(file)
        self.pt_path, self.task = str(file), "detect"
        self._session = open_session(file, device, WANTED)
        metadata = self._session.get_modelmeta().custom_metadata_map
        task = metadata.get("task", self.task)
        if task != self.task:
            raise InputError(f"{file} is an export of a {shown(task)} model: of exports only detectors teach.")
        self.channels, self.size_hw = self._input(file)
        self.facts = self._facts(file)
        self.names = _names(file, metadata, self.facts.num_classes)
        self.args: dict[str, Any] = {}

    def forward(self, image_nchw: Tensor) -> dict[str, Any]:
        """Raw outputs ``{"boxes": (N,4,A), "scores": (N,K,A), "feats": [...]}`` of images (N,C,H,W) in [0, 1].

        ``feats`` have the shapes of the levels, and no memory.
        """
        num_images, _, height, width = image_nchw.shape
        device = image_nchw.device
        answer_nca = torch.from_numpy(self._run(image_nchw.float().cpu().numpy())).to(device)
        sizes = [(height // stride, width // stride) for stride in self.facts.strides]
        feats = [torch.empty(1, device=device).expand(num_images, 1, *size) for size in sizes]
        boxes_n4a, scores_nka = answer_nca[:, :4], answer_nca[:, 4:]
        logits_nka = scores_nka.clamp(_LEAST, 1 - _LEAST).logit()
        return {"boxes": _distances(boxes_n4a, sizes, self.facts.strides), "scores": logits_nka, "feats": feats}

    def __deepcopy__(self, _memo: dict[int, Any]) -> ExportedDetector:
        """Itself: it never changes, and a session cannot be copied."""
        return self

    def check_images(self, arguments: Mapping[str, Any]) -> None:
        """Refuses a training whose images it does not take.

        Args:
            arguments: of ultralytics.

        Raises:
            ConfigError: another image size, or sizes that change.
        """
        if self.size_hw is None:
            return
        height, width = self.size_hw
        side = int(arguments["imgsz"])
        changing = [key for key in ("rect", "multi_scale") if arguments.get(key)]
        if changing or (height, width) != (side, side):
            what = f"{changing[0]} changes their size" if changing else f"the student is trained at imgsz={side}"
            raise ConfigError(
                f"the teacher {self.pt_path} takes images of {height} x {width} pixels, {what}: export it with"
                f" dynamic=True{'' if changing else f' or imgsz={side}'}."
            )

    def _input(self, file: Path) -> tuple[int, tuple[int, int] | None]:
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        is_half = bool(inputs) and inputs[0].type == "tensor(float16)"
        if len(shape) != 4 or not (is_half or inputs[0].type == "tensor(float)") or not isinstance(shape[1], int):
            raise InputError(f"{file} has inputs {[(one.name, one.shape) for one in inputs][:4]}: {WANTED}.")
        self._dtype = np.float16 if is_half else np.float32
        self._batch = shape[0] if isinstance(shape[0], int) else None
        sides = shape[2:]
        if not all(isinstance(side, int) for side in sides):
            return shape[1], None
        if not all(0 < side <= MAX_PX for side in sides) or not 0 < (self._batch or 1) <= MAX_PX:
            raise InputError(f"{file} takes images of shape {shape}: {WANTED}.")
        return shape[1], (sides[0], sides[1])

    def _facts(self, file: Path) -> HeadFacts:
        """Levels and classes, from the answer to a black image."""
        height, width = self.size_hw or (PROBE_PX, PROBE_PX)
        try:
            found = self._run(np.zeros((1, self.channels, height, width), np.float32))
        except Exception as error:  # the runtime's errors have no common class
            raise InputError(f"{file} cannot be run on an image ({str(error)[:200]}): {WANTED}.") from error
        if found.ndim == 3 and found.shape[2] == 6:
            raise InputError(
                f"{file} answers with detections {found.shape}: non-maximum suppression or an end-to-end head is"
                " inside, and answers at anchors are needed. Export it with nms=False end2end=False."
            )
        fits = [
            strides for strides in LEVELS
            if found.ndim == 3 and found.shape[2] == sum((height // s) * (width // s) for s in strides)
        ]  # fmt: skip
        if not fits or found.shape[1] < 5 or not np.isfinite(found).all():
            what = f"of shape {found.shape}" if np.isfinite(found).all() else "with NaN or infinite values"
            raise InputError(f"{file} gives an output {what}: {WANTED}.")
        return HeadFacts((), fits[0], found.shape[1] - 4)

    def _run(self, images_nchw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The first output for all images, in batches of the size that the file has."""
        name, step = self._session.get_inputs()[0].name, self._batch or len(images_nchw)
        parts = []
        for start in range(0, len(images_nchw), step):
            part = images_nchw[start : start + step]
            filled = np.concatenate([part, np.zeros((step - len(part), *part.shape[1:]), part.dtype)])
            parts.append(self._session.run(None, {name: filled.astype(self._dtype)})[0][: len(part)])
        return np.concatenate(parts).astype(np.float32)


def open_exported(path: str | Path) -> ExportedDetector:
    """Opens an ONNX file as a detector.

    Raises:
        InputError: no such file, or none of that kind.
        MissingDependencyError: see :class:`ExportedDetector`.
    """
    return ExportedDetector(locate_exported(path))


def locate_exported(path: str | Path) -> Path:
    """The file of that name; it is not opened.

    Raises:
        InputError: there is none.
    """
    file = Path(path).expanduser()
    if not file.exists():
        raise InputError(f"the teacher {shown(str(path))} does not exist: copy the file here or give its path.")
    return regular_file(file, "teacher")


def is_exported(name: str | Path) -> bool:
    """Whether a name is that of an ONNX file."""
    return Path(str(name)).suffix.lower() == SUFFIX


def _names(file: Path, metadata: Mapping[str, str], num_classes: int) -> dict[int, str]:
    """Class names from the file, numbers where it has none.

    Raises:
        InputError: names that are none, or of another number of classes.
    """
    text = metadata.get("names", "")
    if not text:
        return {number: str(number) for number in range(num_classes)}
    try:
        found = ast.literal_eval(text) if len(text) <= MAX_NAMES else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or set(found) != set(range(num_classes)):
        raise InputError(f"{file} has {num_classes} classes, its names say otherwise ({shown(text, 100)}).")
    return {int(number): str(name) for number, name in found.items()}


def _distances(boxes_n4a: Tensor, sizes: list[tuple[int, int]], strides: tuple[int, ...]) -> Tensor:
    """Left, top, right and bottom in cells (N,4,A) of boxes with centre and size in pixels."""
    centre_2a, scale_a = anchor_points(sizes, strides, boxes_n4a)
    middle_n2a, half_n2a = boxes_n4a[:, :2] / scale_a, boxes_n4a[:, 2:] / (2 * scale_a)
    return torch.cat([centre_2a - (middle_n2a - half_n2a), middle_n2a + half_n2a - centre_2a], 1)
