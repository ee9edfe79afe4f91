"""Every hostile pickle of the tests at both doors, for detectors and for ReID: refused before torch reads it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.base.errors import InputError
from kd_yolo.reid.model import checkpoint as reid
from kd_yolo.yolo.files import loading as yolo
from tests.trust.claiming_pickles import CLAIMS, HUGE, WHOLE
from tests.trust.hostile_pickles import MAGIC, NAMES_REFUSED, archive, attacks, corpus, named

DOORS: dict[str, Callable[[Path], Any]] = {"yolo": yolo.load_checkpoint, "reid": reid.load_checkpoint}
# Torch may read these: of an archive it reads the first pickle only, and the memo of its unpickler is a dict.
READ_BY_TORCH = {"a second pickle", "a memo of two billion", "a frame of a terabyte"}
# At the door for detectors ``getattr`` is a function of ours, which looks up forward methods only.
GETATTR = {"REDUCE builtins.getattr", "getattr of a class", "globals of a layer"}


def hostile(canary: Path) -> dict[str, bytes]:
    """Files by what is wrong with them."""
    files = corpus(canary) | {f"attack: {what}": archive(data) for what, data in attacks(f"touch {canary}").items()}
    for name in NAMES_REFUSED:
        module, _, attr = name.rpartition(".")
        files[f"name: {name}"] = archive(named(module, attr) + b".")
    files |= {f"claim: {what}": with_record(b"\x80\x02" + data + b".") for what, data in CLAIMS.items()}
    files |= {f"legacy claim: {what}": legacy(b"\x80\x02" + data + b".") for what, data in CLAIMS.items()}
    return files


def with_record(pickled: bytes) -> bytes:
    """A torch archive with four float32 numbers."""
    target = io.BytesIO(archive(pickled))
    with zipfile.ZipFile(target, "a") as file:
        file.writestr("archive/data/0", bytes(16))
    return target.getvalue()


def legacy(pickled: bytes) -> bytes:
    """The same in the format before torch 1.6: an id has one item more, a length stands before the numbers."""
    pickled = pickled.replace(b"tQ", b"NtQ")
    return MAGIC + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + pickled + b"\x80\x02]X\1\0\0\0" + b"0a." + b"\4" + bytes(23)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is handed to ``torch.load``."""
    found: list[str] = []
    load = torch.load

    def recorded(*args: Any, **options: Any) -> Any:
        found.append(str(args[0])[:80])
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", recorded)
    return found


def refusal(door: Callable[[Path], Any], path: Path) -> str:
    """The message with which a door refuses a file; empty when it is loaded."""
    try:
        door(path)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("door", DOORS)
def test_what_is_hostile_is_refused_before_torch_reads_it(door: str, read: list[str], tmp_path: Path) -> None:
    canary, path = tmp_path / "CANARY", tmp_path / "x.pt"
    files = hostile(canary)
    assert len(files) > 300
    passed = []
    may_be_read = READ_BY_TORCH | GETATTR if door == "yolo" else READ_BY_TORCH
    for what, data in files.items():
        path.write_bytes(data)
        message = refusal(DOORS[door], path)
        if not (str(path) in message and len(message) < 1000 and "\n" not in message):
            passed.append(f"{what}: {message[:200]!r}")
        assert not canary.exists(), what
        if read and what.partition(": ")[2] not in may_be_read:
            passed.append(f"{what}: read by torch")
        read.clear()
    assert passed == [], "\n".join(passed)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("what", ["a key", "a memo entry"])
def test_what_is_huge_is_refused_soon(door: str, what: str, read: list[str], tmp_path: Path) -> None:
    data = {"a key": HUGE["a key"], "a memo entry": HUGE["a new memo entry each"]}[what]
    (tmp_path / "x.pt").write_bytes(archive(data))
    with pytest.raises(InputError):
        DOORS[door](tmp_path / "x.pt")
    assert read == []


@pytest.mark.parametrize("door", DOORS)
def test_a_record_with_more_than_its_storage_is_refused(door: str, read: list[str], tmp_path: Path) -> None:
    smaller = WHOLE.replace(b"K\4", b"K\3")
    assert smaller != WHOLE
    (tmp_path / "x.pt").write_bytes(with_record(b"\x80\x02" + smaller + b"."))
    with pytest.raises(InputError, match="data/'0' should have 12 bytes"):
        DOORS[door](tmp_path / "x.pt")
    assert read == []


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("pack", [with_record, legacy])
def test_the_tensor_that_the_claims_change_is_whole(
    door: str, pack: Callable[[bytes], bytes], read: list[str], tmp_path: Path
) -> None:
    """So it is the claim that is refused, not the file around it: torch reads the tensor, which is no checkpoint."""
    (tmp_path / "x.pt").write_bytes(pack(b"\x80\x02" + WHOLE + b"."))
    with pytest.raises(InputError, match=r"is not a ReID checkpoint|holds a Tensor, not a YOLO"):
        DOORS[door](tmp_path / "x.pt")
    assert len(read) == 1
    torch.testing.assert_close(torch.load(tmp_path / "x.pt", weights_only=True), torch.zeros(4))
