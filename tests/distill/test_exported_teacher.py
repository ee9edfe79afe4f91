"""An ONNX file as a teacher: what it says is what the checkpoint says that it was exported from; what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.distill.boxes import corners, expected_distances
from kd_yolo.distill.job import Request, make_plan
from kd_yolo.distill.teachers.file import open_teacher
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.yolo.exported import ExportedDetector, open_exported
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.heads import head_facts, raw_outputs

Train = Callable[..., Any]


def export(weights: str, folder: Path, **arguments: Any) -> Path:
    """As ``yolo export format=onnx`` does."""
    from ultralytics import YOLO

    source = folder / "model.pt"
    shutil.copy(weights, source)
    given = {"format": "onnx", "imgsz": 64, "device": "cpu", "simplify": False, **arguments}
    return Path(YOLO(source).export(**given))


@pytest.fixture(scope="module")
def exported(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher for one image of 64 x 64 pixels."""
    return export(teacher, tmp_path_factory.mktemp("fixed"))


@pytest.fixture(scope="module")
def dynamic(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher for any number of images of any size."""
    return export(teacher, tmp_path_factory.mktemp("dynamic"), dynamic=True)


@pytest.mark.parametrize("kind", ["exported", "dynamic"])
def test_it_says_what_its_checkpoint_says(kind: str, teacher: str, request: pytest.FixtureRequest) -> None:
    model = open_exported(request.getfixturevalue(kind))
    live = load_checkpoint(teacher)[0].eval()
    facts = head_facts(live)
    assert (head_facts(model).strides, model.facts.num_classes) == (facts.strides, facts.num_classes)
    assert list(model.names.values()) == [str(name) for name in live.names.values()]  # type: ignore[union-attr,operator]
    size = (64, 64) if kind == "exported" else (96, 64)
    image = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0))
    outputs = Teacher(model).watch([], needs_head=True)(image)
    assert outputs.raw is not None
    with torch.no_grad():
        raw = raw_outputs(live(image))
    got, wanted = (
        corners(expected_distances(side["boxes"]), side["feats"], facts.strides) for side in (outputs.raw, raw)
    )
    assert torch.allclose(got, wanted, atol=1e-3)
    assert torch.allclose(outputs.raw["scores"], raw["scores"], atol=1e-3)
    assert [feat.shape[-2:] for feat in outputs.raw["feats"]] == [feat.shape[-2:] for feat in raw["feats"]]


def test_a_run_under_it_is_nearly_that_under_its_checkpoint(
    train: Train, rows: Any, exported: Path, teacher: str, logged: list[str]
) -> None:
    asked: dict[str, Any] = dict(loss="bkd+box_iou+obj_gated", gate="balanced", epochs=1)
    under = {
        name: rows(train(name=name, teacher=file, **asked))[0] for name, file in (("a", str(exported)), ("b", teacher))
    }
    for loss in ("bkd", "box_iou", "obj_gated"):
        one, other = (float(under[name][f"train/kd_{loss}"]) for name in "ab")
        assert one == pytest.approx(other, rel=1e-2)
        assert one > 0
    measured = [line.partition("has ")[2] for line in logged if "mAP50-95 on val" in line and "the teacher" in line]
    assert len(measured) == 2
    assert measured[0] == measured[1]


def test_its_answers_are_kept(train: Train, rows: Any, exported: Path, tmp_path: Path) -> None:
    run = train(
        teacher=str(exported), loss="bkd", teacher_cache=2, teacher_cache_dir=str(tmp_path / "cache"), finish=False
    )
    assert all("train/kd_bkd" in row for row in rows(run))
    assert len(run.criterion.teachers[0].cache) > 0


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        ("cwd", {}, "cwd compares features, the teacher .* is an ONNX file and gives answers only: use --loss bkd"),
        ("crosskd", {}, "crosskd runs parts of the teacher's head"),
        ("dfl_kl", {}, "the student has 16 bins, the teacher 1"),
        ("bkd", {"imgsz": 96}, "takes images of 64 x 64 pixels, the student is trained at imgsz=96: export it with"),
        ("bkd", {"multi_scale": 0.5}, "multi_scale changes their size: export it with dynamic=True"),
        ("bkd", {"rect": True}, "rect changes their size"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    exported: Path, student: str, tiny_data: Path, loss: str, arguments: dict[str, Any], message: str
) -> None:
    overrides = {"data": str(tiny_data), "imgsz": 64, "device": "cpu", **arguments}
    with pytest.raises(ConfigError, match=message):
        make_plan(Request(str(exported), student, loss, overrides=overrides), write=False)


def test_other_classes_and_no_name_of_an_architecture(exported: Path, student: str, tmp_path: Path) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "three", classes=3, images=2)
    overrides = {"data": str(data), "imgsz": 64, "device": "cpu"}
    with pytest.raises(ConfigError, match=r"teacher has 2 classes, data has 3|none in common"):
        make_plan(Request(str(exported), student, "bkd", overrides=overrides), write=False)
    with pytest.raises(InputError, match="does not say which architecture it is: name a student with --student"):
        make_plan(Request(str(exported), None, "bkd", overrides=overrides), write=False)


def write_file(path: Path, shape: tuple[int, ...], **given: Any) -> Path:
    """A network that answers with a constant, whatever it sees.

    Args:
        path: the file.
        shape: of the answer.
        **given: ``source``, ``kind``, ``value``: shape and type of the images, the constant; else facts of ultralytics.
    """
    source, kind = given.pop("source", (1, 3, 64, 64)), given.pop("kind", TensorProto.FLOAT)
    value = given.pop("value", 0.5)
    answer = numpy_helper.from_array(np.full(shape, value, np.float32), "answer")
    nodes = [helper.make_node("Constant", [], ["output0"], value=answer)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("images", kind, source)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, given)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shape": (1, 300, 6)}, r"detections \(1, 300, 6\): non-maximum suppression .* nms=False end2end=False"),
        ({"shape": (1, 6, 86)}, r"an output of shape \(1, 6, 86\): expected a detector as `yolo export"),
        ({"shape": (1, 4, 84)}, "an output of shape"),
        ({"shape": (1, 84)}, "an output of shape"),
        ({"shape": (1, 6, 84), "value": float("nan")}, "NaN or infinite"),
        ({"shape": (1, 6, 84), "task": "segment"}, "an export of a 'segment' model: of exports only detectors teach"),
        ({"shape": (1, 6, 84), "names": "{0: 'a'}"}, "has 2 classes, its names say otherwise"),
        ({"shape": (1, 6, 84), "names": "[" * 100_000}, "has 2 classes, its names say otherwise"),
        ({"shape": (1, 6, 84), "names": "__import__('os').remove('x')"}, "its names say otherwise"),
        ({"shape": (1, 6, 84), "source": (1, 3, 64)}, "has inputs"),
        ({"shape": (1, 6, 84), "source": (1, 3, 10**6, 10**6)}, "takes images of shape"),
        ({"shape": (1, 6, 84), "kind": TensorProto.INT64}, "has inputs"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_teacher(write_file(tmp_path / "other.onnx", **given))


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    """Without ultralytics' facts it has levels and classes by its output, and no names."""
    model = open_exported(write_file(tmp_path / "plain.onnx", (1, 6, 84), kind=TensorProto.FLOAT16))
    assert (model.facts.strides, model.facts.num_classes, model.size_hw) == ((8, 16, 32), 2, (64, 64))
    assert model.names == {0: "0", 1: "1"}
    assert float(model(torch.rand(2, 3, 64, 64))["scores"].abs().max()) == pytest.approx(0.0, abs=1e-6)


def test_images_fill_the_batch_that_a_file_has(tmp_path: Path) -> None:
    model = open_exported(write_file(tmp_path / "two.onnx", (2, 6, 84), source=(2, 3, 64, 64)))
    answer = model(torch.rand(3, 3, 64, 64))
    assert (answer["boxes"].shape, answer["scores"].shape) == ((3, 4, 84), (3, 2, 84))


@pytest.mark.parametrize(("content", "message"), [(b"no", "is not an ONNX file"), (None, "does not exist")])
def test_no_network(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "x.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_teacher(file)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """ONNX Runtime takes as many threads as torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_has_nothing_to_train(exported: Path) -> None:
    model = open_exported(exported)
    assert isinstance(model, ExportedDetector)
    assert not list(model.parameters())
