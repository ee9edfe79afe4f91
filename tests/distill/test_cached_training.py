"""A run with kept responses is the run of the live teacher on the same views, whatever the cache held before."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from ultralytics import YOLO
from ultralytics.data import augment
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import resolve_distill
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.teachers.cached import AUGMENTATION, CachedTeacher, belongs_to, check_views
from kd_yolo.distill.teachers.teacher import Teacher

Train = Callable[..., Any]
RUN: dict[str, Any] = dict(
    loss="bkd+dfl_kl",
    weight="4+8",
    gate="balanced",
    schedule="constant",
    epochs=3,
    close_mosaic=1,
    finish=False,
    teacher_cache=1,
)


@pytest.fixture(scope="module")
def confident(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher that sees an object here and there: class scores from 0 to 1."""
    path = tmp_path_factory.mktemp("confident") / "teacher.pt"
    model: Any = YOLO(teacher)
    for branch in model.model.model[-1].cv3:
        torch.nn.init.normal_(branch[-1].weight, std=2.0, generator=torch.Generator().manual_seed(0))
        torch.nn.init.constant_(branch[-1].bias, -4.0)
    model.save(str(path))
    return str(path)


@pytest.fixture(scope="module")
def seen() -> Iterator[list[int]]:
    """How many images the live teacher saw, call by call."""
    calls: list[int] = []
    whole = Teacher.__call__

    def count(self: Teacher, image: torch.Tensor) -> Outputs:
        calls.append(len(image))
        return whole(self, image)

    with mock.patch.object(Teacher, "__call__", count):
        yield calls


def recorded(train: Train, **arguments: Any) -> Any:
    """A run, with the loss items of its steps as ``steps``."""
    losses: list[list[float]] = []
    on = {"on_train_batch_end": lambda t: losses.append([float(x) for x in t.loss_items.values()])}
    trainer = train(on=on, **arguments)
    trainer.steps = torch.tensor(losses)
    return trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def settings(confident: str, folder: Path) -> dict[str, Any]:
    return {**RUN, "teacher": confident, "teacher_cache_dir": str(folder / "{hash}")}


@pytest.fixture(scope="module")
def cold(train_into: Any, folder: Path, settings: dict[str, Any], seen: list[int]) -> Any:
    """A first run, which fills the cache."""
    del seen[:]
    trainer = recorded(train_into(folder / "runs"), **settings)
    trainer.seen = list(seen)
    return trainer


def same_weights(a: Any, b: Any) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True))


def test_each_view_is_seen_by_the_teacher_once(cold: Any) -> None:
    assert cold.seen == [8, 4, 4, 4, 4]  # a look at the cost; one view with mosaic of eight images, and one without


def test_it_is_the_live_teacher_on_the_same_views(
    cold: Any, train: Train, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CachedTeacher, "__call__", lambda self, image: self.teacher(image))
    live = recorded(train, **settings)
    assert live.steps.shape == cold.steps.shape == (6, 5)
    assert bool((cold.steps[:, 3:] > 0.1).all())
    assert torch.allclose(live.steps, cold.steps, rtol=0.01)
    assert not torch.equal(live.steps, cold.steps)  # float16, and without the anchors that no gate counts


def test_later_runs_do_not_need_the_teacher(cold: Any, train: Train, settings: dict[str, Any], seen: list[int]) -> None:
    del seen[:]
    warm = recorded(train, **settings)
    assert torch.equal(warm.steps, cold.steps)
    assert same_weights(warm, cold)
    other = train(name="other", **{**settings, "loss": "bkd+box_iou", "gate": "confidence", "seed": 3, "epochs": 2})
    assert seen == [8, 8]  # shared by recipes and seeds; a look at the cost each time
    assert all(float(other.tloss[f"kd_{name}"]) > 0 for name in ("bkd", "box_iou"))


class Killed(BaseException):
    """As an external signal."""


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_killed_run_goes_on_bit_for_bit(
    cold: Any, train: Train, settings: dict[str, Any], tmp_path: Path, epoch: int
) -> None:
    """Killed while the cache is filled, while it is read, and after mosaic has closed."""

    def kill(trainer: Any) -> None:
        if trainer.epoch == epoch and trainer._batches_seen == 2:
            trainer._cached = ()  # a killed process writes nothing at its end
            raise Killed

    own = {**settings, "teacher_cache_dir": str(tmp_path / "{hash}")}
    with pytest.raises(Killed):
        train(name="part", on={"on_train_batch_end": kill}, save=True, **own)
    last = tmp_path / "part" / "weights" / "last.pt"
    if epoch == 0:  # nothing to resume
        part = recorded(train, **own)
    else:
        part = recorded(train, model=str(last), resume=str(last), finish=False, save=True)
    assert torch.equal(part.steps, cold.steps[2 * epoch :])
    assert same_weights(part, cold)


def test_a_cache_of_something_else_is_refused(cold: Any, train: Train, settings: dict[str, Any]) -> None:
    own = {**settings, "teacher_cache_dir": str(cold._cached[0].cache.folder)}
    with pytest.raises(ConfigError, match="belongs to another augmentation: name another folder"):
        train(**own, hsv_h=0.2)


def test_what_the_responses_depend_on(tmp_path: Path) -> None:
    """Everything that changes a view, or what the teacher says of it, changes its part."""
    weights, image = tmp_path / "teacher.pt", tmp_path / "a.png"
    weights.write_bytes(b"weights")
    image.write_bytes(b"image")

    def parts(*, half: bool = False, box: float = 0.5, **arguments: Any) -> dict[str, Any]:
        label = {"cls": np.zeros((1, 1)), "bboxes": np.full((1, 4), box), "segments": []}
        views: Any = SimpleNamespace(im_files=[str(image)], labels=[label])
        args = SimpleNamespace(**{**DEFAULT_CFG_DICT, **arguments})
        return belongs_to(str(weights), views, args, half=half)

    def changed(**arguments: Any) -> list[str]:
        return [key for key, value in parts(**arguments).items() if value != before[key]]

    before = parts()
    assert changed(seed=5, epochs=7, lr0=1, batch=3, workers=1) == []
    assert changed(imgsz=96) == ["image size"]
    assert all(changed(**{key: 0.123}) == ["augmentation"] for key in AUGMENTATION)
    assert changed(box=0.4) == changed(box=0.6) == ["data"]
    assert changed(half=True) == ["teacher"]
    weights.write_bytes(b"others")
    assert changed() == ["teacher"]
    image.write_bytes(b"other")  # as long as before
    os.utime(image, (1, 1))
    assert changed() == ["teacher", "data"]


def test_every_augmentation_of_ultralytics_is_known() -> None:
    """Arguments of its augmentation are those that its functions read; a new one has to be added."""
    text = inspect.getsource(augment.v8_transforms) + inspect.getsource(YOLODataset.build_transforms)
    read = set(re.findall(r"hyp\.(\w+)|hyp, \"(\w+)\"", text))
    assert {a or b for a, b in read} - {"mask_ratio", "overlap_mask"} == set(AUGMENTATION)


def test_what_does_not_fit_on_the_disk_is_refused_before_the_first_step(
    train: Train, settings: dict[str, Any], tmp_path: Path
) -> None:
    own = {**settings, "teacher_cache_dir": str(tmp_path / "small"), "teacher_cache_gb": 1e-6}
    with pytest.raises(ConfigError, match=r"--teacher-cache 1: the responses take about .* GB, the limit is 1e-06 GB"):
        train(**own)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (dict(loss="cwd+bkd"), "the loss cwd compares features, which need the live teacher"),
    (dict(loss="crosskd"), "the loss crosskd compares features"),
    (dict(loss="bkd", gate="all"), "gate=all counts anchors at which the teacher sees nothing"),
    (dict(loss="bkd", gate="assigned"), "gate=assigned counts anchors"),
    (dict(loss="bkd", unlabelled="x"), "views of labelled images only"),
    (dict(loss="bkd", teacher="ema"), "teacher=ema changes in every step"),
    (dict(loss="bkd", teacher_cache=0), "teacher_cache"),
]


@pytest.mark.parametrize(("flags", "why"), REFUSED)
def test_what_cannot_be_kept_is_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        resolve_distill(**{"teacher": "t.pt", "teacher_cache": 2, **flags})


def test_a_folder_without_a_cache_is_refused() -> None:
    with pytest.raises(ConfigError, match="--teacher-cache-dir does nothing without --teacher-cache"):
        resolve_distill("t.pt", "bkd", teacher_cache_dir="x")


@pytest.mark.parametrize("argument", [dict(multi_scale=0.5), dict(rect=True)])
def test_images_without_a_fixed_shape_are_refused(argument: dict[str, Any]) -> None:
    check_views(DEFAULT_CFG_DICT)
    with pytest.raises(ConfigError, match="gives an image other shapes in other batches"):
        check_views({**DEFAULT_CFG_DICT, **argument})
