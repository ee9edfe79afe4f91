"""Students with a one-to-one branch (v10, 26): the task criterion's own schedule goes on, also after a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.yolo.files.loading import load_checkpoint

Train = Callable[..., Any]


class Killed(BaseException):
    """Ends a run as an external signal would."""


def kill_in_last_epoch(trainer: Any) -> None:
    if trainer.epoch == 2:
        raise Killed


def without_time(table: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "time"} for row in table]


@pytest.mark.slow
@pytest.mark.parametrize("yaml", ["v10Detect", "yolo26n.yaml"])
def test_resume_continues_both_schedules(
    train: Train, rows: Any, make_weights: Callable[..., str], tiny_yaml: Any, tmp_path: Path, yaml: str
) -> None:
    gains: dict[str, list[tuple[int, float]]] = {"whole": [], "cut": []}

    def note(name: str) -> dict[str, Any]:
        return {"on_train_epoch_end": lambda t: gains[name].append((t.criterion.base.updates, t.criterion.base.o2m))}

    arguments = dict(
        model=make_weights(yaml if "." in yaml else tiny_yaml(head=yaml)),
        loss="cwd+bkd",
        weight="1+1000",
        epochs=3,
        close_mosaic=0,
        finish=False,
        save=True,
    )
    whole = train(name="whole", on=note("whole"), **arguments)
    with pytest.raises(Killed):
        train(name="cut", on=note("cut") | {"on_train_batch_end": kill_in_last_epoch}, **arguments)
    last = str(tmp_path / "cut" / "weights" / "last.pt")
    resumed = train(model=last, resume=last, on=note("cut"), finish=False, save=True)
    assert (
        gains["cut"] == gains["whole"] == [(1, pytest.approx(0.45)), (2, pytest.approx(0.1)), (3, pytest.approx(0.1))]
    )
    assert without_time(rows(resumed)) == without_time(rows(whole))
    assert all(float(row["train/kd_cwd"]) > 0 and float(row["train/kd_bkd"]) > 0 for row in rows(resumed))
    ours, theirs = (load_checkpoint(run.last)[0].state_dict() for run in (resumed, whole))
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_response_terms_see_the_one_to_many_branch(
    train: Train, make_weights: Callable[..., str], tiny_yaml: Any
) -> None:
    """The one-to-one branch works on detached features: a gradient through it would never leave the head."""
    reached: dict[str, Any] = {}

    def only_distillation(trainer: Any) -> None:
        base = trainer.model.init_criterion()
        trainer.criterion.base = lambda preds, batch: (base(preds, batch)[0].detach(), base(preds, batch)[1])

    def read(trainer: Any) -> None:
        head = trainer.model.model[-1]
        if not reached:
            reached["backbone"] = float(trainer.model.model[0].conv.weight.grad.abs().sum())
            reached["one2many"] = head.cv3[0][-1].weight.grad
            reached["one2one"] = head.one2one_cv3[0][-1].weight.grad

    on = {"on_train_start": only_distillation, "on_train_batch_end": read}
    train(model=make_weights(tiny_yaml(head="v10Detect")), loss="bkd", epochs=1, nbs=64, on=on, finish=False)
    assert reached["backbone"] > 0
    assert reached["one2many"] is not None
    assert reached["one2one"] is None
