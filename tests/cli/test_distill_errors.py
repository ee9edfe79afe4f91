"""What bad input gets: a message that says what to do, and the documented exit code, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.distill import main


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and everything printed."""
    try:
        code = main(words)
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss", "cwdd"], "Did you mean 'cwd'?"),
        (["--losss", "cwd"], "--losss"),
        (["epoch=3"], "'epoch' is not an ultralytics argument. Did you mean 'epochs'?"),
        (["epochs=three"], "epochs"),
        (["model=yolov8n.pt"], "'model=' is set by --student here"),
        (["--loss", "cwd+bkd", "--weight", "1+2+3"], "3 values for 2"),
        (["--loss", "l2", "--tau", "2"], "none of l2 has a temperature"),
        (["--loss", "bkd", "--taps", "cv2"], "only feature losses have taps"),
        (["--schedule", "sine"], "cosine"),
        (["--resume", "last.pt", "--loss", "cwd", "--stop-at", "mosaic"], "--loss, --stop-at cannot change"),
        (["--weight", "heavy"], "--weight must be a number"),
        (["--loss", "missing.yaml"], "missing.yaml: no such file"),
    ],
)
def test_wrong_usage_is_exit_2(words: list[str], message: str, capsys: Any) -> None:
    code, printed = run(words, capsys)
    assert code == 2, printed
    assert message in printed
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher", "yolov8m.pt"], "offline"),
        (["--teacher", "mine.pt"], "weights 'mine.pt' do not exist"),
        (["--resume", "runs/last.pt"], "does not exist"),
    ],
)
def test_missing_weights_are_exit_3(words: list[str], message: str, capsys: Any, tiny_data: Path) -> None:
    code, printed = run([*words, f"data={tiny_data}"], capsys)
    assert code == 3, printed
    assert message in printed
    assert not list(Path().iterdir())


def test_missing_data_is_exit_3(capsys: Any) -> None:
    code, printed = run(["data=none.yaml"], capsys)
    assert code == 3
    assert "none.yaml" in printed


def test_data_problems_are_found_before_the_teacher_is_loaded(tmp_path: Path, capsys: Any) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "data")
    for file in (tmp_path / "data" / "labels" / "train").iterdir():
        file.write_text("7 0.5 0.5 0.1 0.1\n")
    code, printed = run([f"data={data}", "--teacher", "unread.pt"], capsys)
    assert code == 3
    assert "class 7, expected 0..1" in printed
    assert "0.txt:1" in printed


def test_response_loss_needs_equal_classes(capsys: Any, tiny_data: Path, make_weights: Any, tiny_yaml: Any) -> None:
    teacher = make_weights("tiny16", classes=3)
    code, printed = run(
        ["--teacher", teacher, "--student", tiny_yaml(8), "--loss", "bkd", "--dry-run", f"data={tiny_data}"], capsys
    )
    assert code == 2
    assert "teacher has 3 classes, data has 2" in printed
    assert "--loss cwd" in printed


def test_dry_run_prints_the_plan_and_writes_nothing(capsys: Any, tiny_data: Path, make_weights: Any) -> None:
    teacher = make_weights("yolov8s.yaml", seed=1)
    code, printed = run(["--teacher", teacher, "--loss", "mgd", "--dry-run", f"data={tiny_data}"], capsys)
    assert code == 0, printed
    for part in (
        "yolov8n from scratch",
        "layer 15 (stride 8, 64 channels) <- layer 15",
        "adapter parameters",
        "2 classes",
    ):
        assert part in printed
    assert not list(Path().iterdir())


def test_list_losses_names_every_loss(capsys: Any) -> None:
    from kd_yolo.losses import describe_losses

    code, printed = run(["--list-losses"], capsys)
    assert code == 0
    for info in describe_losses():
        assert info.summary in printed
        assert f"{info.kind} loss, {info.weight}; {info.paper}; parameters: " in printed
    assert "  auto            The default: terms, gate" in printed
    assert "  mgd_bottleneck  Masked generative distillation with a small generator: " in printed


def test_a_broken_package_with_a_loss_breaks_its_own_loss_alone(capsys: Any, install_package: Any) -> None:
    entries = {"fallen": "fallen_losses:Loss", "bkd": "fallen_losses:Other"}
    install_package("fallen", {"fallen_losses.py": "import missing_module"}, {"kd_yolo.losses": entries})
    code, printed = run(["--list-losses"], capsys)
    assert code == 0
    assert "bkd       " in printed
    assert "'fallen' of the package fallen (kd_yolo.losses = fallen_losses:Loss) cannot be loaded" in printed
    assert "'bkd' of the package fallen (kd_yolo.losses = fallen_losses:Other) is not used" in printed
    code, printed = run(["--loss", "fallen", "--dry-run"], capsys)
    assert code == 2
    assert "No module named 'missing_module'. Mend or uninstall it." in printed
    assert run(["--loss", "bkd", "--teacher", "none.pt", "--dry-run"], capsys)[0] == 3  # the teacher is what is missing


def test_unwritable_run_folder_is_exit_3(capsys: Any, tiny_data: Path, make_weights: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    code, printed = run(
        ["--teacher", make_weights("yolov8s.yaml", seed=1), f"data={tiny_data}", f"project={tmp_path / 'runs'}"], capsys
    )
    assert code == 3, printed
    assert "runs" in printed
