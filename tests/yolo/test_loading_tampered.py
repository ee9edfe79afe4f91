"""A checkpoint tampered with in more than two hundred ways: a clear refusal, or a model that runs; nothing else."""

from __future__ import annotations

import contextlib
import io
import socket
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import KDYoloError
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.module_check import TamperedError, check_modules
from tests.yolo import tampering
from tests.yolo.tampering import HARMLESS, SHADOWS, STRUCTURE, TENSORS, UNSAVED, checkpoint
from tests.yolo.tampering_yaml import YAML

REFUSED = {**SHADOWS, **STRUCTURE, **TENSORS, **YAML}


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No network, no process, and a working directory in which the canary would appear."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the network or a process was asked for")

    monkeypatch.chdir(tmp_path)
    for owner, name in ((socket.socket, "connect"), (subprocess, "Popen"), (socket, "create_connection")):
        monkeypatch.setattr(owner, name, refuse)
    yield
    assert not (tmp_path / "CANARY").exists()


def outcome(path: Path) -> KDYoloError | None:
    """The error that loading ends in; a model that loads has to run."""
    try:
        model, saved = load_checkpoint(path)
    except KDYoloError as found:
        error = found
    else:
        error = None
    if error is not None:
        assert error.exit_code in (3, 5)
        assert "x.pt" in str(error)
        assert len(str(error)) < 1500
        return error
    assert isinstance(saved, dict)
    with torch.no_grad():
        outputs = model(torch.rand(1, 3, 64, 64))
    assert outputs[0].isfinite().all()
    assert model.names == {0: "a", 1: "b"}
    assert model.args["imgsz"] in (64, 640)
    return None


def write(tamper: tampering.Tamper, path: Path) -> Path:
    saved = checkpoint()
    tamper(saved, saved["model"])
    torch.save(saved, path)
    return path


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, tmp_path: Path) -> None:
    assert outcome(write(REFUSED[what], tmp_path / "x.pt")) is not None, f"{what}: it was loaded"


@pytest.mark.parametrize("what", HARMLESS)
def test_harmless(what: str, tmp_path: Path) -> None:
    error = outcome(write(HARMLESS[what], tmp_path / "x.pt"))
    assert error is None, f"{what}: {error}"


def test_there_are_enough() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 200


def test_messages_say_what_is_wrong(tmp_path: Path) -> None:
    expected = {
        "NaN in a kernel": r"model\.0\.conv\.weight holds NaN",
        "nc of the head is another": "its head has 5 classes, names has 2",
        "yaml has a block that fetches": "'TorchVision' in layer 0, which fetches weights",
        "_forward_hooks of 'model.1.bn'": r"its layer model\.1\.bn has _forward_hooks",
        "forward of the network is a class": "an attribute 'forward' that stands before its method",
        "another shape": r"conv\.weight has the shape \(16, 3, 1, 3\), expected \(16, 3, 3, 3\)",
        "f has one level less": "cannot be run: ",
        "yaml is a path": "holds 'evil.yaml' where a model description",
    }
    for what, text in expected.items():
        error = outcome(write(REFUSED[what], tmp_path / "x.pt"))
        with pytest.raises(KDYoloError, match=text):
            raise error or AssertionError(what)


def damaged(whole: bytes) -> dict[str, bytes]:
    """The file cut off, with bytes changed, and with its records exchanged."""
    files = {f"cut at {part}/12": whole[: len(whole) * part // 12] for part in range(12)}
    files |= {f"without its last {count} bytes": whole[:-count] for count in (1, 10, 22, 100)}
    for position in range(0, len(whole), len(whole) // 15):
        files[f"byte {position}"] = whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    for name in list(records)[:4]:
        files[f"without {name}"] = packed({key: value for key, value in records.items() if key != name})
        files[f"{name} empty"] = packed({**records, name: b""})
        files[f"{name} of zeros"] = packed({**records, name: bytes(len(records[name]))})
    return files


def packed(records: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return target.getvalue()


def test_damaged_files(tmp_path: Path) -> None:
    whole = write(HARMLESS["nothing"], tmp_path / "x.pt").read_bytes()
    files = damaged(whole)
    assert len(files) > 40
    for what, data in files.items():
        (tmp_path / "x.pt").write_bytes(data)
        must_fail = what.startswith(("cut", "without its")) or "data.pkl" in what or "data/0 empty" in what
        if must_fail:
            assert outcome(tmp_path / "x.pt") is not None, what
        else:  # one changed byte, or a record that torch does without, may still be a model
            with contextlib.suppress(KDYoloError):
                load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("key", UNSAVED)
@pytest.mark.parametrize("owner", ["", "model.0", "model.3"])
def test_what_only_a_handmade_pickle_writes(owner: str, key: str) -> None:
    model = checkpoint()["model"]
    check_modules(model)
    vars(model.get_submodule(owner))[key] = UNSAVED[key]
    with pytest.raises(TamperedError):
        check_modules(model)
