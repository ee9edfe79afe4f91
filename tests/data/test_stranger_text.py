"""A stranger's data never runs and never fetches: every command, every kind of ``data=`` and of ``download``."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.cli.app import main
from kd_yolo.data.source import find_class_folder, find_data_yaml
from tests.trust.strangers import opened_once

LAYERS = {
    "nc": 2,
    "depth_multiple": 1.0,
    "width_multiple": 0.25,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [32, 3, 2]], [-1, 1, "C2f", [32, True]]],
    "head": [[-1, 1, "Conv", [32, 3, 2]], [[2, 3], 1, "Detect", ["nc"]]],
}
RUN = ("epochs=1", "imgsz=64", "batch=4", "workers=0", "device=cpu", "plots=False")
CANARY = "canary"
DOWNLOADS = (
    "import os; os.system('touch {canary}')",
    "bash touch {canary}",
    "touch {canary}",
    "__import__('pathlib').Path('{canary}').touch()",
    "https://127.0.0.1:9/set.zip",
    "http://127.0.0.1:9/set.tar.gz",
)


class Touch:
    """Pickled, it touches the canary when somebody opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("weights")
    (folder / "three.yaml").write_text(yaml.safe_dump(LAYERS))
    YOLO(folder / "three.yaml", task="detect").save(folder / "w.pt")
    with opened_once(str(folder / "w.pt")):
        yield str(folder / "w.pt")


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that must not appear; in its folder the commands run, and nothing reaches a network."""

    def refuse(*_: Any, **__: Any) -> None:
        (tmp_path / "network").touch()
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path / CANARY


def commands(weights: str, data: str) -> dict[str, list[str]]:
    pair = f"data={data}"
    return {
        "check": ["data", "check", data],
        "retrain": ["retrain", "--model", weights, pair, *RUN],
        "sparse": ["sparse", "--model", weights, pair, *RUN],
        "distil": ["distill", "--teacher", weights, "--student", weights, pair, *RUN],
        "dry run": ["distill", "--teacher", weights, "--student", weights, "--dry-run", pair, *RUN],
        "no teacher": ["distill", "--student", weights, pair, *RUN],
        "prune": ["prune", "--model", weights, pair, "imgsz=64", "device=cpu"],
        "sensitivity": ["prune", "--model", weights, "--sensitivity", pair, "imgsz=64", "device=cpu"],
        "compare": ["compare", weights, pair, "imgsz=64", "device=cpu"],
        "pipeline": ["pipeline", "chain.yaml", "imgsz=64", "device=cpu", "batch=4", "workers=0"],
        "league": ["league", "--teacher", weights, "--student", weights, "--losses", "cwd", "--dry-run", pair],
    }


COMMANDS = list(commands("", ""))


def stranger(folder: Path, form: str, canary: Path, download: str) -> str:
    """Something that ``data=`` may name, which ultralytics would fetch, unpack or run."""
    body = {
        "path": "nowhere", "train": "images/train", "val": "images/val", "names": ["a", "b"],
        "download": download.format(canary=canary),
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump(body)
    if "://" in form:
        return form
    if form == "folder":
        (folder / "inner").mkdir()
        (folder / "inner" / "x.yaml").write_text(text)
        return str(folder)
    file = folder / form
    if form.endswith(".zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("set/data.yaml", text)
    elif form == "pipe.yaml":
        os.mkfifo(file)
    else:
        file.write_text(text)
    return str(file)


FORMS = (
    "data.yaml", "evil.YAML", "evil.YmL", "set.zip", "data.json", "set.ndjson", "data", "data.txt", "folder",
    "pipe.yaml",
    "http://127.0.0.1:9/evil.yaml", "https://127.0.0.1:9/set.zip", "ul://someone/datasets/x", "gs://bucket/x.yaml",
    "HTTPS://127.0.0.1:9/x.yaml", "rtsp://127.0.0.1/x", "s3://bucket/x.yaml",
)  # fmt: skip
ONE_OF_EACH = ("data.yaml", "evil.YAML", "set.zip", "folder", "http://127.0.0.1:9/evil.yaml", "ul://someone/datasets/x")


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_of_a_stranger_runs(
    command: str, weights: str, canary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Six forms of ``download`` in a YAML without images, and everything else that ``data=`` may name."""
    cases = [("data.yaml", download) for download in DOWNLOADS]
    cases += list(zip(FORMS, itertools.cycle(DOWNLOADS)))
    if command not in ("check", "dry run", "pipeline"):  # all read data through the door that these three try out
        cases = [*cases[:1], *(case for case in cases[len(DOWNLOADS) :] if case[0] in ONE_OF_EACH)]
    for number, (form, download) in enumerate(cases):
        data = stranger(canary.parent / f"s{number}", form, canary, download)
        chain = {"model": weights, "data": data, "prune": {"factor": 0.5}, "retrain": {"epochs": 1}}
        Path("chain.yaml").write_text(yaml.safe_dump(chain))
        shutil.rmtree("runs", ignore_errors=True)
        code = main(commands(weights, data)[command])
        message = capfd.readouterr().err
        assert code == 3, (form, code, message)
        assert "not foreseen" not in message
        assert not canary.exists(), (form, download)
        assert not (canary.parent / "network").exists(), (form, message)


@pytest.mark.parametrize("command", ["retrain", "compare"])
def test_a_whole_set_with_a_download_and_a_pickle_runs_neither(
    command: str, weights: str, canary: Path, tiny_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Label caches are pickles that a data set brings along, and ultralytics opens them."""
    folder = canary.parent / "set"
    shutil.copytree(tiny_data.parent, folder, ignore=shutil.ignore_patterns("*.cache"))
    data = folder / "data.yaml"
    data.write_text(data.read_text() + f"download: import os; os.system('touch {canary}')\n")
    for split in ("train", "val"):
        np.save(folder / "labels" / f"{split}.npy", np.array(Touch(canary), dtype=object), allow_pickle=True)
        (folder / "labels" / f"{split}.npy").rename(folder / "labels" / f"{split}.cache")
    assert main(commands(weights, str(data))[command]) == 0, capfd.readouterr().err
    assert not canary.exists()
    if command == "compare":
        return
    from kd_yolo.yolo.data.label_cache import load_label_cache

    found = load_label_cache(folder / "labels" / "train.cache")
    assert len(found["labels"]) == 8, "a new one was written, and it is read"
    (run,) = (canary.parent / "runs" / "retrain").iterdir()
    copy = yaml.safe_load((run / "data.yaml").read_text())
    assert set(copy) == {"path", "train", "val", "names"}
    assert all(Path(copy[split]).is_absolute() for split in ("train", "val"))


def test_a_cache_may_hold_values_and_arrays_only(tmp_path: Path) -> None:
    from kd_yolo.yolo.data.label_cache import load_label_cache

    good = {"labels": [{"cls": np.zeros((2, 1), np.float32)}], "results": (1, 0, 0, 0, 1), "msgs": [], "hash": "x"}
    bad: list[Any] = [Touch(tmp_path / CANARY), {**good, "hash": Touch(tmp_path / CANARY)}, {**good, "hash": os.system}]
    bad += [[1, 2], {"labels": []}, {**good, "results": 3}]
    for number, value in enumerate([good, *bad]):
        file = tmp_path / f"{number}.npy"
        np.save(file, np.array(value, dtype=object), allow_pickle=True)
        if value is good:
            assert load_label_cache(file)["labels"][0]["cls"].shape == (2, 1)
            continue
        with pytest.raises(InputError):
            load_label_cache(file)
    os.mkfifo(tmp_path / "pipe.cache")
    (tmp_path / "plain.cache").write_bytes(pickle.dumps(good))
    for name in ("pipe.cache", "plain.cache", "none.cache"):
        with pytest.raises(InputError):
            load_label_cache(tmp_path / name)
    assert not (tmp_path / CANARY).exists()


def test_the_last_door_holds_for_trainers_of_ultralytics(weights: str, canary: Path) -> None:
    """Whoever trains past our commands, but in a process of ours."""
    from ultralytics import YOLO

    from kd_yolo.yolo.guard import prepare_process

    prepare_process()
    data = stranger(canary.parent / "s", "data.yaml", canary, DOWNLOADS[0])
    for source in (data, "http://127.0.0.1:9/evil.yaml"):
        for work in ("train", "val"):
            with pytest.raises((RuntimeError, FileNotFoundError, KDYoloError)):
                getattr(YOLO(weights), work)(data=source, imgsz=64, device="cpu", project=str(canary.parent))
            assert not canary.exists()
            assert not (canary.parent / "network").exists()


TOO_LONG = "x" * 300 + ".yaml"


@pytest.mark.parametrize("text", ["", " ", "a\0b.yaml", TOO_LONG, "x/" * 3000, "~nobody/x.yaml", "no.yaml", "no", "."])
def test_no_path_is_refused_in_few_words(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for find in (find_data_yaml, find_class_folder):
        with pytest.raises(InputError) as caught:
            find(text)
        assert len(str(caught.value)) < 700


def test_a_folder_of_classes_is_local_and_whole(tmp_path: Path) -> None:
    for text in FORMS[10:]:
        with pytest.raises(InputError, match="not on this machine"):
            find_class_folder(text)
    for name in ("imagenet", "mnist160"):  # ultralytics would fetch these
        with pytest.raises(InputError, match="does not exist"):
            find_class_folder(name)
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected .*val/<class>"):
        find_class_folder(tmp_path)
    (tmp_path / "valid").mkdir()
    assert find_class_folder(tmp_path) == tmp_path
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghij")
    )
    for text in (f"{bomb}names: [*j]\n", "names: 3\n", "- a\n", "names: {0: [a]}\n"):
        (tmp_path / ".ndjson.yaml").write_text(text)
        with pytest.raises(InputError):
            find_class_folder(tmp_path)
    (tmp_path / ".ndjson.yaml").unlink()
    os.mkfifo(tmp_path / "train" / "a" / "x.jpg")
    with pytest.raises(InputError, match="pipe"):
        find_class_folder(tmp_path)
