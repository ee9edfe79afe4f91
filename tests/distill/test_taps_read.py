"""Reading layers: what the hooks see, that each must fire exactly once, and that none stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from kd_yolo.distill.taps import TapError, eval_mode, read_layers

IMAGE = torch.zeros(1, 3, 64, 64)


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


@pytest.fixture
def model(build: Callable[..., Any]) -> Any:
    return build("yolov8n.yaml").eval()


def test_outputs_are_those_of_the_layers(model: Any) -> None:
    expected = {}
    handles = [
        model.model[i].register_forward_hook(lambda _m, _a, out, i=i: expected.__setitem__(i, out)) for i in (4, 15)
    ]
    with torch.no_grad(), read_layers(model, [15, 4]) as seen:
        whole = model(IMAGE)
    assert whole[0].shape[0] == 1  # the forward pass went on to its end
    assert set(seen) == {4, 15}
    assert all(seen[i] is expected[i] for i in seen)
    for handle in handles:
        handle.remove()
    assert hooks(model) == 0


def test_stop_ends_the_pass_after_the_last_layer(model: Any) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda _m, _a, _o, i=i: ran.append(i)) for i, block in enumerate(model.model)
    ]
    with torch.no_grad(), read_layers(model, [15, 18], stop=True) as seen:
        model(IMAGE)
        raise AssertionError("the pass should have ended")
    for handle in handles:
        handle.remove()
    assert max(ran) == 18
    assert {i: tuple(x.shape) for i, x in seen.items()} == {15: (1, 64, 8, 8), 18: (1, 128, 4, 4)}
    assert hooks(model) == 0


def test_a_layer_that_runs_twice(model: Any) -> None:
    def both_passes() -> None:
        with torch.no_grad(), read_layers(model, [15]):
            model(IMAGE)
            model(IMAGE)

    with pytest.raises(TapError, match=r"once a forward pass, ran: \{15: 2\}"):
        both_passes()
    assert hooks(model) == 0


def test_a_layer_that_never_runs(model: Any) -> None:
    with pytest.raises(TapError, match=r"ran: \{15: 0\}"), read_layers(model, [15]):
        pass
    assert hooks(model) == 0


def test_a_layer_before_the_stop_that_never_runs(model: Any) -> None:
    with pytest.raises(TapError, match=r"\{0: 0, 2: 1\}"), read_layers(model, [0, 2], stop=True):
        model.model[2](torch.zeros(1, 32, 16, 16))
    assert hooks(model) == 0


@pytest.mark.parametrize("stop", [False, True])
def test_hooks_are_removed_when_the_pass_fails(model: Any, stop: bool) -> None:
    with pytest.raises(RuntimeError, match="channels"), read_layers(model, [15], stop=stop):
        model(torch.zeros(1, 5, 64, 64))
    assert hooks(model) == 0


def test_hooks_are_removed_on_ctrl_c(model: Any) -> None:
    def interrupted() -> None:
        with read_layers(model, [15, 18]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert hooks(model) == 0


def test_eval_mode_puts_every_mode_back(model: Any) -> None:
    model.train()
    model.model[3].eval()  # as a frozen layer is
    before = {name: module.training for name, module in model.named_modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with eval_mode(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.rand(2, 3, 64, 64))[0].requires_grad
    assert {name: module.training for name, module in model.named_modules()} == before
    assert all(torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers())


def test_eval_mode_puts_modes_back_after_a_failure(model: Any) -> None:
    model.train()
    with pytest.raises(RuntimeError), eval_mode(model):
        model(torch.zeros(1, 5, 64, 64))
    assert all(module.training for module in model.modules())
