"""Which networks count as pruned: one answer for the trainers' guard, the notes of pruning, and whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.training import widths
from kd_yolo.yolo.classes import set_classes
from kd_yolo.yolo.files import pruned_file
from kd_yolo.yolo.files.pruned_file import is_pruned

BRANCH = [f"model.22.cv3.{level}.{conv}.conv" for level in range(3) for conv in range(2)]


@cache
def _built(classes: int) -> Any:
    return DetectionModel("yolov8n.yaml", nc=classes, verbose=False)


def stock(classes: int = 80) -> Any:
    """As its YAML says; the hidden width of the class branch is 80 for 80 classes, 64 for few."""
    return deepcopy(_built(classes))


def cut(model: Any, to: dict[str, int]) -> Any:
    """Some groups cut down to a width."""
    with ChannelGraph(model, torch.zeros(1, 3, 64, 64)) as graph:
        graph.cut({group.name: range(to.get(group.name, group.width)) for group in graph.groups})
    return model


def class_branch(width: int, classes: int = 80) -> Any:
    return cut(stock(classes), dict.fromkeys(BRANCH, width))


def tuned(before: int, after: int) -> Any:
    """Fine-tuned on another number of classes, as upstream does it: the class branch is as wide as it was."""
    model = stock(after)
    model.load(stock(before), verbose=False)
    return model


def wider() -> Any:
    model = stock()
    layer = model.model[2].cv2
    layer.conv = nn.Conv2d(layer.conv.in_channels, layer.conv.out_channels + 8, 1, bias=False)
    return model


def one_level() -> Any:
    model = stock(2)
    block = model.model[-1].cv3[1][0]
    block.conv.weight = nn.Parameter(block.conv.weight[:40].detach().clone())
    return model


def other_classes(model: Any, classes: int) -> Any:
    set_classes(model, classes)
    return model


CASES: dict[str, tuple[Callable[[], Any], bool]] = {
    "stock, 80 classes": (stock, False),
    "stock, 2 classes": (lambda: stock(2), False),
    "80 classes fine-tuned on 3": (lambda: tuned(80, 3), False),
    "90 classes fine-tuned on 80": (lambda: tuned(90, 80), False),
    "70 classes fine-tuned on 1": (lambda: tuned(70, 1), False),
    "class outputs exchanged": (lambda: other_classes(stock(), 7), False),
    "class branch 80 -> 72": (lambda: class_branch(72), True),
    "class branch 80 -> 64": (lambda: class_branch(64), True),
    "class branch 80 -> 40": (lambda: class_branch(40), True),
    "class branch of 2 classes 64 -> 56": (lambda: class_branch(56, 2), True),
    "class branch of one level": (one_level, True),
    "box branch": (lambda: cut(stock(2), {"model.22.cv2.0.0.conv": 56}), True),
    "one layer of the backbone": (lambda: cut(stock(), {"model.0.conv": 8}), True),
    "backbone narrow, class branch kept from 80": (lambda: cut(tuned(80, 3), {"model.1.conv": 24}), True),
    "narrow, class outputs exchanged": (lambda: other_classes(cut(stock(), {"model.0.conv": 8}), 3), True),
    "a wider layer": (wider, True),
}


@pytest.mark.parametrize("case", CASES)
def test_what_counts_as_pruned(case: str) -> None:
    build, expected = CASES[case]
    model, state = build(), torch.random.get_rng_state()
    assert is_pruned(model) is expected
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "yaml", [None, "yolov8n.yaml", {}, {"nc": 2, "backbone": [], "head": [[-1, 1, "Nothing", []]]}]
)
def test_no_answer_is_no(yaml: Any) -> None:
    model = stock(2)
    model.yaml = yaml
    assert not is_pruned(model)


def test_there_is_one_answer() -> None:
    assert widths.is_pruned is pruned_file.is_pruned
