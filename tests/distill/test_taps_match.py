"""Pairing student and teacher taps: by stride, across families and head sizes; what is left over is said."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.build import build_terms, named_terms
from kd_yolo.distill.taps import Tap, TapPair, find_taps, match_by_stride, unpaired
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.yolo.heads import probe_image

Build = Callable[..., Any]


def strides(pairs: list[TapPair]) -> list[int]:
    assert all(pair.student.stride == pair.teacher.stride for pair in pairs)
    return [pair.student.stride for pair in pairs]


def head_pairs(student: Any, teacher: Any) -> list[TapPair]:
    image = probe_image(student, teacher)
    return match_by_stride(*(find_taps(m, "head", image, "model") for m in (student, teacher)))


@pytest.mark.parametrize("other", ["yolov5n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"])
def test_across_families(build: Build, other: str) -> None:
    assert strides(head_pairs(build("yolov8n.yaml"), build(f"{other}.yaml"))) == [8, 16, 32]


def test_levels_in_another_order(build: Build) -> None:
    """The head of YOLOv3 counts its inputs from the end of the network."""
    pairs = head_pairs(build("yolov3-tiny.yaml"), build("yolov8n.yaml"))
    assert [(p.student.layer, p.teacher.layer) for p in pairs] == [(19, 18), (15, 21)]


@pytest.mark.parametrize(
    ("yaml", "shared", "left"),
    [
        ("yolov8n-p2", [8, 16, 32], "layer 18 (stride 4, 32 channels)"),
        ("yolov8n-p6", [8, 16, 32], "layer 29 (stride 64, 256 channels)"),
    ],
)
def test_shared_levels_of_different_heads(build: Build, yaml: str, shared: list[int], left: str) -> None:
    student, teacher = build("yolov8n.yaml"), build(f"{yaml}.yaml")
    config = DistillConfig.parse({"teacher": "t", "terms": [{"loss": "cwd"}, {"loss": "bkd"}]}, "here")
    for own, other, role in ((student, teacher, "teacher"), (teacher, student, "student")):
        terms = named_terms(build_terms(config, own, [Teacher(deepcopy(other))], seed=0))
        assert strides(list(terms["kd_cwd"].pairs)) == shared
        assert list(terms["kd_cwd"].notes) == [f"{role} {left} has no partner and is not used"]
        stride = left.split("stride ")[1].split(",")[0]
        assert list(terms["kd_bkd"].notes) == [
            f"{role} level of stride {stride} has no partner and is not used",
            "matched by number: the teacher has no class names",
        ]


def test_no_shared_level_lists_the_levels() -> None:
    student, teacher = [Tap(4, 8, 1), Tap(6, 16, 1)], [Tap(3, 32, 1), Tap(4, 64, 1)]
    with pytest.raises(ConfigError, match=r"student strides \[8, 16\], teacher strides \[32, 64\]") as caught:
        match_by_stride(student, teacher)
    assert "--taps" in str(caught.value)


def test_of_equal_strides_the_ones_nearest_to_the_head_pair() -> None:
    student = [Tap(18, 16, 1), Tap(12, 16, 1), Tap(6, 16, 1)]  # any order
    teacher = [Tap(13, 16, 1), Tap(19, 16, 1)]
    pairs = match_by_stride(student, teacher)
    assert [(p.student.layer, p.teacher.layer) for p in pairs] == [(12, 13), (18, 19)]
    assert unpaired(pairs, student, teacher) == [
        "student layer 6 (stride 16, 1 channels) has no partner and is not used"
    ]


def test_nothing_left_over_is_not_mentioned(build: Build) -> None:
    taps = [Tap(15, 8, 64), Tap(18, 16, 128)]
    assert unpaired(match_by_stride(taps, taps), taps, taps) == []
