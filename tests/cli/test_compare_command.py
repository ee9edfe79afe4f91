"""``kd-yolo compare``: what it prints and writes, and the exit code of what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.app import main


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and everything printed."""
    try:
        code = main(["compare", *words])
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_prints_the_table_and_writes_the_four_files(capsys: Any, make_weights: Any, tiny_data: Path) -> None:
    first, second = make_weights("tiny16"), make_weights("tiny8")
    words = [first, second, f"data={tiny_data}", "imgsz=64", "batch=4", "device=cpu", "--rounds", "2", "--threads", "1"]
    code, printed = run([*words, "--name", "mine"], capsys)
    assert code == 0, printed
    for part in (
        "tiny8-2-0: accuracy on val",
        "mAP50-95",
        "results: runs/compare/mine (compare.csv",
        f"next:    yolo export model={second} format=onnx imgsz=64",
    ):
        assert part in printed
    files = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    assert files == [f"runs/compare/mine/compare.{kind}" for kind in ("csv", "json", "md", "png")]
    config = json.loads(Path("runs/compare/mine/compare.json").read_text())["config"]
    assert config == {
        "data": str(tiny_data), "imgsz": 64, "batch": 4, "split": "val", "device": "cpu", "runtime": "torch",
        "rounds": 2, "threads": 1, "trust_weights": False,
    }  # fmt: skip


def test_a_second_run_gets_a_folder_of_its_own(capsys: Any, make_weights: Any) -> None:
    words = [make_weights("tiny8"), "imgsz=32", "--rounds", "1", "project=here"]
    assert run(words, capsys)[0] == 0
    code, printed = run(words, capsys)
    assert code == 0
    assert "no data=: accuracy was not measured" in printed
    assert "results: here/tiny8-2-0-2 " in printed
    assert sorted(path.name for path in Path("here").iterdir()) == ["tiny8-2-0", "tiny8-2-0-2"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "nothing to compare"),
        (["{w}", "imgs=32"], 2, "'imgs=' means nothing to compare. Did you mean 'imgsz'?"),
        (["{w}", "epochs=3"], 2, "It takes data=, imgsz=, batch=, device=, split=, project=."),
        (["{w}", "imgsz=big"], 2, "imgsz: Input should be a valid integer"),
        (["{w}", "data="], 2, "data: String should have at least 1 character"),
        (["{w}", "--round", "3"], 2, "--round"),
        (["{w}", "--runtime", "tensorrt"], 2, "tensorrt"),
        (["{w}", "none.pt"], 3, "'none.pt' do not exist"),
        (["{w}", "{w}"], 2, "given more than once"),
        (["a.onnx"], 3, "give the .pt file"),
        (["{w}", "data=none.yaml"], 3, "none.yaml does not exist"),
    ],
)
def test_what_is_refused(words: list[str], code: int, message: str, capsys: Any, make_weights: Any) -> None:
    found, printed = run([word.format(w=make_weights("tiny8")) for word in words], capsys)
    assert (found, message in printed) == (code, True), printed
    assert not list(Path().iterdir())


def test_missing_onnx_runtime_is_exit_5(capsys: Any, make_weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kd_yolo.yolo import onnx_session

    monkeypatch.setattr(onnx_session, "NEEDED", ("onnx", "no_such_runtime"))
    code, printed = run([make_weights("tiny8"), "--runtime", "onnx"], capsys)
    assert code == 5
    assert "pip install" in printed


def test_weights_folder_is_searched(capsys: Any, make_weights: Any) -> None:
    Path("weights").mkdir()
    Path("weights/mine.pt").write_bytes(Path(make_weights("tiny8")).read_bytes())
    code, printed = run(["mine.pt", "imgsz=32", "--rounds", "1"], capsys)
    assert code == 0, printed
    assert "results: runs/compare/mine " in printed
