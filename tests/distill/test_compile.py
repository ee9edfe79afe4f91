"""compile=True: the criterion stays outside of the compiled graph and sees the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

Train = Callable[..., Any]


def kd(table: list[dict[str, str]]) -> list[float]:
    return [float(v) for row in table for k, v in row.items() if "loss" in k or "kd_" in k]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Makes ultralytics compile with a cheaper backend than inductor; returns what it compiled."""
    compile_ = torch.compile

    def use(name: str) -> list[Any]:
        compiled: list[Any] = []

        def cheap(model: Any, **_: Any) -> Any:
            compiled.append(model)
            return compile_(model, backend=name)

        monkeypatch.setattr(torch, "compile", cheap)
        torch._dynamo.reset()
        return compiled

    return use


@pytest.mark.parametrize("name", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_compiled_values_are_those_of_eager_mode(train: Train, rows: Any, backend: Any, name: str) -> None:
    arguments = dict(loss="cwd+bkd", epochs=1, finish=False)
    eager = kd(rows(train(name="eager", **arguments)))
    compiled = backend(name)
    run = train(name="compiled", compile=True, **arguments)
    assert len(compiled) == 1
    assert type(run.model).__name__ == "OptimizedModule"
    assert kd(rows(run)) == pytest.approx(eager, rel=1e-3)
    assert min(kd(rows(run))) > 0


@pytest.mark.slow
def test_inductor(train: Train, rows: Any) -> None:
    arguments = dict(loss="cwd+bkd", epochs=1, batch=8)  # one step
    eager = kd(rows(train(name="eager", **arguments)))
    torch._dynamo.reset()
    assert kd(rows(train(name="compiled", compile=True, **arguments))) == pytest.approx(eager, rel=1e-2)
