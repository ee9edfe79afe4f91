"""Three steps: adapters learn, the teacher does not, the distillation alone reaches the first convolution."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

Train = Callable[..., Any]


def state(module: Any) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items() if isinstance(v, torch.Tensor)}


class Watch:
    """Keeps what terms and teacher were at the start, and the gradients that the distillation alone gives."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.kd: list[float] = []
        self.modes: list[bool] = []

    def begin(self, trainer: Any) -> None:
        criterion = trainer.criterion
        self.start = {"terms": state(criterion.terms), "teacher": state(criterion.teachers[0].model)}
        self.start["ids"] = {id(p) for p in criterion.terms.parameters()}

    def batch(self, trainer: Any) -> None:
        self.kd.append(float(trainer.loss_items["kd_cwd"]))
        self.modes.append(any(m.training for m in trainer.criterion.teachers[0].model.modules()))


@pytest.fixture(scope="module")
def run(train_into: Callable[[Path], Train], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Watch]:
    watch = Watch()
    trainer = train_into(tmp_path_factory.mktemp("learns"))(
        loss="cwd+mgd", epochs=2, batch=4, nbs=4, on={"on_train_start": watch.begin, "on_train_batch_end": watch.batch}
    )
    return trainer, watch


def test_adapters_and_generators_changed(run: tuple[Any, Watch]) -> None:
    trainer, watch = run
    end = state(trainer.criterion.terms)
    assert any("adapters" in k for k in end)
    assert any("generator" in k for k in end)
    for key, value in end.items():
        if key.endswith("weight"):  # cwd on standardised maps does not see a bias
            assert not torch.equal(value, watch.start["terms"][key]), key


def test_the_teacher_did_not_change_buffers_included(run: tuple[Any, Watch]) -> None:
    trainer, watch = run
    teacher = trainer.criterion.teachers[0].model
    end = state(teacher)
    assert list(end) == list(watch.start["teacher"])
    assert all(torch.equal(v, end[k]) for k, v in watch.start["teacher"].items())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert watch.modes == [False] * 4


def test_the_teacher_is_not_part_of_the_student(run: tuple[Any, Watch]) -> None:
    trainer, _ = run
    own = {id(p) for p in trainer.model.parameters()}
    assert not own & {id(p) for p in trainer.criterion.teachers[0].model.parameters()}


def test_distillation_is_positive_in_every_step(run: tuple[Any, Watch]) -> None:
    assert len(run[1].kd) == 4
    assert min(run[1].kd) > 0


def test_terms_are_in_the_optimizer_once_with_momentum(run: tuple[Any, Watch]) -> None:
    trainer, watch = run
    grouped = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert watch.start["ids"] <= set(grouped)
    for parameter in trainer.criterion.terms.parameters():
        assert float(trainer.optimizer.state[parameter]["momentum_buffer"].abs().sum()) > 0


def test_the_ema_holds_the_plain_student(run: tuple[Any, Watch]) -> None:
    trainer, _ = run
    ema = trainer.ema.ema
    assert not any("kd_" in key for key in ema.state_dict())
    assert "kd_adapters" not in ema._modules
    assert type(ema.criterion).__name__ == "v8DetectionLoss"


def test_gradient_of_the_distillation_alone_reaches_the_first_convolution(train: Train) -> None:
    seen: dict[str, Any] = {}

    def without_task_loss(trainer: Any) -> None:
        criterion = trainer.criterion
        base = criterion.base or trainer.model.init_criterion()
        criterion.base = lambda preds, batch: [base(preds, batch)[0].detach(), base(preds, batch)[1]]

    def read(trainer: Any) -> None:
        if not seen:  # the optimizer has not stepped yet
            seen["first"] = float(trainer.model.model[0].conv.weight.grad.abs().sum())
            seen["head"] = trainer.model.model[-1].cv3[0][-1].weight.grad

    on = {"on_train_start": without_task_loss, "on_train_batch_end": read}
    train(loss="cwd", epochs=1, nbs=64, on=on, finish=False)
    assert seen["first"] > 0
    assert seen["head"] is None  # a feature loss says nothing about the head


def test_the_student_learns_what_the_teacher_says(train: Train, make_weights: Callable[..., str]) -> None:
    student, teacher = make_weights("tiny16"), make_weights("tiny32", seed=1)
    values: list[float] = []
    on = {"on_train_batch_end": lambda t: values.append(float(t.loss_items["kd_pkd"]))}
    still = dict(mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, fliplr=0)
    train(
        model=student, teacher=teacher, loss="pkd", weight=10, schedule="constant", epochs=4, optimizer="AdamW",
        lr0=1e-2, finish=False, on=on, **still,
    )  # fmt: skip
    assert sum(values[-2:]) < 0.8 * sum(values[:2])  # 0.64 when this was written


def test_equal_models_start_at_zero_where_the_method_promises_it(train: Train, student: str) -> None:
    """Self-distillation: no adapter is needed, and in eval mode student and teacher are one function."""
    first: list[float] = []

    def frozen_norms(trainer: Any) -> None:
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()

    on = {
        "on_train_batch_start": frozen_norms,
        "on_train_batch_end": lambda t: first.append(
            sum(float(t.loss_items[k]) for k in ("kd_pkd", "kd_l2", "kd_bkd"))
        ),
    }
    trainer = train(teacher=student, loss="l2+pkd+bkd", epochs=1, on=on, finish=False)
    assert first[0] == pytest.approx(0, abs=1e-5)
    assert not [p for n, p in trainer.criterion.terms.named_parameters() if "adapters" in n]
    assert deepcopy(trainer.criterion.terms) is None
