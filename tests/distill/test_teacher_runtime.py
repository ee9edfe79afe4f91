"""A teacher in OpenVINO: it says what it says in torch, or torch goes on; what cannot run there is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError, MissingDependencyError
from kd_yolo.base.extras import is_installed
from kd_yolo.distill.teachers.runtime import TOLERANCE, OpenVinoTeacher, in_runtime
from kd_yolo.distill.teachers.teacher import EMATeacher, Teacher

needs_openvino = pytest.mark.skipif(not is_installed("openvino"), reason="needs the extra openvino")
Train = Callable[..., Any]
CPU = torch.device("cpu")


def images(count: int, side: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


@needs_openvino
@pytest.mark.parametrize(
    ("layers", "needs_head"),
    [
        ([2, 4], True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (([], True), ([1, 4], False), ([3], True))),
    ],
)
def test_it_says_what_torch_says(build: Callable[..., nn.Module], layers: list[int], needs_head: bool) -> None:
    """For every number of images and every size, compiled once for each size."""
    network: Any = build()
    live = Teacher(network).watch(layers, needs_head=needs_head)
    fast = OpenVinoTeacher(live, must=True)
    if not needs_head:
        network.model[-1].register_forward_pre_hook(lambda *_: pytest.fail("no term needs the head"))
    for batch in (images(4), images(2), images(2, 96)):
        got, wanted = fast(batch), live(batch)
        assert list(got.features) == list(wanted.features) == layers
        pairs = [(got.features[layer], wanted.features[layer]) for layer in layers]
        assert (got.raw is None) == (wanted.raw is None) == (not needs_head)
        if got.raw is not None and wanted.raw is not None:
            pairs += [(got.raw[key], wanted.raw[key]) for key in ("boxes", "scores")]
            pairs += list(zip(got.raw["feats"], wanted.raw["feats"], strict=True))
        assert all(a.shape == b.shape and (a - b).abs().max() <= 10 * TOLERANCE * b.std() for a, b in pairs)
    assert len(fast._compiled) == 2


@needs_openvino
@pytest.mark.slow
def test_where_it_says_something_else_torch_goes_on_or_an_error_says_so(
    build: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    def shifted(self: OpenVinoTeacher, batch: torch.Tensor) -> list[torch.Tensor]:
        return [x + 0.01 * x.std() for x in run(self, batch)]

    run = OpenVinoTeacher._run
    monkeypatch.setattr(OpenVinoTeacher, "_run", shifted)
    live = Teacher(build()).watch([3, 4, 5], needs_head=True)
    outputs = OpenVinoTeacher(live, must=False)(images(2))
    assert torch.equal(outputs.features[4], live(images(2)).features[4])
    assert any("standard deviations from torch" in line and "it runs in torch" in line for line in logged)
    with pytest.raises(ConfigError, match=r"--teacher-runtime openvino: in OpenVINO the teacher is 1\.0e-02 standard"):
        OpenVinoTeacher(live, must=True)(images(2))


@needs_openvino
@pytest.mark.slow
def test_in_half_precision_it_may_be_as_far_as_torch_is(
    build: Callable[..., nn.Module], logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    asked: list[str] = []
    compile_model = openvino.Core.compile_model

    def watch(self: Any, model: Any, device: str, settings: dict[str, Any]) -> Any:
        asked.append(settings["INFERENCE_PRECISION_HINT"])
        return compile_model(self, model, device, settings)

    monkeypatch.setattr(openvino.Core, "compile_model", watch)
    live = Teacher(build(), half=True).watch([3, 4, 5], needs_head=True)
    OpenVinoTeacher(live, must=False)(images(4))
    allowed = next(line for line in logged if "standard deviations from torch" in line)
    assert float(allowed.rpartition(", ")[2].split()[0]) > TOLERANCE
    assert asked == ["bf16"]


@pytest.mark.parametrize("must", [True, False])
def test_what_cannot_run_there(build: Callable[..., nn.Module], must: bool, logged: list[str]) -> None:
    inside = Teacher(build()).watch([], needs_head=True, branches=True)
    cases = [
        (Teacher(build()).watch([3], needs_head=False), torch.device("cuda"), "it is for training on a CPU"),
        (EMATeacher(build(), lambda: None), CPU, "the moving average changes in every step"),
        (Teacher(build("tiny16-RTDETRDecoder")).watch([3], needs_head=False), CPU, "of an RT-DETR"),
        (inside, CPU, "crosskd reads inside"),
    ]
    for teacher, device, message in cases:
        if must:
            with pytest.raises(ConfigError, match=f"--teacher-runtime openvino: {message}"):
                in_runtime(teacher, "openvino", device)
        else:
            assert in_runtime(teacher, "auto", device) is teacher
            assert any(f"the teacher runs in torch: {message}" in line for line in logged)


def test_without_openvino(build: Callable[..., nn.Module], monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    def missing(_module: str, **_options: Any) -> Any:
        raise MissingDependencyError("not installed")

    monkeypatch.setattr("kd_yolo.distill.teachers.runtime.is_installed", lambda _name: False)
    monkeypatch.setattr("kd_yolo.distill.teachers.runtime.require", missing)
    teacher = Teacher(build()).watch([3], needs_head=False)
    assert in_runtime(teacher, "auto", CPU) is teacher
    assert any("OpenVINO is not installed" in line for line in logged)
    assert in_runtime(teacher, "torch", CPU) is teacher
    with pytest.raises(MissingDependencyError):
        in_runtime(teacher, "openvino", CPU)


@needs_openvino
@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"teacher_cache": 2}])
def test_a_run_under_it_is_that_under_torch(train: Train, rows: Any, more: dict[str, Any], tmp_path: Any) -> None:
    if more:
        more |= {"teacher_cache_dir": str(tmp_path / "cache-{hash}")}
    loss = "bkd" if more else "cwd+bkd"
    found = {
        runtime: rows(train(name=runtime, loss=loss, teacher_runtime=runtime, finish=False, **more))
        for runtime in ("torch", "openvino")
    }
    for one, other in zip(*found.values(), strict=True):
        for key in (f"train/kd_{name}" for name in loss.split("+")):
            assert float(one[key]) == pytest.approx(float(other[key]), rel=1e-3, abs=1e-4)


def test_openvinos_telemetry_is_off() -> None:
    pytest.importorskip("openvino_telemetry")
    from openvino_telemetry.utils.opt_in_checker import ConsentCheckResult, OptInChecker

    from kd_yolo.yolo.guard import switch_off_telemetry

    switch_off_telemetry()
    assert OptInChecker().check(False, True) == ConsentCheckResult.DECLINED
