"""Finding taps: head inputs, neck blocks that end in their cv2, explicit layers; and that measuring leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.distill.taps import Tap, find_taps
from kd_yolo.yolo.heads import probe_image

Build = Callable[..., Any]


def find(model: Any, taps: Any, role: str = "student") -> list[Tap]:
    return find_taps(model, taps, probe_image(model), role)


def test_head_inputs_of_yolov8(build: Build) -> None:
    assert find(build("yolov8n.yaml"), "head") == [Tap(15, 8, 64), Tap(18, 16, 128), Tap(21, 32, 256)]


@pytest.mark.parametrize(
    ("yaml", "layers", "strides"),
    [
        ("yolov3-tiny", [19, 15], [16, 32]),
        ("yolov5n", [17, 20, 23], [8, 16, 32]),
        ("yolov8n-p2", [18, 21, 24, 27], [4, 8, 16, 32]),
        ("yolov8n-p6", [20, 23, 26, 29], [8, 16, 32, 64]),
        ("yolov9t", [15, 18, 21], [8, 16, 32]),
        ("yolov10n", [16, 19, 22], [8, 16, 32]),
        ("yolo11n", [16, 19, 22], [8, 16, 32]),
        ("yolo12n", [14, 17, 20], [8, 16, 32]),
        ("yolo26n", [16, 19, 22], [8, 16, 32]),
        ("yolo11n-seg", [16, 19, 22], [8, 16, 32]),
    ],
)
def test_head_inputs_of_every_family(build: Build, yaml: str, layers: list[int], strides: list[int]) -> None:
    taps = find(build(f"{yaml}.yaml"), "head")
    assert [tap.layer for tap in taps] == layers
    assert [tap.stride for tap in taps] == strides


@pytest.mark.parametrize(
    ("yaml", "layers"),
    [("yolov8n", [12, 15, 18, 21]), ("yolo11n", [13, 16, 19, 22]), ("yolo26n", [13, 16, 19, 22])],
)
def test_cv2_taps_are_the_output_of_the_block(build: Build, yaml: str, layers: list[int]) -> None:
    model = build(f"{yaml}.yaml").eval()
    assert [tap.layer for tap in find(model, "cv2")] == layers
    seen: dict[Any, torch.Tensor] = {}
    for i in layers:
        for name, module in (("block", model.model[i]), ("cv2", model.model[i].cv2)):
            module.register_forward_hook(lambda _m, _a, out, k=(i, name): seen.__setitem__(k, out))
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
    assert all(torch.equal(seen[i, "block"], seen[i, "cv2"]) for i in layers)


@pytest.mark.parametrize("yaml", ["yolov5n", "yolov9t"])
def test_cv2_is_refused_where_it_is_a_side_branch(build: Build, yaml: str) -> None:
    with pytest.raises(ConfigError, match="taps=cv2: the teacher has no neck block that ends in its cv2") as caught:
        find(build(f"{yaml}.yaml"), "cv2", "teacher")
    assert "taps=head" in str(caught.value)


def test_explicit_layers_keep_their_order(build: Build) -> None:
    assert find(build("yolov8n.yaml"), [21, 4, 0]) == [Tap(21, 32, 256), Tap(4, 8, 64), Tap(0, 2, 16)]


@pytest.mark.parametrize("layer", [22, 99, -1])
def test_layer_out_of_range(build: Build, layer: int) -> None:
    with pytest.raises(ConfigError, match=f"the student has no layer {layer} before its head; 0 to 21"):
        find(build("yolov8n.yaml"), [15, layer])


def test_layer_that_gives_no_map(build: Build) -> None:
    model = build("yolov8n.yaml")
    model.model[3].register_forward_hook(lambda _m, _a, out: [out])
    with pytest.raises(ConfigError, match="layer 3 of the student does not give a feature map"):
        find(model, [3])


def trace(model: nn.Module) -> dict[str, Any]:
    state = {f"value {k}": v.clone() for k, v in model.state_dict().items()}
    return state | {f"mode {k}": m.training for k, m in model.named_modules()}


@pytest.mark.parametrize("taps", ["head", "cv2", [4, 15]])
def test_measuring_leaves_no_trace(build: Build, taps: Any) -> None:
    model = build("yolov8n.yaml").train()
    model.model[0].eval()
    before, random = trace(model), torch.get_rng_state()
    find(model, taps)
    after = trace(model)
    assert all(torch.equal(v, after[k]) if isinstance(v, torch.Tensor) else v == after[k] for k, v in before.items())
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
