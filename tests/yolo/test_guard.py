"""Settings of our own processes: no telemetry, no installs, and the threads that the user asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_yolo.yolo.guard import prepare_process

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from kd_yolo.yolo.guard import prepare_process
prepare_process()
import os, torch
from ultralytics.utils import torch_utils
from ultralytics.utils.events import events
torch_utils.select_device("cpu")
print(torch.get_num_threads(), events.enabled, os.environ["YOLO_AUTOINSTALL"])
"""


@pytest.mark.parametrize("asked", [pytest.param(None, marks=pytest.mark.slow), "3"])
def test_threads_survive_the_choice_of_the_cpu(asked: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    env |= {"OMP_NUM_THREADS": asked} if asked else {}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-3:] == [asked or str(os.cpu_count()), "False", "false"]


LATE = """
import os, sys
os.environ.update(YOLO_AUTOINSTALL="true", ULTRALYTICS_SAFE_LOAD="0")
import ultralytics.nn.tasks as tasks
from ultralytics.utils import checks
assert checks.AUTOINSTALL
for use in sys.argv[1:]:  # each in a process that has imported nothing of ours yet
    child = os.fork()
    if child == 0:
        exec(use)
        print(use, checks.AUTOINSTALL, os.environ["YOLO_AUTOINSTALL"], flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, use
"""
USES = {
    "the class of the customer": "from kd_yolo import PruneModel; PruneModel",
    "the trainer": "from kd_yolo import DistillationTrainer; DistillationTrainer",
    "the loader": "import kd_yolo.yolo.files.loading",
}


def test_nothing_is_installed_even_when_ultralytics_came_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE, *USES.values()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(tuple(USES.values()))]
    assert said == [f"{use} False false" for use in USES.values()]


def test_the_check_of_mixed_precision_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU ultralytics opens yolo26n.pt, and makes a warning of this error; of any other one the run dies."""
    from kd_yolo.yolo.files import locate, safe_mode

    monkeypatch.setattr(safe_mode, "AMP_WEIGHTS", tmp_path / "yolo26n.pt")
    monkeypatch.setattr(locate, "_download", lambda *_: pytest.fail("a download was asked for"))
    with pytest.raises(ConnectionError, match="what nobody named is not fetched"):
        safe_mode.SafeLoad().torch_safe_load(tmp_path / "yolo26n.pt")


def test_a_file_that_is_no_image_asks_for_no_package(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from PIL import Image, UnidentifiedImageError

    prepare_process()
    (tmp_path / "x.jpg").write_bytes(b"no image at all")
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "x.jpg")
    assert "pi-heif" not in "".join(capfd.readouterr())


def test_no_font_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.data import utils
    from ultralytics.utils import checks, downloads

    prepare_process()
    monkeypatch.setattr(downloads, "is_url", lambda *_, **__: pytest.fail("the network was asked"))
    assert utils.check_font("none-of-this-name.ttf") is None
    assert checks.check_font("none-of-this-name.ttf") is None
