"""The command from start to end, in processes of their own: train, interrupt, resume, and open the result elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ["imgsz=64", "batch=4", "device=cpu", "plots=False", "val=False"]


@pytest.fixture
def command(tmp_path: Path, tiny_data: Path, make_weights: Any) -> list[str]:
    """``train_distill.py`` on tiny data, without the number of epochs."""
    return [
        sys.executable, str(ROOT / "train_distill.py"), "--teacher", make_weights("yolov8s.yaml", seed=1), "--student",
        make_weights("yolov8n.yaml"), "--loss", "cwd", "--name", "tiny", f"data={tiny_data}", *TINY,
    ]  # fmt: skip


def test_trains_and_says_where(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*command, "epochs=1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "student: runs/distill/tiny/weights/best.pt" in done.stdout
    assert "next:    yolo val model=runs/distill/tiny/weights/best.pt" in done.stdout
    assert (tmp_path / "runs/distill/tiny/side_by_side.png").is_file()
    assert "train/kd_cwd" in (tmp_path / "runs/distill/tiny/results.csv").read_text()


def test_best_opens_without_this_package(command: list[str], tmp_path: Path) -> None:
    subprocess.run([*command, "epochs=1"], cwd=tmp_path, capture_output=True, check=True)
    code = (
        "import sys; sys.modules['kd_yolo'] = None\n"  # any import of it fails
        "from ultralytics import YOLO; from ultralytics.nn.tasks import DetectionModel\n"
        "model = YOLO('runs/distill/tiny/weights/best.pt')\n"
        "assert type(model.model) is DetectionModel\n"
        "assert not [n for n, _ in model.model.named_modules() if 'kd' in n]\n"
        f"model.val(data='runs/distill/tiny/data.yaml', imgsz=64, plots=False, project={str(tmp_path / 'v')!r})\n"
    )
    for safe in ("0", "1"):
        env = {**os.environ, "ULTRALYTICS_SAFE_LOAD": safe}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_interrupt_saves_and_resume_finishes(command: list[str], tmp_path: Path) -> None:
    last = tmp_path / "runs/distill/tiny/weights/last.pt"
    process = subprocess.Popen([*command, "epochs=400"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
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
    resumed = subprocess.run(
        [sys.executable, str(ROOT / "train_distill.py"), "--resume", str(last), "time=0.0001"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Resuming training" in resumed.stdout + resumed.stderr


def test_data_yaml_with_path_dot_works_from_elsewhere(command: list[str], tmp_path: Path) -> None:
    from tests.conftest import write_tiny_data

    data = write_tiny_data(tmp_path / "set")
    data.write_text("path: .\n" + data.read_text())
    words = [w for w in command if not w.startswith("data=")]
    done = subprocess.run([*words, f"data={data}", "epochs=1"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
