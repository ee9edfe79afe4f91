"""The package: what is registered, what ``--list-losses`` prints, what may be imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from torch import nn

import kd_yolo.losses as package
from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import LossInfo, base, build_loss, describe_losses, loss_names, losses


def test_names() -> None:
    features = {"cwd", "mgd", "l2", "pkd", "score_l2", "fgd"}
    responses = {"bkd", "kl", "dfl_kl", "box_iou", "obj_gated", "crosskd"}
    assert features | responses <= set(loss_names())
    assert loss_names() == sorted(loss_names())


@pytest.mark.parametrize("info", describe_losses(), ids=lambda info: info.name)
def test_one_loss_one_file_one_name_one_test_file(info: LossInfo) -> None:
    cls = losses.get(info.name)
    assert cls.__module__ == f"kd_yolo.losses.{info.name}"
    assert (Path(__file__).parent / f"test_{info.name}.py").is_file()
    assert info.kind in {"feature", "response"}
    assert info.paper
    assert 30 <= len(info.summary) <= 120
    assert info.summary.endswith(".")
    assert cls.__doc__.startswith(info.summary)
    assert cls.required <= cls.context
    if info.kind == "response":
        assert f"{cls.reads} " in base.__doc__, "the legend of base.py says what each reads"
        assert f" ({','.join(cls.axes)}) " in base.__doc__


def test_description() -> None:
    info = {info.name: info for info in describe_losses()}
    assert info["mgd"].parameters == ("channels", "alpha=2e-05", "mask_ratio=0.65", "bottleneck=None", "seed=0")
    assert info["bkd"].parameters == ("tau=1.0", "beta=1.0")
    assert info["bkd"].kind == "response"
    assert (info["bkd"].weight, info["mgd"].weight) == ("weight 1", "weight for 10 % of the gradient")
    assert info["l2"].parameters == ()
    assert info["l2"].kind == "feature"
    assert info["cwd"].paper == "Shu et al. 2021, arXiv 2011.13256"


def test_build() -> None:
    loss = build_loss("cwd", tau=3)
    assert isinstance(loss, nn.Module)
    assert loss.name == "cwd"
    with pytest.raises(ConfigError, match=r"unknown loss 'cdw'. Did you mean 'cwd'"):
        build_loss("cdw")


def test_only_what_stands_before_it_is_imported() -> None:
    allowed = ("kd_yolo.losses", "kd_yolo.base", "kd_yolo.geometry")
    for file in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong = [
                name for name in names if name.startswith(("kd_yolo", "ultralytics")) and not name.startswith(allowed)
            ]
            assert not wrong, f"{file.name} imports {wrong}"
