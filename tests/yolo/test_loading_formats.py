"""Files that are no YOLO checkpoint: each kind has its own message, with what is wrong and what to do."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from ultralytics import utils

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.files import locate as locate_module
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.locate import locate

pytestmark = pytest.mark.usefixtures("no_installs")


def saved(obj: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "hello")
    return buffer.getvalue()


def engine() -> bytes:
    metadata = json.dumps({"stride": 32}).encode()
    return len(metadata).to_bytes(4, "little") + metadata + b"ftrt"


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32"}}).encode()
    return len(header).to_bytes(8, "little") + header


CONTENTS = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "web page": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
    "server's error": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "server's error message"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "onnx": (b"\x08\x06\x12\x07pytorch\x1a\x052.8.0:\xfb", "is an ONNX export, whatever its name says.*exported from"),
    "engine": (engine(), "is a TensorRT engine"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="yolo" version="11">', "is an OpenVINO model"),
    "safetensors": (safetensors(), "is a safetensors file"),
    "tflite": (b"\x1c\x00\x00\x00TFL3", "is a TensorFlow Lite export"),
    "image": (b"\xff\xd8\xff\xe0\x00\x10JFIF" * 20, "is not a PyTorch checkpoint"),
    "other zip": (zip_of("readme.txt"), "is a zip archive, but not"),
    "cut off": (saved({"w": torch.ones(5000)})[:9000], "damaged or was cut off"),
    "cut pickle": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9", "damaged or was cut off"),
    "plain pickle": (b"\x80\x02}q\x00.", "is a plain pickle"),
    "state_dict": (saved(nn.Linear(2, 2).state_dict()), r"holds only weights \(a state_dict of 2 tensors\)"),
    "state_dict within": (saved({"state_dict": {"w": torch.ones(1)}}), "holds only weights"),
    "model as state_dict": (saved({"model": {"w": torch.ones(1)}, "epoch": 1}), "holds only weights"),
    "other layer": (saved(nn.Linear(2, 2)), "holds a Linear, not a YOLO model"),
    "other layer in a dict": (saved({"model": nn.Linear(2, 2)}), r"holds no YOLO model \(Linear\)"),
    "no model": (saved({"epoch": 1}), r"holds no YOLO model \(the keys \['epoch'\]\)"),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_content_is_told_by_name(kind: str, tmp_path: Path) -> None:
    data, message = CONTENTS[kind]
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.pt .*{message}") as caught:
        load_checkpoint(tmp_path / "x.pt")
    assert caught.value.exit_code == 3


def test_torchscript_and_torchvision_files(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "script.pt")
    with pytest.raises(InputError, match="is a TorchScript export"):
        load_checkpoint(tmp_path / "script.pt")
    import torchvision

    torch.save(torchvision.models.squeezenet1_1(), tmp_path / "tv.pt")
    with pytest.raises(InputError, match=r"names 'torchvision\.models\.squeezenet\.SqueezeNet', which is not a part"):
        load_checkpoint(tmp_path / "tv.pt")


def test_damage_inside_an_archive(tmp_path: Path) -> None:
    data = bytearray(saved({"w": torch.ones(100)}))
    start = data.index(b"PK\x03\x04", 10) + 4  # all records after the pickle, but not the directory at the end
    data[start:-200] = bytes(len(data) - 200 - start)
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "x.pt")


def test_anchor_based_yolov5_names_its_successor(shared_weights: Path) -> None:
    for trust in (False, True):
        with pytest.raises(InputError, match=r"anchor-based YOLOv5 or YOLOv7 .* Use yolov5nu\.pt from ultralytics"):
            load_checkpoint(shared_weights / "yolov5n.pt", trust=trust)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolov8n.yaml", "model description, not a checkpoint.*yolov8n.pt"),
        ("x.onnx", "is an ONNX export"),
        ("x.engine", "is a TensorRT engine"),
        ("x.torchscript", "is a TorchScript export"),
        ("x.safetensors", "is a safetensors file"),
        ("https://example.com/x.pt", "is a web address: download"),
    ],
)
def test_names_that_cannot_be_checkpoints(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_checkpoint(name)


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder, expected a \.pt file\."):
        locate(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "best.pt").touch()
    with pytest.raises(InputError, match=r"is a folder.*give .*weights/best\.pt"):
        locate(tmp_path)
    (tmp_path / "yolov8n.xml").touch()
    with pytest.raises(InputError, match="the folder of an OpenVINO model"):
        locate(tmp_path)


def test_missing_file_offers_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "teacher_v2.pt").touch()
    with pytest.raises(InputError, match=r"do not exist .* Did you mean 'teacher_v2\.pt'\?"):
        locate(tmp_path / "teacher_v1.pt")


OFFLINE = r"could not be fetched .*Copy the file here or give the path of yours\.$"


@pytest.mark.parametrize(
    ("flag", "advice"),
    [
        ("--teacher", "here, use --teacher path/to/your.pt, or run the demo without --teacher."),
        ("--student", "here, use --student path/to/your.pt."),
        (None, "here or give the path of yours."),
    ],
)
def test_offline_advice_is_that_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str | None, advice: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    with pytest.raises(InputError) as error:
        locate("yolov8x.pt", flag)
    assert str(error.value).endswith(advice)


def test_official_name_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locate_module.downloads, "attempt_download_asset", lambda file: pytest.fail("went online"))
    monkeypatch.setattr(utils, "ONLINE", True)
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    with pytest.raises(InputError, match=OFFLINE):
        locate("yolov8x.pt")
    monkeypatch.delenv("YOLO_OFFLINE")
    monkeypatch.setattr(utils, "ONLINE", False)
    with pytest.raises(InputError, match=OFFLINE):
        locate("yolov8x.pt")


def test_official_name_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(file: Path) -> str:
        file.write_bytes(b"weights")
        return str(file)

    def fail(file: Path) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOLO_OFFLINE", raising=False)
    monkeypatch.setattr(utils, "ONLINE", True)
    monkeypatch.setattr(locate_module.downloads, "attempt_download_asset", fail)
    with pytest.raises(InputError, match=rf"no route to host.*{OFFLINE[24:]}"):
        locate("yolov8x.pt")
    monkeypatch.setattr(locate_module.downloads, "attempt_download_asset", fetch)
    assert locate("yolov8x.pt").read_bytes() == b"weights"
