"""RT-DETR students and teachers: what is compared, what a run writes, and that it resumes and stays off exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.utils.loss import RTDETRDetectionLoss

from kd_yolo import PruneModel
from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.build import build_terms
from kd_yolo.distill.criterion import DistillCriterion, WeightedTerm
from kd_yolo.distill.job import Request, make_plan
from kd_yolo.distill.query_criterion import QueryCriterion
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.distill.trainer import RTDETRDistillationTrainer
from kd_yolo.geometry.schedule import Schedule
from kd_yolo.training.stage import open_network
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.heads import head_facts, is_decoder

Train = Callable[..., Any]
HEAD = "RTDETRDecoder"
ARGUMENTS: dict[str, Any] = dict(optimizer="AdamW", lr0=1e-3)


@pytest.fixture(scope="session")
def rtdetr(make_weights: Callable[..., str]) -> str:
    """A student of 40 queries."""
    return make_weights(f"tiny8-{HEAD}")


@pytest.fixture(scope="session")
def wide_rtdetr(make_weights: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its teacher, untrained but confident."""
    network = open_network(make_weights(f"tiny16-{HEAD}", seed=1), "rtdetr")
    network.model.model[-1].dec_score_head[-1].bias.data += 5
    path = tmp_path_factory.mktemp("confident") / "teacher.pt"
    network.save(str(path))
    return str(path)


@pytest.fixture
def distil(train: Train, rtdetr: str, wide_rtdetr: str) -> Train:
    """``train`` for an RT-DETR under an RT-DETR."""

    def run(**arguments: Any) -> Any:
        if "resume" in arguments:
            return train(trainer=RTDETRDistillationTrainer, **arguments)
        kind = RTDETRTrainer if arguments.get("plain") else RTDETRDistillationTrainer
        taught = {} if arguments.get("plain") else {"teacher": wide_rtdetr}
        return train(**{"model": rtdetr, "trainer": kind, **taught, **ARGUMENTS, **arguments})

    return run


@pytest.fixture
def pair(rtdetr: str, wide_rtdetr: str, student: str, teacher: str) -> Callable[..., tuple[str, str]]:
    """Student and teacher, each a ``decoder`` or a ``yolo``."""
    students, teachers = {"decoder": rtdetr, "yolo": student}, {"decoder": wide_rtdetr, "yolo": teacher}
    return lambda one, two: (students[one], teachers[two])


class Killed(BaseException):
    """Ends a run as an external signal would: no handler of the trainer sees it."""


def kill_in_last_epoch(trainer: Any) -> None:
    if trainer.epoch == 2:
        raise Killed


def weights_of(path: Path) -> dict[str, Tensor]:
    return load_checkpoint(path)[0].state_dict()


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)


def without_time(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if key != "time"} for row in rows]


def test_every_term_has_a_column_and_a_share_of_the_gradient(distil: Train, rows: Any, tmp_path: Path) -> None:
    run = distil(loss="mgd+bkd+box_iou", epochs=1)
    row = rows(run)[0]
    names = ("kd_mgd", "kd_bkd", "kd_box_iou")
    assert all(float(row[f"train/{name}"]) > 0 for name in names)
    assert not any(f"val/{name}" in row for name in names)
    assert [key for key in row if key.startswith("train/")][:3] == [
        "train/giou_loss",
        "train/cls_loss",
        "train/l1_loss",
    ]
    shares = run.criterion.balance.history[0]
    assert all(0 < shares[f"gradient_share/{name}"] < 1 for name in names)
    best = load_checkpoint(tmp_path / "run" / "weights" / "best.pt")[0]
    assert is_decoder(best)
    assert list(best.state_dict()) == list(run.ema.ema.state_dict())


def test_weight_0_equals_plain_training(distil: Train, rows: Any, tmp_path: Path) -> None:
    plain = distil(name="plain", plain=True)
    ours = distil(name="ours", loss="mgd+bkd+box_iou", weight=0)
    own = [{key: value for key, value in row.items() if "kd_" not in key} for row in without_time(rows(ours))]
    assert own == without_time(rows(plain))
    a, b = (weights_of(tmp_path / run / "weights" / "last.pt") for run in ("plain", "ours"))
    assert same(a, b)


def test_a_killed_run_resumes_exactly(distil: Train, rows: Any, tmp_path: Path) -> None:
    arguments = dict(loss="mgd+bkd+box_iou", epochs=3, close_mosaic=1, finish=False, save=True)
    whole = distil(name="whole", **arguments)
    with pytest.raises(Killed):
        distil(name="cut", on={"on_train_batch_end": kill_in_last_epoch}, **arguments)
    last = str(tmp_path / "cut" / "weights" / "last.pt")
    resumed = distil(model=last, resume=last, finish=False, save=True)
    assert without_time(rows(whole)) == without_time(rows(resumed))
    a, b = (weights_of(tmp_path / run / "weights" / "last.pt") for run in ("whole", "cut"))
    assert same(a, b)


def test_terms_do_not_grow_with_the_batch_and_see_no_denoising_query(distil: Train, monkeypatch: Any) -> None:
    """RT-DETR's loss is a mean over objects; queries for denoising stand before the others in its output."""
    seen: list[tuple[float, float, int]] = []
    call = QueryCriterion.__call__

    def watch(self: Any, preds: Any, targets: Any, **denoising: Any) -> Any:
        assert denoising["dn_meta"] is not None
        losses = call(self, preds, targets, **denoising)
        seen.append((float(losses["loss_distilled"]), float(sum(self.items.values())), preds[0].shape[2]))
        return losses

    monkeypatch.setattr(QueryCriterion, "__call__", watch)
    distil(loss="bkd+cwd", epochs=1, finish=False)
    assert seen
    for distilled, items, queries in seen:
        assert distilled == pytest.approx(items)
        assert queries == 40


def test_a_step_that_nobody_observed_is_the_tasks_alone(build: Callable[..., Any]) -> None:
    student = build(f"tiny8-{HEAD}").train()
    student.nc = 2  # the trainer sets it
    teachers = [Teacher(build(f"tiny16-{HEAD}", seed=1))]
    terms = build_terms(resolve_distill("t", "cwd"), student, teachers, seed=0)
    batch = {
        "img": torch.rand(2, 3, 64, 64), "cls": torch.zeros(2, 1), "batch_idx": torch.arange(2.0),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 2),
    }  # fmt: skip
    student.criterion = criterion = QueryCriterion(
        student, terms, teachers, {"kd_cwd": WeightedTerm(1.0, Schedule("constant"))}
    )
    values = []
    for observe in (False, True, False):
        torch.manual_seed(0)
        if observe:
            criterion.observe(batch, 0.0)
        values.append(float(student.loss(batch)[0]))
    assert values[0] == values[2] < values[1]


def test_a_criterion_that_upstream_builds_meanwhile_gives_way(distil: Train) -> None:
    """RT-DETR's is a module, which Python does not replace by what is none."""
    run = distil(loss="bkd", epochs=1, finish=False)
    with run.plain_model():
        run.model.criterion = run.model.init_criterion()
        assert "criterion" in run.model._modules
    assert run.model.criterion is run.criterion
    assert "criterion" not in run.model._modules


@pytest.mark.slow
def test_it_trains_for_int8(distil: Train, rows: Any, tmp_path: Path) -> None:
    pytest.importorskip("modelopt", reason="needs the extra qat")
    run = distil(loss="cwd+bkd", epochs=1, quantize=8)
    assert all(float(rows(run)[0][f"train/kd_{name}"]) > 0 for name in ("cwd", "bkd"))
    assert any(key.endswith("_amax") for key in weights_of(tmp_path / "run" / "weights" / "last.pt"))


@pytest.mark.parametrize("loss", ["cwd", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pkd", "fgd"))])
def test_a_yolo_teaches_features_and_an_rtdetr_teaches_those_of_a_yolo(
    train: Train, rows: Any, rtdetr: str, wide_rtdetr: str, loss: str
) -> None:
    to_decoder = train(name="a", model=rtdetr, trainer=RTDETRDistillationTrainer, loss=loss, epochs=1, **ARGUMENTS)
    to_yolo = train(name="b", teacher=wide_rtdetr, loss=loss, epochs=1)
    for run in (to_decoder, to_yolo):
        assert float(rows(run)[0][f"train/kd_{loss}"]) > 0


def test_unlabelled_images_join_through_the_terms_alone(
    distil: Train, rows: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The labels' loss of a mixed batch is that of its labelled images; the others have columns of their own."""
    pool = tmp_path / "pool"
    pool.mkdir()
    for i in range(6):
        cv2.imwrite(str(pool / f"{i}.png"), np.random.default_rng(i).integers(0, 255, (48, 96, 3), np.uint8))
    seen: list[tuple[int, int, int]] = []
    call = RTDETRDetectionLoss.forward

    def watch(self: Any, preds: Any, batch: Any, **denoising: Any) -> Any:
        if batch["bboxes"].requires_grad is False and denoising["dn_meta"] is not None:
            seen.append((preds[0].shape[1], len(batch["gt_groups"]), denoising["dn_bboxes"].shape[1]))
        return call(self, preds, batch, **denoising)

    monkeypatch.setattr(RTDETRDetectionLoss, "forward", watch)
    run = distil(loss="cwd+bkd", unlabelled=str(pool), unlabelled_ratio=0.5, epochs=1, finish=False)
    row = rows(run)[0]
    assert all(float(row[f"train/{name}"]) > 0 for name in run.kd_config.columns())
    assert run.kd_config.columns() == ["kd_cwd", "kd_bkd", "kd_cwd_unlabelled", "kd_bkd_unlabelled"]
    assert seen == [(4, 4, 4)] * len(seen)
    assert next(iter(run.train_loader))["img"].shape == (6, 3, 64, 64)


def test_the_moving_average_teaches_itself(distil: Train, rows: Any) -> None:
    run = distil(teacher="ema", loss="bkd+box_iou", finish=False)
    assert type(run.criterion) is QueryCriterion
    assert all(float(row["train/kd_box_iou"]) > 0 for row in rows(run))


def test_a_pruned_student_keeps_its_widths(
    distil: Train, rtdetr: str, wide_rtdetr: str, tiny_data: Path, tmp_path: Path
) -> None:
    chain = PruneModel(rtdetr, folder=tmp_path / "chain", imgsz=64, batch=4, device="cpu", workers=0)
    cut = chain.prune(factor=0.5, data=str(tiny_data))
    pruned = sum(p.numel() for p in load_checkpoint(cut.path)[0].parameters())
    done = chain.distill(wide_rtdetr, "cwd+bkd", str(tiny_data), 1)
    model = load_checkpoint(done.path)[0]
    assert is_decoder(model)
    assert sum(p.numel() for p in model.parameters()) == pruned
    assert pruned < sum(p.numel() for p in load_checkpoint(rtdetr)[0].parameters())


@pytest.mark.parametrize(
    ("kinds", "asked", "message"),
    [
        (("decoder", "yolo"), {"loss": "bkd"}, "answers with queries.*Use a feature loss"),
        (("yolo", "decoder"), {"loss": "box_iou"}, "the teacher is an RT-DETR, which answers with queries"),
        (("yolo", "decoder"), {"loss": "score_l2"}, "class score at every position, which an RT-DETR does not give"),
        (("decoder", "decoder"), {"loss": "dfl_kl"}, "an RT-DETR has queries"),
        (("decoder", "decoder"), {"loss": "crosskd"}, "an RT-DETR has queries"),
        (("decoder", "decoder"), {"loss": "bkd", "flags": {"gate": "assigned"}}, "gate=assigned counts anchors"),
        (("decoder", "decoder"), {"loss": "bkd", "flags": {"teacher_cache": 2}}, "teacher_cache keeps responses at"),
        (("decoder", "decoder"), {"loss": "bkd", "overrides": {"compile": True}}, "compile=True does not work"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    pair: Callable[..., tuple[str, str]], kinds: tuple[str, str], asked: dict[str, Any], message: str, tiny_data: Path
) -> None:
    student, teacher = pair(*kinds)
    overrides = {"data": str(tiny_data), "device": "cpu", **asked.get("overrides", {})}
    flags = dict(asked.get("flags", {}))
    with pytest.raises(ConfigError, match=message):
        make_plan(Request(teacher, student, asked["loss"], flags=flags, overrides=overrides), write=False)


@pytest.mark.parametrize(
    ("kinds", "terms"),
    [(("decoder", "decoder"), ["bkd", "box_iou"]), (("decoder", "yolo"), ["cwd"]), (("yolo", "decoder"), ["cwd"])],
)
def test_auto_knows_what_two_networks_can_compare(
    pair: Callable[..., tuple[str, str]], kinds: tuple[str, str], terms: list[str], tiny_data: Path
) -> None:
    student, teacher = pair(*kinds)
    plan = make_plan(Request(teacher, student, overrides={"data": str(tiny_data), "device": "cpu"}), write=False)
    assert [term.loss for term in plan.config.terms] == terms
    assert {term.share for term in plan.config.terms} == ({0.15} if terms != ["cwd"] else {None})
    assert any("a decoder of 40 queries" in line for line in plan.lines)


def test_a_yaml_is_a_student(described: Callable[[str], str], wide_rtdetr: str, tiny_data: Path) -> None:
    overrides = {"data": str(tiny_data), "device": "cpu"}
    plan = make_plan(Request(wide_rtdetr, described(f"tiny8-{HEAD}"), "cwd+bkd", overrides=overrides), write=False)
    assert any(line.startswith("student: ") and "a decoder of 40 queries" in line for line in plan.lines)


def test_facts_of_a_decoder(build: Callable[..., Any]) -> None:
    facts = head_facts(build(f"tiny8-{HEAD}"))
    assert (facts.layers, facts.strides, facts.num_classes, facts.num_queries) == ((3, 4, 5), (), 2, 40)
    assert issubclass(QueryCriterion, DistillCriterion)
