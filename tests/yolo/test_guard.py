"""Settings of our own processes: no telemetry, no installs, and the threads that the user asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("asked", [None, "3"])
def test_threads_survive_the_choice_of_the_cpu(asked: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    env |= {"OMP_NUM_THREADS": asked} if asked else {}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-3:] == [asked or str(os.cpu_count()), "False", "false"]
