"""A teacher in OpenVINO, which takes less time on a CPU; used only where it says what the network says in torch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from ultralytics.utils import LOGGER, RANK

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.extras import is_installed, require
from kd_yolo.config.options import TeacherRuntime
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.taps import read_layers
from kd_yolo.distill.teachers.teacher import EMATeacher, Teacher
from kd_yolo.yolo.exported import ExportedDetector
from kd_yolo.yolo.heads import is_decoder, raw_outputs

TOLERANCE = 1e-3
"""The largest root mean square of the difference from torch, in standard deviations of the output; yolov8s on images of
320 pixels has 5e-5 at most."""
HALF_TOLERANCE = 1.5
"""In bfloat16: how many times as far from the network in float32 it may be as torch in bfloat16 is."""
PURPOSE = "--teacher-runtime openvino"


def why_not(teacher: Teacher, device: torch.device) -> str | None:
    """Why a teacher cannot run in OpenVINO; None when it can.

    Args:
        teacher: told what to read.
        device: of the training.
    """
    if device.type != "cpu":
        return f"it is for training on a CPU, this one is on {device}"
    if isinstance(teacher, EMATeacher):
        return "the moving average changes in every step"
    if isinstance(teacher.model, ExportedDetector):
        return "an ONNX file runs in ONNX Runtime"
    if is_decoder(teacher.model):
        return "of an RT-DETR it knows no outputs"
    return "crosskd reads inside the teacher's head" if teacher.reads_branches else None


def in_runtime(teacher: Teacher, runtime: TeacherRuntime | None, device: torch.device) -> Teacher:
    """The teacher, in OpenVINO where that is asked for, or possible with ``auto``.

    Raises:
        ConfigError: asked for where it is not possible.
        MissingDependencyError: asked for, and not installed.
    """
    if runtime is None or runtime == "torch":
        return teacher
    reason = why_not(teacher, device)
    if runtime == "openvino":
        if reason is not None:
            raise ConfigError(f"--teacher-runtime openvino: {reason}. Leave it out, or take auto.")
        require("openvino", purpose=PURPOSE)
    if reason is not None or not is_installed("openvino"):
        _say(f"the teacher runs in torch: {reason or 'OpenVINO is not installed'}")
        return teacher
    return OpenVinoTeacher(teacher, must=runtime == "openvino")


class OpenVinoTeacher(Teacher):
    """Runs a teacher in OpenVINO from the first batch on, if it then agrees with torch within the tolerance.

    Args:
        teacher: told what to read; it stays as it is.
        must: raise where they do not agree; else torch goes on.
    """

    def __init__(self, teacher: Teacher, *, must: bool) -> None:
        self.live, self._must = teacher, must  # the network is the teacher's: nothing of the base class is set up
        self._compiled: dict[tuple[int, int], Any] = {}
        self._is_checked = False

    @property
    def model(self) -> nn.Module:
        return self.live.model

    @torch.no_grad()
    def __call__(self, image_nchw: Tensor) -> Outputs:
        """As :meth:`Teacher.__call__`.

        Raises:
            ConfigError: OpenVINO does not agree with torch, where it must.
        """
        if self._compiled or not self._is_checked:
            with torch.autocast("cpu", enabled=False):
                answer = self._run(image_nchw)
                if self._is_checked or self._agrees(answer, image_nchw):
                    return self._outputs(answer)
        return self.live(image_nchw)

    def _run(self, image_nchw: Tensor) -> list[Tensor]:
        size_hw = (image_nchw.shape[2], image_nchw.shape[3])
        if size_hw not in self._compiled:
            self._compiled[size_hw] = _compile(_Tapped(self.live), image_nchw, is_half=self.live.half)
        found = self._compiled[size_hw](np.ascontiguousarray(image_nchw.float().numpy()))
        return [torch.from_numpy(np.array(found[i])) for i in range(len(found))]

    def _outputs(self, answer: Sequence[Tensor]) -> Outputs:
        layers = self.live.layers
        features, rest = dict(zip(layers, answer, strict=False)), answer[len(layers) :]
        raw = {"boxes": rest[0], "scores": rest[1], "feats": list(rest[2:])} if rest else None
        return Outputs(features, raw)

    def _agrees(self, answer: Sequence[Tensor], image_nchw: Tensor) -> bool:
        """Compares the first answer with torch, says what was found, and settles which of both goes on."""
        self._is_checked = True
        wanted = _Tapped(self.live)(image_nchw)
        limit = TOLERANCE
        if self.live.half:
            with torch.autocast("cpu", torch.bfloat16):
                limit = max(limit, HALF_TOLERANCE * _difference(_Tapped(self.live)(image_nchw), wanted))
        found = _difference(answer, wanted)
        if found <= limit:
            _say(f"the teacher runs in OpenVINO: {found:.1e} standard deviations from torch, {limit:.1e} are allowed")
            return True
        self._compiled.clear()
        text = f"in OpenVINO the teacher is {found:.1e} standard deviations from torch, {limit:.1e} are allowed"
        if self._must:
            raise ConfigError(f"--teacher-runtime openvino: {text}. Leave it out.")
        _say(f"{text}: it runs in torch")
        return False


class _Tapped(nn.Module):
    """What a teacher gives, as a plain tuple: the tapped maps, then boxes, class logits and levels of its head."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.network, self.layers, self.needs_head = teacher.model, teacher.layers, teacher.needs_head

    def forward(self, image_nchw: Tensor) -> tuple[Tensor, ...]:
        preds: Any = None
        with read_layers(self.network, self.layers, stop=not self.needs_head) as features:
            preds = self.network(image_nchw)
        raw = raw_outputs(preds) if self.needs_head else {}
        head = (raw["boxes"], raw["scores"], *raw["feats"]) if raw else ()
        return (*(features[layer] for layer in self.layers), *head)


def _compile(network: nn.Module, image_nchw: Tensor, *, is_half: bool) -> Any:
    """A network in OpenVINO for any number of images of one size."""
    openvino = require("openvino", purpose=PURPOSE)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of tracing
        model = openvino.convert_model(network, example_input=image_nchw[:1])
    model.reshape([-1, *image_nchw.shape[1:]])
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if is_half else "f32",
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def _difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest root mean square of the differences, in standard deviations of what was wanted."""
    return max(
        float((a.float() - b).square().mean().sqrt() / b.std().clamp(min=1e-12))
        for a, b in zip(found, wanted, strict=True)
    )


def _say(text: str) -> None:
    if RANK in {-1, 0}:
        LOGGER.info(f"kd-yolo: {text}")
