"""Device names: what is accepted, what is refused, and that every command uses the one chooser."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.device import check_devices, choose_device, parse_device, parse_devices
from kd_yolo.base.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[2] / "kd_yolo"
NAMES = {None: None, "": None, "cpu": "cpu", " CPU ": "cpu", "cuda": "cuda", "cuda:1": "cuda:1", "0": "cuda:0"}
NAMES |= {7: "cuda:7", "mps": "mps", "cuda:01": "cuda:1"}
REFUSED = ["foo", "meta", "cuda:", "cuda:-1", "-1", "gpu", "cpu:0", "0,1", "cuda:x", "none", "x" * 10_000, "cpu\0"]
REFUSED += ["²", "cuda:9999999999999999999999", "xpu", "privateuseone"]


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_names_are_spelled_as_torch_does(text: str | int | None, name: str | None) -> None:
    assert parse_device(text) == name


@pytest.mark.parametrize("text", [*REFUSED, True])
def test_unknown_names_are_refused_in_one_short_line(text: str) -> None:
    for parse in (parse_device, choose_device):
        with pytest.raises(ConfigError, match="expected cpu, cuda, cuda:1 or 0") as error:
            parse(text)
        assert len(str(error.value)) < 300
    with pytest.raises(ConfigError, match=r"^unknown device 'foo': expected cpu, cuda, cuda:1 or 0\.$"):
        parse_device("foo")


@pytest.mark.parametrize(("count", "text"), [(0, "cuda"), (0, "0"), (0, "cuda:1"), (1, "cuda:1"), (2, 2)])
def test_a_gpu_that_is_not_there(count: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ConfigError, match=rf"^device={text}, but torch .*use device=cpu"):
        choose_device(text)


def test_the_choice_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, expected in ((0, "cpu"), (2, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda count=count: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert choose_device(None).type == expected
    assert choose_device("cuda:1") == torch.device("cuda:1")


def test_nobody_else_reads_a_device_name() -> None:
    """``torch.device(name)`` of a variable outside this chooser is a second one."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.device":
                found += [str(path.relative_to(PACKAGE))] * any(
                    not isinstance(name, ast.Constant) for name in node.args
                )
    assert found == ["base/device.py"]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, ()), ("", ()), ([], ()), ("cpu", ("cpu",)), (0, ("cuda:0",)), ("0", ("cuda:0",)), ("cuda", ("cuda",)),
        ("cuda:1", ("cuda:1",)), ("0,1", ("cuda:0", "cuda:1")), ([0, 1], ("cuda:0", "cuda:1")), ("mps", ("mps",)),
        ((2, "cuda:3"), ("cuda:2", "cuda:3")), ("cuda:0,1", ("cuda:0", "cuda:1")), (-1, ("-1",)),
        ("[0, 1]", ("cuda:0", "cuda:1")),
        ("-1,-1", ("-1", "-1")), ("npu:0", ("npu:0",)), ("xpu", ("xpu",)),
    ],
)  # fmt: skip
def test_devices_of_a_training(value: Any, names: tuple[str, ...]) -> None:
    assert parse_devices(value) == names


@pytest.mark.parametrize(
    "value", ["foo", "0,0", "cpu,0", "0,", "-2", True, "cuda:", 1.5, "gpu", ["a"], "0;1", "1" * 5000]
)
def test_devices_that_are_none(value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        parse_devices(value)
    assert len(str(error.value)) < 400


def test_physical_numbers_as_ultralytics_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ConfigError, match="has 1 GPU:"):
        check_devices(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert check_devices(3) == ("cuda:0",)
