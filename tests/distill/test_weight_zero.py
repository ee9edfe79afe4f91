"""Weight 0 is plain ultralytics training, bit for bit on CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.yolo.files.loading import load_checkpoint

CASES = {
    "SGD, mosaic closes, accumulation": dict(
        optimizer="SGD", batch=2, nbs=4, epochs=2, close_mosaic=1, warmup_epochs=1
    ),
    "AdamW, multi-scale, frozen backbone, class weights": dict(
        optimizer="AdamW", lr0=1e-3, imgsz=128, multi_scale=0.5, freeze=4, cls_pw=0.5, epochs=2
    ),
}


@pytest.mark.parametrize("case", [pytest.param(next(iter(CASES)), marks=pytest.mark.slow), *list(CASES)[1:]])
def test_weight_0_equals_plain_training(
    train: Callable[..., Any],
    rows: Any,
    make_weights: Callable[..., str],
    student: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    norms: list[float] = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, **options: Any) -> Any:
        norms.append(float(clip(parameters, **options)))
        return norms[-1]

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
    model = student if "freeze" in CASES[case] else make_weights("yolov8n.yaml")  # its gradients are clipped
    plain = train(name="plain", plain=True, model=model, **CASES[case])
    plain_norms = norms.copy()
    norms.clear()
    ours = train(name="ours", model=model, loss="cwd+mgd+bkd", weight=0, **CASES[case])
    assert norms == plain_norms
    assert max(norms) > 10  # clipping was at work
    own = [{k: v for k, v in row.items() if k != "time" and "kd_" not in k} for row in rows(ours)]
    assert own == [{k: v for k, v in row.items() if k != "time"} for row in rows(plain)]
    for name in ("last.pt", "best.pt"):
        a, b = (load_checkpoint(tmp_path / run / "weights" / name)[0].state_dict() for run in ("plain", "ours"))
        assert list(a) == list(b)
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert all(float(row[f"train/kd_{loss}"]) == 0 for row in rows(ours) for loss in ("cwd", "mgd", "bkd"))


def test_batchnorm_sees_each_batch_once(train: Callable[..., Any]) -> None:
    """A second forward pass of the student for the distillation would move its running statistics twice."""

    def buffers(**arguments: Any) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = {}

        def read(trainer: Any) -> None:
            if not state:
                state.update({k: v.clone() for k, v in trainer.model.named_buffers()})

        train(on={"on_train_batch_end": read}, epochs=1, finish=False, **arguments)
        return state

    plain, ours = buffers(plain=True), buffers(loss="cwd+bkd", taps=[2, 4], weight=5)
    assert list(plain) == list(ours)
    assert all(torch.equal(plain[k], ours[k]) for k in plain)
