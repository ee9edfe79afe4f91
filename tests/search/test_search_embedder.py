"""A checkpoint and its export give the same vectors, whatever the crops' sizes and the batch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.data.transforms import as_unit, resize
from kd_yolo.reid.export import export
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.networks.embedder import Embedder
from kd_yolo.search.networks.embedder_onnx import _takes_crops, open_onnx
from tests.search.gallery_helpers import save_network


def images(count: int) -> list[ImageHW3]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20 + 9 * i, 12 + 5 * i, 3), dtype=np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = save_network(tmp_path_factory.mktemp("net") / "reid.pt")
    export(ReIDModel.load(path), path, "onnx")
    return path


def test_vectors_are_those_of_the_network(weights: Path) -> None:
    embedder, crops = Embedder.open(weights, "cpu"), images(5)
    model = ReIDModel.load(weights)
    with torch.no_grad():
        expected = [model.embed(as_unit(resize(Image.fromarray(crop), (64, 32)))[None])[0].numpy() for crop in crops]
    found_nd = embedder.embed(crops)
    assert found_nd.dtype == np.float32
    assert found_nd.shape == (5, embedder.dim) == (5, 512)
    np.testing.assert_allclose(found_nd, np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found_nd, axis=1), 1, atol=1e-6)


def test_the_export_gives_the_same(weights: Path) -> None:
    ours, theirs = Embedder.open(weights, "cpu"), Embedder.open(weights.with_suffix(".onnx"), "cpu")
    assert (theirs.dim, theirs.size_hw) == (ours.dim, ours.size_hw) == (512, (64, 32))
    np.testing.assert_allclose(theirs.embed(images(3)), ours.embed(images(3)), atol=1e-4)
    assert theirs.hash != ours.hash


@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_the_batch_changes_nothing(weights: Path, suffix: str) -> None:
    embedder = Embedder.open(weights.with_suffix(suffix), "cpu")
    whole_nd = embedder.embed(images(5))
    np.testing.assert_allclose(embedder.embed(images(5), batch=2), whole_nd, atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.dim)
    with pytest.raises(ConfigError, match="batch=0"):
        embedder.embed(images(1), batch=0)


def test_the_hash_is_that_of_the_file(weights: Path, tmp_path: Path) -> None:
    assert Embedder.open(weights).hash == hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    other = save_network(tmp_path / "other.pt", seed=1)
    assert Embedder.open(other).hash != Embedder.open(weights).hash


def test_a_pixel_is_a_crop(weights: Path) -> None:
    assert np.isfinite(Embedder.open(weights, "cpu").embed([np.zeros((1, 1, 3), np.uint8)])).all()


@pytest.mark.parametrize(
    "crop",
    [np.zeros((4, 0, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))],
)
def test_what_is_no_crop_is_refused(weights: Path, crop: Any) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \(H,W,3\), RGB"):
        Embedder.open(weights, "cpu").embed([crop])


def write_graph(path: Path, shape: list[Any], *, subtract: bool) -> Path:
    """Mean of each channel by a 1 x 1 convolution and a mean; the mean 0.5 is taken off first where wished."""
    kernel = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], np.eye(3, dtype=np.float32).ravel())
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    first = [helper.make_node("Sub", ["x", "half"], ["y"])] if subtract else []
    nodes = [
        *first,
        helper.make_node("Conv", ["y" if subtract else "x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["out"]),
    ]
    ends = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 3])],
    )
    graph = helper.make_graph(nodes, "means", *ends, [kernel, half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_a_graph_without_normalisation_gets_it(tmp_path: Path) -> None:
    x_nchw = torch.full((2, 3, 8, 4), 0.75)
    bare = open_onnx(write_graph(tmp_path / "bare.onnx", ["n", 3, 8, 4], subtract=False), "cpu")
    own = open_onnx(write_graph(tmp_path / "own.onnx", ["n", 3, 8, 4], subtract=True), "cpu")
    assert bare[:2] == own[:2] == (3, (8, 4))
    normalised = (0.75 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(bare[2](x_nchw), [normalised] * 2, atol=1e-5)
    np.testing.assert_allclose(own[2](x_nchw), np.full((2, 3), 0.25), atol=1e-6)


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    x_nchw = torch.rand(7, 3, 8, 4)
    fixed = open_onnx(write_graph(tmp_path / "fixed.onnx", [3, 3, 8, 4], subtract=True), "cpu")[2]
    free = open_onnx(write_graph(tmp_path / "free.onnx", ["n", 3, 8, 4], subtract=True), "cpu")[2]
    np.testing.assert_allclose(fixed(x_nchw), free(x_nchw), atol=1e-6)


def test_files_that_are_no_reid_network(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"network .*none\.pt' cannot be opened"):
        Embedder.open(tmp_path / "none.pt")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="is not an ONNX file"):
        Embedder.open(tmp_path / "text.onnx")
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(InputError, match="is not a PyTorch checkpoint"):
        Embedder.open(tmp_path / "text.pt")
    grey = write_graph(tmp_path / "any.onnx", ["n", 3, "h", "w"], subtract=True)
    with pytest.raises(InputError, match=r"has inputs \[\('x', \['n', 3, 'h', 'w'\]\)\]: expected"):
        Embedder.open(grey)


def test_inputs_that_take_crops() -> None:
    for kind, shape, expected in (
        ("tensor(float)", ["n", 3, 8, 4], True), ("tensor(double)", ["n", 3, 8, 4], False),
        ("tensor(float)", ["n", 1, 8, 4], False), ("tensor(float)", [3, 8, 4], False),
        ("tensor(float)", [0, 3, 8, 4], False),
    ):  # fmt: skip
        assert _takes_crops(SimpleNamespace(type=kind, shape=shape)) is expected, (kind, shape)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_a_device_that_is_not_there(weights: Path, suffix: str) -> None:
    with pytest.raises(ConfigError, match="device=cuda"):
        Embedder.open(weights.with_suffix(suffix), "cuda")


@pytest.mark.e2e
def test_osnet_finds_people_again(shared: Path) -> None:
    """The figures of torchreid's export; without the normalisation that it lacks mAP is 0.696."""
    from kd_yolo.reid.data.decode import read_rgb
    from kd_yolo.reid.evaluation.distance import distance_matrix
    from kd_yolo.reid.evaluation.rank import evaluate

    embedder = Embedder.open(shared / "weights" / "osnet_x0_25_msmt17.onnx", "cpu")
    assert (embedder.size_hw, embedder.dim) == ((256, 128), 512)
    sides = [sorted((shared / "data" / "reid" / name).glob("*.jpg")) for name in ("query", "gallery")]
    found = [embedder.embed([np.asarray(read_rgb(path)) for path in side]) for side in sides]
    people = [[int(path.name.split("_")[0]) for path in side] for side in sides]
    cameras = [[int(path.name.split("_")[1][1]) for path in side] for side in sides]
    result = evaluate(distance_matrix(*found), *people, *cameras)
    assert result.map == pytest.approx(0.7507, abs=2e-3)
