"""Distillation with unlabelled images: their own columns, no hard loss of theirs, exact resume, end-to-end heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig, resolve_distill
from kd_yolo.distill.build import build_terms
from kd_yolo.distill.criterion import DistillCriterion, WeightedTerm
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.geometry.schedule import Schedule
from kd_yolo.yolo.files.loading import load_checkpoint

Train = Callable[..., Any]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    rng = np.random.default_rng(1)
    for i in range(12):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    return folder


def criterion_of(build: Any, *, unlabelled: bool) -> Any:
    from ultralytics.cfg import get_cfg

    student = build().train()
    student.args = get_cfg()
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # or each part's statistics would depend on the other
    values = {"teacher": "t", "unlabelled": "x" if unlabelled else None, "terms": [{"loss": "bkd"}]}
    config = DistillConfig.parse(values, "here")
    teacher = Teacher(build(seed=1))
    terms = build_terms(config, student, [teacher], seed=0)
    weights = {"kd_bkd": WeightedTerm(2.0, Schedule("constant"))}
    return DistillCriterion(student, terms, [teacher], weights, columns=config.columns())


def test_parts_are_what_each_would_be_alone(build: Any) -> None:
    criterion, alone = criterion_of(build, unlabelled=True), criterion_of(build, unlabelled=False)
    image = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[0.5, 0.5, 0.4, 0.4]] * 2)
    boxes = {"cls": torch.zeros(2, 1), "bboxes": places, "batch_idx": torch.arange(2.0)}

    def step(c: Any, images: Any, **more: Any) -> Any:
        c.observe({"img": images}, 0.0)
        return c(c.model(images), {"img": images, **boxes, **more})

    vector, items = step(criterion, image, num_labelled=2)
    own, own_items = step(alone, image[:2])
    alone.observe({"img": image[2:]}, 0.0)
    none = {"cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4), "batch_idx": torch.zeros(0)}
    _, other_items = alone(alone.model(image[2:]), {"img": image[2:], **none})
    assert torch.allclose(vector[:3], own[:3], rtol=1e-5)
    assert float(items["kd_bkd"]) == pytest.approx(float(own_items["kd_bkd"]), rel=1e-5)
    assert float(items["kd_bkd_unlabelled"]) == pytest.approx(float(other_items["kd_bkd"]), rel=1e-5)
    total = 2 * float(items["kd_bkd"]) + 3 * float(items["kd_bkd_unlabelled"])
    assert float(vector[3]) == pytest.approx(total, rel=1e-5)


def test_a_run_has_columns_for_both(train: Train, pool: Path, rows: Any) -> None:
    trainer = train(loss="cwd+bkd", weight="1+1000", unlabelled=str(pool), unlabelled_ratio=0.5, epochs=2)
    for row in rows(trainer):
        for name in ("kd_cwd", "kd_bkd", "kd_cwd_unlabelled", "kd_bkd_unlabelled"):
            assert float(row[f"train/{name}"]) > 0
        assert not any(key.startswith("val/kd_") for key in row)
    assert sorted(p.suffix for p in pool.iterdir()) == [".png"] * 12
    assert load_checkpoint(trainer.best)[0].args is not None


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(train: Train, pool: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(trainer: Any) -> None:
        if trainer.epoch == 1 and trainer._batches_seen == 2:
            raise Killed

    settings = dict(loss="bkd", unlabelled=str(pool), epochs=3, mosaic=1.0, close_mosaic=1, finish=False, save=True)
    whole = train(name="whole", **settings)
    with pytest.raises(Killed):
        train(name="part", on={"on_train_batch_end": kill}, **settings)
    last = tmp_path / "part" / "weights" / "last.pt"
    part = train(model=str(last), resume=str(last), finish=False, save=True)
    last_rows = [Path(run.csv).read_text().splitlines()[-1].split(",") for run in (part, whole)]
    assert last_rows[0][2:] == last_rows[1][2:]  # without epoch and time
    assert all(torch.equal(a, b) for a, b in zip(part.model.parameters(), whole.model.parameters(), strict=True))


def test_an_end_to_end_head_without_bins(train: Train, make_weights: Any, pool: Path) -> None:
    teacher = make_weights("tiny16-Detect26", seed=1)
    trainer = train(
        model=make_weights("tiny8-Detect26"),
        teacher=teacher,
        loss="bkd+box_iou",
        unlabelled=str(pool),
        epochs=1,
        finish=False,
    )
    assert all(float(trainer.tloss[f"kd_{name}_unlabelled"]) > 0 for name in ("bkd", "box_iou"))


LABELS = [("bkd", {"gate": "assigned"}, "gate=assigned"), ("fgd", {}, "loss 'fgd'")]


@pytest.mark.parametrize(("loss", "flags", "what"), LABELS)
def test_what_looks_at_labels_is_refused(loss: str, flags: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=f"{what} looks at labels, which unlabelled images lack"):
        resolve_distill("t.pt", loss, unlabelled="x", **flags)
