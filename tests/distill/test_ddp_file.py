"""What upstream hands to its DDP workers: our trainer with its settings, although the parent removed the run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ultralytics.utils.dist as dist
from ultralytics.utils import DEFAULT_CFG_DICT
from ultralytics.utils.patches import torch_load

from kd_yolo.distill.trainer import DistillationTrainer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def parent(
    tiny_data: Path, teacher: str, student: str, tiny_yaml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A trainer in the process that launches workers, just before it does."""
    monkeypatch.setattr(dist, "USER_CONFIG_DIR", tmp_path)
    overrides = dict(
        model=student, data=str(tiny_data), teacher=teacher, loss="cwd+bkd", weight="2+3", schedule="linear", epochs=1,
        imgsz=64, batch=4, device="cpu", plots=False, verbose=False, project=str(tmp_path), name="run",
    )  # fmt: skip
    trainer: Any = DistillationTrainer(overrides=overrides)
    trainer.world_size = 2
    trainer.model = trainer.get_model(cfg=tiny_yaml(), weights=None, verbose=False)
    return trainer


def test_the_state_reloads_with_settings_and_data(parent: Any, tiny_data: Path) -> None:
    handed_on = Path(parent.args.data)
    assert handed_on == parent.save_dir / "data.yaml"
    _, file = dist.generate_ddp_command(parent)
    assert not parent.save_dir.exists()  # upstream clears it, our copy of the data YAML included
    state = torch_load(Path(file).with_suffix(".pt"), map_location="cpu")
    assert state["trainer"] is DistillationTrainer
    cfg = DEFAULT_CFG_DICT.copy()
    cfg.update(save_dir="")
    worker = state["trainer"](cfg=cfg, overrides=state["args"], _callbacks=state["callbacks"])
    assert worker.kd_config == parent.kd_config
    assert worker.save_dir == parent.save_dir
    assert Path(worker.args.data) == handed_on
    assert handed_on.is_file()
    assert worker.args.kd["data"] == str(tiny_data)
    assert Path(worker.data["train"]).is_dir()


@pytest.mark.slow
def test_the_generated_script_trains(parent: Any, teacher: str) -> None:
    _, file = dist.generate_ddp_command(parent)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, file], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    columns, values = (line.split(",") for line in (parent.save_dir / "results.csv").read_text().splitlines())
    row = dict(zip(columns, values, strict=True))
    assert float(row["train/kd_cwd"]) > 0
    assert float(row["train/kd_bkd"]) > 0
    assert teacher in (parent.save_dir / "args.yaml").read_text()
