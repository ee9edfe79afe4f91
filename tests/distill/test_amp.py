"""Mixed precision: terms are float32 on half maps, and a whole step under autocast is near the float32 step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import ultralytics.engine.trainer as upstream

from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.taps import read_modules
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.losses import loss_names, losses
from kd_yolo.yolo.heads import head_branches, head_facts, raw_outputs

Train = Callable[..., Any]


@pytest.mark.parametrize("loss", loss_names())
def test_terms_under_autocast(build: Callable[..., Any], loss: str) -> None:
    """Half maps give the float32 loss of those maps. (On CPU autocast knows bfloat16; float16 with a GradScaler exists
    on GPUs only and is not tested here.)
    """
    student, teacher = build(seed=0).train(), build(seed=1)
    entry = {"loss": loss, **({"adapter": "auto"} if losses.get(loss).kind == "feature" else {})}
    config = DistillConfig.parse({"teacher": "t", "terms": [entry]}, "here")
    look = Teacher(teacher)
    term, again = (next(iter(named_terms(build_terms(config, student, [look], seed=0)).values())) for _ in range(2))
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = Labels([torch.tensor([[8.0, 8.0, 40.0, 50.0]]), torch.zeros(0, 4)], (64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        with read_modules(head_branches(student)) as branches:
            raw = raw_outputs(student(image))
        said = look(image)
        features = dict(zip(head_facts(student).layers, raw["feats"], strict=True))
        half = term(Outputs(features, raw, branches), [said], labels)
    assert {m.dtype for m in (*features.values(), *said.features.values(), raw["scores"])} == {torch.bfloat16}
    assert half.dtype == torch.float32
    sides = (Outputs(features, raw, branches), said)
    own, other = (Outputs(_floats(s.features), _floats(s.raw), _floats(s.branches)) for s in sides)
    exact = again(own, [other], labels)
    # the rest of the teacher's head runs in half precision under autocast
    assert float(half) == pytest.approx(float(exact), rel=0.05 if loss == "crosskd" else 1e-6)
    half.backward()
    assert torch.isfinite(student.model[0].conv.weight.grad).all()


def _floats(tensors: Any) -> Any:
    if isinstance(tensors, dict):
        return {key: _floats(value) for key, value in tensors.items()}
    if isinstance(tensors, list):
        return [_floats(value) for value in tensors]
    return tensors.float() if isinstance(tensors, torch.Tensor) else tensors


def test_a_step_under_autocast_is_near_the_step_in_float32(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """The criterion, teacher and adapters inside the trainer's autocast, which on CPU has to be switched on by hand."""
    values: dict[str, dict[str, float]] = {}

    def run(name: str) -> None:
        def first(trainer: Any) -> None:
            values.setdefault(name, {k: float(v) for k, v in trainer.loss_items.items()})
            assert all(v.dtype == torch.float32 for k, v in trainer.loss_items.items() if k.startswith("kd_"))

        train(loss="cwd+bkd+mgd", epochs=1, on={"on_train_batch_end": first}, finish=False)

    run("float32")
    monkeypatch.setattr(upstream, "autocast", lambda *_a, **_k: torch.autocast("cpu", torch.bfloat16))
    run("bfloat16")
    assert values["float32"] != values["bfloat16"]
    for key, value in values["float32"].items():
        assert values["bfloat16"][key] == pytest.approx(value, rel=0.1), key
