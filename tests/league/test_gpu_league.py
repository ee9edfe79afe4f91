"""The script for a graphics card, on the CPU with tiny settings, where polars is missing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.places import ROOT
from kd_yolo.yolo.files.loading import load_checkpoint_dict

WITHOUT_POLARS = "import runpy, sys; sys.modules['polars'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seven processes that import torch, beside other tests
def test_it_runs_stops_in_time_and_goes_on(tiny_data: Path, make_weights: Any, tiny_yaml: Any, tmp_path: Path) -> None:
    words = ["--sets", tiny_data, "--teacher", make_weights(tiny_yaml(16), seed=1), "--student", tiny_yaml(8)]
    words += ["--losses", "auto", "--seeds", "0", "--epochs", "1", "--teacher-epochs", "1", "--imgsz", "64"]
    words += ["--batch", "4", "--device", "cpu", "--at-once", "2", "--steps", "2", "--split", "val"]
    words += ["--runs", tmp_path / "runs", "--out", tmp_path / "out"]
    script = f"import sys; sys.argv = sys.argv[1:]; {WITHOUT_POLARS}"
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}

    def run(minutes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, ROOT / "benchmarks/gpu_league.py", *words, "--minutes", minutes]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, env=environment, cwd=tmp_path,
        )  # fmt: skip

    first = run("0")
    assert first.returncode == 1, first.stderr
    assert (tmp_path / "out/gpu_league.json").is_file(), first.stderr
    found = json.loads((tmp_path / "out/gpu_league.json").read_text())
    rows = ["teacher", "none-s0", "shipped-s0", "auto-s0", "equal_cost-s0"]
    assert found["not_done"] == [f"{tiny_data.parent.name}/{name}: not done in time" for name in rows]
    steps = found["steps"]
    assert set(steps) == {"plain", "shipped", "auto", "fused teacher"}
    assert steps["plain"]["of_plain"] == 1
    done = run("20")
    assert done.returncode == 0, done.stderr
    after = json.loads((tmp_path / "out/gpu_league.json").read_text())
    assert (after["steps"], after["not_done"]) == (steps, [])
    (facts,) = after["sets"].values()
    assert facts["machine"].endswith("cores, CPU")
    report = json.loads((tmp_path / "out" / tiny_data.parent.name / "league.json").read_text())
    assert {row["recipe"] for row in report["rows"]} == {"none", "equal_cost", "shipped", "auto"}
    longer = json.loads((tmp_path / "out" / tiny_data.parent.name / "equal_cost-s0.json").read_text())
    assert len(longer["curve"]) == longer["epochs"] == math.ceil(max(1.0, steps["auto"]["of_plain"]))
    assert "step / (plain + teacher)" in done.stdout
    last = tmp_path / "runs" / tiny_data.parent.name / "none-s0/weights/last.pt"
    assert load_checkpoint_dict(last)["train_results"] == {}
