"""``prune.py``: what it prints and writes, and what bad input gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.app import main as app
from kd_yolo.cli.prune import main
from kd_yolo.yolo.files.loading import load_checkpoint

QUICK = ["imgsz=64", "batch=4", "device=cpu", "--batches", "1"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(make_weights: Any) -> str:
    return str(make_weights("yolov8n.yaml"))


@pytest.fixture
def small(make_weights: Any) -> str:
    return str(make_weights("tiny16"))


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and everything printed."""
    try:
        code = main(words)
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def parameters(path: str | Path) -> int:
    return sum(parameter.numel() for parameter in load_checkpoint(path)[0].parameters())


def test_prunes_and_says_where(weights: str, tiny_data: Path, capsys: Any) -> None:
    words = ["--model", weights, "--factor", "0.2", f"data={tiny_data}", "--name", "mine", *QUICK]
    code, printed = run([*words, "--save-dir", "weights/prune.pt"], capsys)
    assert code == 0, printed
    for part in (
        "factor 0.2: 21.2% of the channels",
        "(taylor, layer by layer)",
        "M parameters",
        "left whole: 7 (head output)",
        "mAP near zero is normal",
        "results: runs/prune/mine (weights/pruned.pt, plan.yaml, report.json, channels.png)",
        "network: weights/prune.pt, a plain model: YOLO('weights/prune.pt')",
        f"next:    kd-yolo retrain --model weights/prune.pt data={tiny_data}",
    ):
        assert part in printed
    files = {file.relative_to("runs/prune/mine").as_posix() for file in Path("runs/prune/mine").rglob("*.*")}
    assert files == {"weights/pruned.pt", "plan.yaml", "report.json", "channels.png"}
    assert Path("weights/prune.pt").read_bytes() == Path("runs/prune/mine/weights/pruned.pt").read_bytes()
    assert 0.6 < parameters("weights/prune.pt") / parameters(weights) < 0.67


def test_a_second_run_gets_a_folder_of_its_own(small: str, capsys: Any) -> None:
    Path("runs/prune/mine").mkdir(parents=True)
    code, printed = run(["--model", small, "--name", "mine", "imgsz=64", "device=cpu"], capsys)
    assert code == 0, printed
    assert "results: runs/prune/mine-2" in printed


def test_runs_as_a_command_of_kd_yolo(small: str, capsys: Any) -> None:
    assert app(["prune", "--model", small, "--dry-run", "imgsz=64"]) == 0
    printed = capsys.readouterr().out
    assert "dry run: nothing was written" in printed
    assert "│ model.6.cv2.0.0.conv" in printed
    assert "head output" in printed
    assert "ms per image (torch, CPU)" in printed
    assert not list(Path().iterdir())


@pytest.mark.parametrize(("command", "start"), [(main, "prune.py: 1 problem"), (app, "kd-yolo prune: 1 problem")])
def test_problems_are_headed_by_the_command_that_was_typed(command: Any, start: str, capsys: Any) -> None:
    words = ["--model", "m.pt", "--factor", "0"]
    assert command(words if command is main else ["prune", *words]) == 2
    assert start in capsys.readouterr().err


def test_help_says_what_factor_means(capsys: Any) -> None:
    code, printed = run(["--help"], capsys)
    assert code == 0
    text = " ".join(printed.replace("│", " ").split())
    assert "--factor is the share of the channels that is REMOVED: 0.2 removes about 36 %" in text
    assert "means the share that is KEPT" in text
    for flag in ("--target-flops", "--target-params", "--target-latency", "--global", "--round-to", "--iterative"):
        assert flag in text


def test_a_sensitivity_run_leaves_a_plan(
    small: str, tiny_data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = {"metrics/mAP50-95(B)": 0.5}
    monkeypatch.setattr("kd_yolo.prune.sensitivity.validate", lambda *_args, **_settings: score)
    words = ["--model", small, "--sensitivity", "--factor", "0.5", f"data={tiny_data}", *QUICK, "--ignore", "model.6*"]
    code, printed = run(words, capsys)
    assert code == 0, printed
    folder = next(Path("runs/prune").iterdir())
    assert folder.name.endswith("-sensitivity")
    assert {file.name for file in folder.iterdir()} == {"sensitivity.png", "sensitivity.json", "plan.yaml"}
    assert f"next:    kd-yolo prune --model {small} --plan {folder / 'plan.yaml'} data={tiny_data}" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "m.pt", "--factor", "0"], "factor is 0, expected a share between 0 and 1"),
        (["--model", "m.pt", "--factor", "1.2"], "factor is 1.2"),
        (["--model", "m.pt", "--factor", "0.2", "--target-flops", "0.5"], "Give one of them"),
        (["--model", "m.pt", "--target-params", "little"], "target_params is 'little'"),
        (["--model", "m.pt", "--importance", "taylor"], "importance=taylor needs labelled images"),
        (["--model", "m.pt", "--importance", "hessian"], "hessian"),
        (["--model", "m.pt", "--facter", "0.2"], "--facter"),
        (["--model", "m.pt", "imgs=64"], "'imgs=' means nothing to pruning. Did you mean 'imgsz'?"),
        (["--model", "m.pt", "epochs=3"], "'epochs=' means nothing to pruning"),
        (["model=m.pt", "--model", "m.pt"], "'model=' is set by --model here"),
        (["--model", "m.pt", "imgsz=big"], "imgsz"),
        (["--model", "m.pt", "--save-dir", "weights"], "expected the name of a file such as weights/prune.pt"),
        (["--model", "m.pt", "--save-dir", "w.pt", "--dry-run"], "--save-dir is for the pruned network"),
        (["--model", "m.pt", "--sensitivity", "--dry-run"], "leave it or --sensitivity out"),
        (["--model", "m.pt", "--sensitivity-images", "5"], "--sensitivity-images is for --sensitivity"),
    ],
)
def test_wrong_usage_is_exit_2(words: list[str], message: str, capsys: Any) -> None:
    code, printed = run(words, capsys)
    assert code == 2, printed
    assert message in printed
    assert not list(Path().iterdir())


def test_problems_with_the_network_write_nothing(weights: str, capsys: Any) -> None:
    for words, code, message in (
        (["--model", "none.pt"], 3, "weights 'none.pt' do not exist"),
        (["--model", weights, "--factor", "0.8"], 2, "The largest factor that works is 0.75"),
        (["--model", weights, "--ignore", "model.22.cv7"], 2, "Did you mean 'model.22.cv"),
        (["--model", weights, "--target-flops", "0.001"], 2, "Nearest that can be met: --target-flops"),
        (["--model", weights, "data=none.yaml"], 3, "none.yaml does not exist"),
    ):
        got, printed = run([*words, "imgsz=64"], capsys)
        assert got == code, printed
        assert message in printed
        assert not list(Path().iterdir())
