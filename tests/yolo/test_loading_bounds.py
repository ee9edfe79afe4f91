"""Files that are made to hang, to fill the memory or to end the interpreter: refused before the work."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import Name, Storage, TooLargeError
from kd_yolo.base.pickles import MAX_DEPTH, MAX_OPCODES, scan_pickle
from kd_yolo.base.places import find_weights
from kd_yolo.yolo.description import trial_pass
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.locate import locate
from kd_yolo.yolo.files.unpickle import unpickle_safely
from tests.trust.claiming_pickles import HUGE

Archive = Callable[[bytes], Path]


@pytest.mark.timeout(120)  # it took hours; one second where nothing else runs
@pytest.mark.parametrize("what", HUGE)
def test_huge_and_deep_pickles_are_refused_soon(what: str, write_archive: Archive) -> None:
    path = write_archive(HUGE[what])
    if what.startswith("a"):
        path.write_bytes(HUGE[what])
    with pytest.raises(InputError):
        load_checkpoint(path)


def test_bounds_are_where_they_are_said_to_be() -> None:
    scan_pickle(io.BytesIO(b"N" + b"N" * (MAX_OPCODES - 2) + b"."))
    with pytest.raises(TooLargeError, match=f"more than {MAX_OPCODES} opcodes"):
        scan_pickle(io.BytesIO(b"N" + b"N" * (MAX_OPCODES - 1) + b"."))
    scan_pickle(io.BytesIO(b")" + b"\x85" * (MAX_DEPTH - 1) + b"."))
    with pytest.raises(TooLargeError, match=f"more than {MAX_DEPTH} levels"):
        scan_pickle(io.BytesIO(b")" + b"\x85" * MAX_DEPTH + b"."))


def test_storages_are_told() -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(4), "b": torch.ones(2, 3, dtype=torch.int16)}, buffer)
    pickled = torch._C.PyTorchFileReader(io.BytesIO(buffer.getvalue())).get_record("data.pkl")
    assert scan_pickle(io.BytesIO(pickled)).storages == [
        Storage("0", Name("torch", "FloatStorage"), 4),
        Storage("1", Name("torch", "ShortStorage"), 6),
    ]


def packed_again(source: bytes, compression: int, **replaced: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, replaced.get(Path(name).name.replace(".pkl", ""), old.read(name)))
    return target.getvalue()


def saved(value: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    bomb, fine = tmp_path / "bomb.pt", tmp_path / "fine.pt"
    bomb.write_bytes(packed_again(saved({"a": torch.zeros(4_000_000)}), zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match=r"bomb.pt unpacks from \d+ to 160\d+ bytes"):
        unpickle_safely(bomb)
    fine.write_bytes(packed_again(saved({"a": torch.rand(100_000)}), zipfile.ZIP_DEFLATED))
    assert unpickle_safely(fine)["a"].shape == (100_000,)


@pytest.mark.parametrize("form", [True, False])
def test_a_tensor_larger_than_its_record_is_refused(tmp_path: Path, form: bool) -> None:
    whole = saved({"a": torch.ones(200)}, _use_new_zipfile_serialization=form)
    assert whole.count(b"K\xc8") >= 2  # the number of elements
    path = tmp_path / "x.pt"
    larger = whole.replace(b"K\xc8", b"J\0\0\0\x40")
    if form:
        with zipfile.ZipFile(io.BytesIO(whole)) as old:
            pickled = next(old.read(name) for name in old.namelist() if name.endswith("data.pkl"))
        larger = packed_again(whole, zipfile.ZIP_STORED, data=pickled.replace(b"K\xc8", b"J\0\0\0\x40"))
    path.write_bytes(larger)
    with pytest.raises(InputError, match=r"is damaged .* should have 4294967296 bytes"):
        unpickle_safely(path)


@pytest.mark.parametrize("call", [b")\x81", b"J\xff\xff\xff\x7f\x85\x81", b"J\xff\xff\xff\x7f\x85R"])
@pytest.mark.parametrize("name", ["torch.storage\nUntypedStorage", "torch\nFloatStorage", "torch\nTensor"])
def test_tensors_are_not_made_by_size(write_archive: Archive, name: str, call: bytes) -> None:
    with pytest.raises(InputError, match="calls '"):
        load_checkpoint(write_archive(b"\x80\x02c" + name.encode() + b"\n" + call + b"."))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "x.pt"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), Path("/dev/stdin"), tmp_path):
        with pytest.raises(InputError, match="expected a"):
            load_checkpoint(path)


NAMES = ["a\0b.pt", "a\nb.pt", "yolov8n.pt\0", "x" * 300 + ".pt", "x/" * 3000 + "x.pt", "", " "]
ADDRESSES = (
    "http://a.b/x.pt HTTPS://a.b/x.pt ul://me/x gs://a/x.pt s3://a/x.pt grpc://a/x rtsp://a ftp://a/x.pt hf://a/b"
)
OTHERS = "../no/such.pt . ~no_such_user/x.pt x.pt/y.pt file:///etc/passwd user/hub-name yolov8n.onnx x.yaml"


@pytest.mark.parametrize("name", [*NAMES, *ADDRESSES.split(), *OTHERS.split()])
def test_names_that_are_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        locate(find_weights(name))
    assert len(str(caught.value)) < 1200
    assert caught.value.exit_code == 3


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with path.open("wb") as stream:
        stream.truncate((8 << 30) + 1)  # no block of it is on the disk
    with pytest.raises(InputError, match="expected at most"):
        load_checkpoint(path)


@pytest.mark.timeout(120)
def test_numbers_written_as_text_do_not_take_quadratic_time(write_archive: Archive) -> None:
    with pytest.raises(InputError):
        load_checkpoint(write_archive(b"\x80\x02L" + b"9" * 3_000_000 + b"L\n."))
    assert pickle.loads(b"L99L\n.") == 99


def test_only_work_counts_for_the_time_of_a_trial_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read is the CPU time of the thread alone: a process that was suspended has not worked."""
    network, worked = nn.Sequential(nn.Identity(), nn.Identity()), iter([0.0, 4.0, 8.0, 8.0, 0.0, 4.0, 8.1])
    monkeypatch.setattr(trial_pass, "time", SimpleNamespace(thread_time=lambda: next(worked)))
    with trial_pass.watched(network):
        network(torch.zeros(1))
    with trial_pass.watched(network), pytest.raises(trial_pass.OverBudgetError, match="takes more than 8 s"):
        network(torch.zeros(1))
