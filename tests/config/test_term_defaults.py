"""What a bare name of a loss means: a changed default changes every run, so it is changed here too."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from kd_yolo.config.term import TERM_DEFAULTS, TermConfig
from kd_yolo.losses import build_loss, loss_names, losses

WEIGHTS = {
    "cwd": 1.0, "mgd": 3.0, "l2": 5.0, "pkd": 1.0, "score_l2": 6.0, "bkd": 1.0, "kl": 1.0, "dfl_kl": 2.0,
    "box_iou": 3.0, "obj_gated": 1.0, "crosskd": 2.0, "fgd": 0.3,
}  # fmt: skip
PARAMETERS: dict[str, dict[str, Any]] = {
    "cwd": {"tau": 1.0},
    "mgd": {"alpha": 2e-5, "mask_ratio": 0.65, "bottleneck": None, "seed": 0},
    "l2": {},
    "pkd": {},
    "score_l2": {},
    "bkd": {"tau": 1.0, "beta": 1.0},
    "kl": {"tau": 1.0},
    "dfl_kl": {"tau": 1.0, "bins": 16},
    "box_iou": {},
    "obj_gated": {"kind": "l2", "tau": 1.0, "box_weight": 1.0},
    "crosskd": {"tau": 1.0, "beta": 1.0, "box_weight": 1.0, "bins": 16},
    "fgd": {"alpha": 1e-3, "beta": 5e-4, "gamma": 1e-3, "lambda_": 5e-6, "tau": 0.5, "seed": 0},
}


def test_every_loss_is_in_the_tables() -> None:
    assert set(WEIGHTS) == set(PARAMETERS) == set(loss_names()) == set(TERM_DEFAULTS)


@pytest.mark.parametrize("name", WEIGHTS)
def test_defaults_of_a_term(name: str) -> None:
    term = TermConfig.parse({"loss": name}, "term")
    assert term.weight == WEIGHTS[name]
    assert term.share is None
    if losses.get(name).kind == "feature":
        adapter = "mlp" if name == "score_l2" else "auto"
        assert (term.taps, term.adapter, term.standardize, term.gate) == ("head", adapter, name == "cwd", None)
    else:
        assert (term.taps, term.adapter, term.standardize, term.gate) == (None, None, None, "confidence")


@pytest.mark.parametrize("name", PARAMETERS)
def test_defaults_of_a_loss(name: str) -> None:
    given = inspect.signature(losses.get(name)).parameters.values()
    assert {p.name: p.default for p in given if p.default is not p.empty} == PARAMETERS[name]


@pytest.mark.parametrize("name", ["fgd", "mgd"])
def test_the_default_seed_is_0(name: str) -> None:
    default, zero, one = (build_loss(name, channels=8, **seed).state_dict() for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert all(torch.equal(default[key], zero[key]) for key in default)
    assert any(not torch.equal(default[key], one[key]) for key in default)
