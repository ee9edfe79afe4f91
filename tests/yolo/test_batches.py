"""Labelled batches without augmentation, and the loss of training on them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.yolo.data.batches import Images, batches, task_loss
from kd_yolo.yolo.files.loading import load_checkpoint


@pytest.fixture
def model(make_weights: Callable[..., str]) -> Any:
    return load_checkpoint(make_weights("tiny8"))[0]


def test_batches_hold_letterboxed_images_and_their_boxes(model: Any, tiny_data: Path) -> None:
    found = list(batches(model, Images(str(tiny_data), 96, 4), 8))
    assert [batch["img"].shape for batch in found] == [(4, 3, 96, 96)] * 2
    assert all(batch["img"].min() >= 0 and 0.5 < batch["img"].max() <= 1 for batch in found)
    assert sum(len(batch["cls"]) for batch in found) == 16  # two boxes per image
    for batch in found:  # the box of class 0 is blue, of class 1 green: images and labels belong together
        x, y, *_ = (batch["bboxes"][0] * 96).long().tolist()
        colour = batch["img"][int(batch["batch_idx"][0]), :, y, x]
        assert int(colour.argmax()) == 2 - int(batch["cls"][0])


def test_the_size_is_rounded_up_to_whole_strides(model: Any, tiny_data: Path) -> None:
    [batch] = batches(model, Images(str(tiny_data), 70, 2), 2)
    assert batch["img"].shape[2:] == (96, 96)


def test_equal_seeds_give_equal_images(model: Any, tiny_data: Path) -> None:
    first, again, other = (
        torch.cat([batch["img"] for batch in batches(model, Images(str(tiny_data), 64, 2, seed), 4)])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_left_over_images_are_left_out(model: Any, tiny_data: Path) -> None:
    assert [len(batch["img"]) for batch in batches(model, Images(str(tiny_data), 64, 3), 8)] == [3, 3]
    assert [len(batch["img"]) for batch in batches(model, Images(str(tiny_data), 64, 16), 8)] == [8]


def test_augmentation_is_that_of_training_without_mosaic(model: Any, tiny_data: Path) -> None:
    def images(**settings: Any) -> Any:
        source = Images(str(tiny_data), 64, 8, augment=True)
        model.args = {**model.args, **settings}
        return next(batches(model, source, 8))["img"]

    still = dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr"), 0.0)
    plain = next(batches(model, Images(str(tiny_data), 64, 8), 8))["img"]
    random.seed(5)
    np.random.seed(5)
    states = random.getstate(), np.random.get_state()[1].tolist()
    augmented = images()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    random.seed(6)
    assert torch.equal(images(), augmented)
    assert not torch.allclose(augmented, plain, atol=0.1)
    assert torch.allclose(images(**still, mosaic=1.0, mixup=1.0), plain)
    flipped = images(fliplr=1.0)
    assert torch.allclose(flipped, plain.flip(3))


def test_images_without_labels_can_be_augmented(model: Any, tmp_path: Path) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "set")
    for file in (tmp_path / "set" / "labels" / "train").iterdir():
        file.unlink()
    [batch] = batches(model, Images(str(data), 64, 8, augment=True), 8)
    assert len(batch["cls"]) == 0


def test_no_label_cache_is_left(model: Any, tiny_data: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in tiny_data.parent.rglob("*")}
    list(batches(model, Images(str(tiny_data), 64, 4), 4))
    assert {file: file.stat().st_mtime_ns for file in tiny_data.parent.rglob("*")} == before


def test_a_classifier_gets_the_numbers_of_its_classes(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import ClassificationModel

    model: Any = ClassificationModel("yolov8n-cls.yaml", nc=2, verbose=False)
    model.task, model.names = "classify", {0: "zebra", 1: "ape"}  # not in the order of the folders
    model.args = {}
    for i, name in enumerate(("ape", "zebra")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for j in range(2):
            image = np.full((40, 60, 3), 250 * i, np.uint8)
            cv2.imwrite(str(tmp_path / "train" / name / f"{j}.png"), image)
    [batch] = batches(model, Images(str(tmp_path), 64, 4), 4)
    assert batch["img"].shape == (4, 3, 64, 64)
    assert [int(bright) for bright in (batch["img"].mean((1, 2, 3)) > 0.5)] == [1 - int(cls) for cls in batch["cls"]]
    with task_loss(model) as loss:
        assert loss(batch).isfinite()


def test_unusable_data_is_an_input_error(make_weights: Callable[..., str], model: Any, tiny_data: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        list(batches(model, Images("none.yaml", 64, 4), 4))
    model.task = "pose"
    with pytest.raises(InputError, match="cannot be read for a pose model"):
        list(batches(model, Images(str(tiny_data), 64, 4), 4))
    model.task = "depth"
    with pytest.raises(ConfigError, match="depth model cannot be pruned with data"):
        list(batches(model, Images(str(tiny_data), 64, 4), 4))


@pytest.mark.parametrize("yaml", ["yolov8n.yaml", "yolov10n.yaml"])
def test_the_loss_is_that_of_training_with_frozen_statistics(
    make_weights: Callable[..., str], tiny_data: Path, yaml: str
) -> None:
    model: Any = load_checkpoint(make_weights(yaml))[0]
    model.train()
    model.model[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    keys = set(vars(model)) | set(model._modules)
    [batch] = batches(model, Images(str(tiny_data), 64, 4), 4)
    with task_loss(model) as loss:
        assert not any(module.training for module in model.modules() if isinstance(module, nn.BatchNorm2d))
        value = loss(batch)
        value.backward()
        assert (model.args.box, model.args.cls) == (7.5, 0.5)
    assert value.isfinite()
    assert value.item() > 0
    assert model.model[0].conv.weight.grad.abs().sum() > 0
    assert [module.training for module in model.modules()] == modes
    assert isinstance(model.args, dict)
    assert set(vars(model)) | set(model._modules) == keys
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
