"""ONNX files that are damaged, strange or point elsewhere: one message each; nothing outside their folder is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kd_yolo.base.errors import InputError
from kd_yolo.search.networks.embedder import Embedder

CROPS = ["n", 3, 32, 16]


def network(
    shape: list[Any] = CROPS, *, kind: int = TensorProto.FLOAT, nodes: list[Any] | None = None, weights: Any = None
) -> Any:
    """Mean of each channel of a crop; ``nodes`` take ``x`` to ``out``."""
    made = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["out"])]
    graph = helper.make_graph(
        made if nodes is None else nodes, "g", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)], [] if weights is None else [weights],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external(location: str) -> Any:
    """A network that keeps a weight in another file."""
    weight = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"]), helper.make_node("GlobalAveragePool", ["y"], ["p"])]
    return network(nodes=[*nodes, helper.make_node("Flatten", ["p"], ["out"])], weights=weight)


def loop() -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])], "b",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
    )  # fmt: skip
    count = numpy_helper.from_array(np.array(2**62), "count")
    nodes = [helper.make_node("Loop", ["count", ""], [], body=body), helper.make_node("Flatten", ["x"], ["out"])]
    return network(nodes=nodes, weights=count)


def one(op: str, **attributes: Any) -> Any:
    return network(nodes=[helper.make_node(op, ["x"], ["out"], **attributes)])


BAD: dict[str, Callable[[], Any]] = {
    "empty": lambda: b"", "text": lambda: b"no graph", "cut": lambda: network().SerializeToString()[:40],
    "zeros": lambda: bytes(4000), "no nodes": lambda: network(nodes=[]), "a zip": lambda: b"PK\x03\x04" + bytes(60),
    "bytes as input": lambda: network(kind=TensorProto.UINT8), "half": lambda: network(kind=TensorProto.FLOAT16),
    "one channel": lambda: network(["n", 1, 32, 16]), "three axes": lambda: network([3, 32, 16]),
    "free size": lambda: network(["n", 3, "h", "w"]), "a huge crop": lambda: network(["n", 3, 90_000, 90_000]),
    "a huge batch": lambda: network([10**9, 3, 32, 16]), "no crop": lambda: network(["n", 3, 0, 16]),
    "an unknown operator": lambda: one("NoSuchOperator"), "a custom one": lambda: one("Gelu", domain="strange.domain"),
    "a map as output": lambda: one("Relu"), "nan": lambda: network(nodes=[
        helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Sub", ["f", "f"], ["z"]), helper.make_node("Div", ["z", "z"], ["out"])]),
    "one row for all": lambda: one("Flatten", axis=0), "endless": loop, "up": lambda: external("../secret"),
    "absolute": lambda: external("/etc/passwd"), "nothing": lambda: external(""), "gone": lambda: external("gone.bin"),
    "a nul": lambda: external("a\0b"), "here": lambda: external("."), "inside": lambda: external("sub/../../secret"),
    "a link": lambda: external("link.bin"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_message_each(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "network"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(np.ones(3, np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret")
    made = BAD[name]()
    (folder / "x.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(InputError) as error:
        Embedder.open(folder / "x.onnx", "cpu")
    assert str(folder / "x.onnx") in str(error.value)
    assert len(str(error.value)) < 900
    if name in ("up", "absolute", "inside", "a link"):
        assert "expected a file beside it" in str(error.value)


def test_weights_beside_the_network_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.full(3, 2, np.float32).tobytes())
    onnx.save(external("w.bin"), str(tmp_path / "x.onnx"))
    assert Embedder.open(tmp_path / "x.onnx", "cpu").dim == 3


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    for name, kind in (("pipe.onnx", "a pipe"), ("zero.onnx", "a device")):
        with pytest.raises(InputError, match=f"is {kind}, expected a file"):
            Embedder.open(tmp_path / name, "cpu")
