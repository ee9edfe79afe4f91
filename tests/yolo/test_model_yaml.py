"""Model YAMLs: those that ultralytics ships are known, anybody else's is checked before a line of it is built."""

from __future__ import annotations

import os
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics.nn.tasks as tasks
import yaml
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules import Conv

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.description import build_budget, layer_names
from kd_yolo.yolo.description.build_budget import check_buildable
from kd_yolo.yolo.description.model_yaml import SHIPPED, check_model_yaml, load_model_yaml
from kd_yolo.yolo.files.safe_mode import enforce_safe_loading

TINY: dict[str, Any] = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]],
    "head": [[[0, 1], 1, "Detect", ["nc"]]],
}
FILES = sorted(SHIPPED.rglob("*.yaml"))
TEXT_OR_FETCHING = {"yolo11-cls-resnet18", "yolov8-world", "yolov8-worldv2"}


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No network; a working directory in which the canary would appear; the default activation stays."""

    def refuse(*_: Any) -> None:
        pytest.fail("the network was asked for")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = Conv.default_act
    yield
    assert not (tmp_path / "CANARY").exists()
    assert Conv.default_act is before


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_yaml_of_ultralytics_is_known_or_refused_for_its_text_encoder(file: Path) -> None:
    if file.stem in TEXT_OR_FETCHING or file.stem.startswith("yoloe"):
        with pytest.raises(InputError, match=r"not built here|fetches weights"):
            load_model_yaml(file.name)
        return
    found = load_model_yaml(file.name)
    plain = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert {key: found[key] for key in plain} == plain


def test_the_lists_name_what_ultralytics_has() -> None:
    for name in layer_names.LAYERS | layer_names.TEXT_LAYERS:
        owner, _, attr = name.rpartition(".")
        found = getattr(torch.nn, attr) if owner == "nn" else getattr(tasks, attr)
        assert issubclass(found, torch.nn.Module), name
    assert all(issubclass(getattr(torch.nn, name), torch.nn.Module) for name in layer_names.ACTIVATIONS)
    assert not layer_names.LAYERS & (layer_names.FETCHING | layer_names.TEXT_LAYERS)


@pytest.mark.parametrize(
    ("name", "scale", "task"),
    [
        ("yolov8n.yaml", "n", "detect"),
        ("yolov8s-seg.yaml", "s", "segment"),
        ("yolo11m-pose.yaml", "m", "pose"),
        ("yolov8n6.yaml", "n", "detect"),
        ("yolo26x-obb.yaml", "x", "obb"),
        ("yolov9t.yaml", "", "detect"),
        ("rtdetr-l.yaml", "", "rtdetr"),
        ("yolov8n-cls.yaml", "n", "classify"),
    ],
)
def test_names_of_ultralytics_give_what_ultralytics_reads(name: str, scale: str, task: str) -> None:
    found = load_model_yaml(name)
    assert found["scale"] == scale
    assert check_model_yaml(name) == task
    assert found["yaml_file"] == name.replace("8n6", "8n-p6")


def write(value: Any, name: str = "net.yaml") -> str:
    text = value if isinstance(value, str) else yaml.safe_dump(value)
    Path(name).write_text(text, encoding="utf-8")
    return name


def with_row(index: int, row: Any) -> dict[str, Any]:
    rows = [list(each) for each in TINY["backbone"]]
    rows[index] = row
    return {**TINY, "backbone": rows}


def test_a_good_yaml_of_ones_own_builds_and_trains_through_ultralytics() -> None:
    enforce_safe_loading()
    name = write(
        {**TINY, "activation": "nn.LeakyReLU(0.2)", "scales": {"n": [1, 1, 64], "s": [1, 2.0, 64]}}, "yolo9s.yaml"
    )
    assert check_model_yaml(name) == "detect"
    model = YOLO(name)
    assert model.model.model[0].conv.out_channels == 32
    assert isinstance(model.model.model[0].act, torch.nn.LeakyReLU)
    assert sum(p.numel() for p in tasks.DetectionModel(name, nc=5, verbose=False).parameters()) > 0


def test_random_numbers_are_as_before() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_model_yaml(write({**TINY, "reg_max": 7}))
    assert torch.equal(torch.rand(1), expected)


LARGER = [-1, 1, "nn.Upsample", ["None", 8, "nearest"]]
LETTERS = "abcdefghij"
CODE = "__import__('os').system('touch CANARY') or nn.SiLU()"
BAD: dict[str, Any] = {
    "empty": "",
    "a list": "- 1\n- 2\n",
    "a text": "hello",
    "a number": "7",
    "binary": "\x00\x01\x02",
    "no yaml": "a: [1",
    "a tag": "!!python/object/apply:os.system ['touch CANARY']",
    "aliases": "a: &a [1,1]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in pairwise(LETTERS)),
    "depth": "[" * 5000,
    "no backbone": {"nc": 2, "head": TINY["head"]},
    "no head": {"nc": 2, "backbone": TINY["backbone"]},
    "no nc": {"backbone": TINY["backbone"], "head": TINY["head"]},
    "nc of 10^11": {**TINY, "nc": 10**11},
    "nc of a text": {**TINY, "nc": "two"},
    "nc of 0": {**TINY, "nc": 0},
    "an activation that is code": {**TINY, "activation": CODE},
    "an activation with code inside": {**TINY, "activation": f"nn.LeakyReLU({CODE})"},
    "an activation that is no activation": {**TINY, "activation": "nn.Linear(9, 9)"},
    "an activation of another module": {**TINY, "activation": "os.system('touch CANARY')"},
    "an activation without a call": {**TINY, "activation": "nn.SiLU"},
    "an activation with a wrong argument": {**TINY, "activation": "nn.SiLU(1, 2, 3)"},
    "an unknown block": with_row(0, [-1, 1, "Convv", [16, 3, 2]]),
    "a function": with_row(0, [-1, 1, "check_requirements", ["evil"]]),
    "a function of torch": with_row(0, [-1, 1, "nn.functional.relu", []]),
    "weights of torchvision": with_row(0, [-1, 1, "TorchVision", [16, "resnet18", "DEFAULT"]]),
    "an operation of torchvision": with_row(0, [-1, 1, "torchvision.ops.nms", []]),
    "a model as a block": with_row(0, [-1, 1, "DetectionModel", ["net.yaml"]]),
    "a backend as a block": with_row(0, [-1, 1, "AutoBackend", ["x.pt"]]),
    "an index": with_row(0, [-1, 1, "Index", [16, 3]]),
    "a text encoder": with_row(0, [-1, 1, "C2fAttn", [16, 3]]),
    "a name that is a list": with_row(0, [-1, 1, ["Conv"], [16]]),
    "a row of two": with_row(0, [-1, 1]),
    "a row that is a text": with_row(0, "Conv"),
    "3e8 repeats": with_row(0, [-1, 3 * 10**8, "Conv", [16, 3, 2]]),
    "1000 repeats of a block of 1000": with_row(1, [-1, 1000, "C2f", [65536]]),
    "negative repeats": with_row(0, [-1, -1, "Conv", [16, 3, 2]]),
    "repeats of a text": with_row(0, [-1, "1", "Conv", [16, 3, 2]]),
    "10^9 channels": with_row(0, [-1, 1, "Conv", [10**9, 3, 2]]),
    "60000 x 60000 channels": {**TINY, "backbone": [[-1, 1, "Conv", [60000, 1, 2]], [-1, 1, "Conv", [60000, 1, 2]]]},
    "a kernel of 60000": with_row(0, [-1, 1, "Conv", [16, 60001, 2]]),
    "a stride of 0": with_row(0, [-1, 1, "Conv", [16, 3, 0]]),
    "no channels": with_row(0, [-1, 1, "Conv", [0, 3, 2]]),
    "an argument that is code": with_row(0, [-1, 1, "Conv", [CODE]]),
    "an argument that is a local variable": with_row(0, [-1, 1, "Conv", ["d", 3, 2]]),
    "an argument that is a dict": with_row(0, [-1, 1, "Conv", [{"a": 1}]]),
    "an argument that is infinite": with_row(0, [-1, 1, "Conv", [float("inf")]]),
    "a hundred arguments": with_row(0, [-1, 1, "Conv", [1] * 100]),
    "too few arguments": with_row(0, [-1, 1, "Conv", []]),
    "a scale of a thousand": {**TINY, "head": [[-1, 1, "nn.Upsample", ["None", 1000, "nearest"]], *TINY["head"]]},
    "a size without end": {**TINY, "head": [[-1, 1, "nn.Upsample", [65000]], [-1, 1, "Detect", ["nc"]]]},
    "thirty scales": {**TINY, "head": [*[LARGER] * 30, [[31], 1, "Detect", ["nc"]]]},
    "a source that comes later": with_row(0, [3, 1, "Conv", [16, 3, 2]]),
    "a source that is a text": with_row(0, ["-1", 1, "Conv", [16, 3, 2]]),
    "maps of two sizes joined": {**TINY, "head": [[[0, 1], 1, "Concat", [1]], [[0, 1], 1, "Detect", ["nc"]]]},
    "one source for a head of levels": {**TINY, "head": [[-1, 1, "Detect", ["nc"]]]},
    "600 layers": {**TINY, "backbone": [[-1, 1, "Conv", [8, 1, 1]]] * 600},
    "scales that are a list": {**TINY, "scales": [1, 2]},
    "a scale of two numbers": {**TINY, "scales": {"n": [1, 1]}},
    "a width of 10^6": {**TINY, "scales": {"n": [1, 10**6, 64]}},
    "kpt_shape of a number": {**TINY, "kpt_shape": 17, "head": [[[0, 1], 1, "Pose", ["nc", "kpt_shape"]]]},
    "kpt_shape that is missing": {**TINY, "head": [[[0, 1], 1, "Pose", ["nc", "kpt_shape"]]]},
    "reg_max of 10^8": {**TINY, "reg_max": 10**8},
    "channels of 10^8": {**TINY, "channels": 10**8},
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_yamls_are_refused_before_anything_is_built(what: str) -> None:
    name = write(BAD[what])
    enforce_safe_loading()
    for open_it in (load_model_yaml, check_model_yaml, YOLO, lambda n: tasks.DetectionModel(n, verbose=False)):
        with pytest.raises(InputError, match=r"net\.yaml") as caught:
            open_it(name)
        assert len(str(caught.value)) < 1000


def test_messages() -> None:
    for value, text in (
        (BAD["an unknown block"], r"names the block 'Convv' in layer 0.* Did you mean 'Conv'\?"),
        (BAD["empty"], r"net\.yaml holds nothing, expected nc, backbone and head"),
        (BAD["kpt_shape of a number"], r"kpt_shape 17, expected \[keypoints, 2 or 3\]"),
        (BAD["60000 x 60000 channels"], "cannot be built: .*more than 1000000000 parameters"),
        (BAD["maps of two sizes joined"], "cannot be built: RuntimeError: Sizes of tensors must match"),
    ):
        with pytest.raises(InputError, match=text):
            load_model_yaml(write(value))
    with pytest.raises(InputError, match=r"has no scale 'x': it has n, s"):
        load_model_yaml(write({**TINY, "scales": {"n": [1, 1, 64], "s": [1, 1, 64]}}, "yolov8x-mine.yaml"))


@pytest.mark.parametrize(
    "name", ["no.yaml", "yolov8z.yaml", "folder.yaml", "a\0.yaml", "x" * 300 + ".yaml", "http://a/b.yaml"]
)
def test_files_that_are_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(InputError, match="student"):
        check_model_yaml(name, "student")


def test_a_file_here_comes_before_one_of_that_name_in_ultralytics(tmp_path: Path) -> None:
    write({**TINY, "activation": CODE}, "yolov8.yaml")
    with pytest.raises(InputError, match="activation"):
        load_model_yaml("yolov8n.yaml")
    os.mkfifo("yolov8n.yaml")
    with pytest.raises(InputError, match="a pipe"):
        load_model_yaml("yolov8n.yaml")


def test_large_networks_are_tried_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[set[str]] = []
    run = build_budget._run

    def recorded(layers: nn.Sequential, image: torch.Tensor) -> None:
        tried.append({value.device.type for value in (*layers.parameters(), image)})
        run(layers, image)

    build_budget._fault.cache_clear()
    monkeypatch.setattr(build_budget, "_run", recorded)
    wide = {**TINY, "backbone": [[-1, 1, "Conv", [2048, 3, 2]], [-1, 1, "Conv", [1024, 3, 2]]]}
    check_buildable("wide", wide)  # 19 million parameters
    assert tried == [{"meta"}]
