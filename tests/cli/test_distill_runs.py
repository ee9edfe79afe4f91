"""The command from start to end: train, interrupt a process, resume, and open the result elsewhere."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.app import main
from kd_yolo.training.run import Progress, progress_of
from tests.conftest import write_tiny_data

ROOT = Path(__file__).resolve().parents[2]
TINY = ["imgsz=64", "batch=4", "device=cpu", "plots=False", "val=False"]


@pytest.fixture(scope="module")
def command(make_weights: Any, tiny_yaml: Callable[..., str]) -> list[str]:
    """``train_distill.py``, without the data and the number of epochs."""
    return [
        sys.executable, str(ROOT / "train_distill.py"), "--teacher", make_weights(tiny_yaml(16), seed=1), "--student",
        make_weights(tiny_yaml(8)), "--loss", "cwd", "--name", "tiny", *TINY,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def done(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run in this process on data whose YAML lies elsewhere and says ``path: .``: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("distill")
    data = write_tiny_data(folder / "elsewhere" / "set")
    data.write_text("path: .\n" + data.read_text())
    here = folder / "here"
    here.mkdir()
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(here)
        assert main(["distill", *command[2:], f"data={data}", "epochs=1"]) == 0, printed.getvalue()
    return here, printed.getvalue()


def test_trains_and_says_where(done: tuple[Path, str]) -> None:
    here, printed = done
    assert "student: runs/distill/tiny/weights/best.pt" in printed
    assert "next:    yolo val model=runs/distill/tiny/weights/best.pt" in printed
    assert (here / "runs/distill/tiny/side_by_side.png").is_file()
    assert "train/kd_cwd" in (here / "runs/distill/tiny/results.csv").read_text()


@pytest.mark.slow  # distill/test_checkpoint_plain.py asks the same of a run in this process
def test_best_opens_without_this_package(done: tuple[Path, str]) -> None:
    code = (
        "import sys; sys.modules['kd_yolo'] = None\n"  # any import of it fails
        "from ultralytics import YOLO; from ultralytics.nn import tasks\n"
        "for tasks.SAFE_LOAD in (False, True):\n"
        "    model = YOLO('runs/distill/tiny/weights/best.pt')\n"
        "    assert type(model.model) is tasks.DetectionModel\n"
        "    assert not [n for n, _ in model.model.named_modules() if 'kd' in n]\n"
        f"model.val(data='runs/distill/tiny/data.yaml', imgsz=64, plots=False, project={str(done[0] / 'v')!r})\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=done[0], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_interrupt_saves_and_resume_finishes(
    command: list[str], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = tmp_path / "runs/distill/tiny/weights/last.pt"
    words = [*command, f"data={tiny_data}", "epochs=4000"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while not last.is_file() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0].decode()
    finally:
        process.kill()
    assert process.returncode == 130, printed
    assert f"--resume {last}" in printed
    monkeypatch.chdir(tmp_path)
    first = last.parents[1].joinpath("results.csv").read_text().splitlines()[:2]
    assert main(["distill", "--resume", str(last), "time=0.0001"]) == 0
    assert progress_of(last) is Progress.FINISHED
    rows = last.parents[1].joinpath("results.csv").read_text().splitlines()
    assert rows[:2] == first  # gone on with, not begun again
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, len(rows)))
