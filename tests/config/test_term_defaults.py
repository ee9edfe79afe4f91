"""What a bare name of a loss means: a changed default changes every run, so the loss's own test has it too."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import torch

from kd_yolo.config.term import TermConfig
from kd_yolo.losses import build_loss, loss_names, losses

LOSSES = loss_names()


def written_down(name: str) -> Any:
    """A loss's own test module: its ``TERM`` and ``PARAMETERS``."""
    return importlib.import_module(f"tests.losses.test_{name}")


@pytest.mark.parametrize("name", LOSSES)
def test_defaults_of_a_term(name: str) -> None:
    expected = written_down(name).TERM
    term = TermConfig.parse({"loss": name}, "term")
    assert term.weight == expected["weight"]
    assert term.share == expected.get("share")
    said = tuple(expected.get(key, usual) for key, usual in (("adapter", "auto"), ("standardize", False)))
    if losses.get(name).kind == "feature":
        assert (term.taps, term.adapter, term.standardize, term.gate) == ("head", *said, None)
    else:
        assert (term.taps, term.adapter, term.standardize, term.gate) == (None, None, None, "confidence")


@pytest.mark.parametrize("name", LOSSES)
def test_defaults_of_a_loss(name: str) -> None:
    given = inspect.signature(losses.get(name)).parameters.values()
    assert {p.name: p.default for p in given if p.default is not p.empty} == written_down(name).PARAMETERS


@pytest.mark.parametrize("name", ["fgd", "mgd"])
def test_the_default_seed_is_0(name: str) -> None:
    default, zero, one = (build_loss(name, channels=8, **seed).state_dict() for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert all(torch.equal(default[key], zero[key]) for key in default)
    assert any(not torch.equal(default[key], one[key]) for key in default)
