"""One run of a league: the process that it has, what it is evaluated on, and how it goes on when it was cut off."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.league.launch import launch
from kd_yolo.league.plan import League, make_league
from kd_yolo.league.request import Request
from kd_yolo.league.worker import work
from kd_yolo.training.checkpoint import CheckpointMixin
from kd_yolo.training.run import Progress, progress_of
from kd_yolo.yolo.files.loading import load_checkpoint


def small_league(tiny_data: Path, folder: Path, teacher: str, **more: Any) -> League:
    arguments: dict[str, Any] = {"data": str(tiny_data), "epochs": 2, "imgsz": 64, "batch": 4, "device": "cpu"}
    arguments |= {"workers": 0, "optimizer": "AdamW", "nbs": 4, "project": str(folder)}
    return make_league(Request(("cwd",), (0,), teacher, "yolov8n.yaml", name="x", arguments=arguments, **more))


def test_the_test_split_is_evaluated_when_asked_for(tiny_data: Path, tmp_path: Path, make_weights: Any) -> None:
    league = small_league(tiny_data, tmp_path, make_weights("tiny16"), teacher_epochs=3)
    assert {job.split for job in league.jobs} == {"val"}
    assert (league.teacher.kind, league.teacher.arguments["epochs"]) == ("plain", 3)
    assert {job.teacher for job in league.jobs} == {None, str(tmp_path / "x/teacher/weights/best.pt")}
    shutil.copytree(tiny_data.parent, tmp_path / "set")
    data = tmp_path / "set/data.yaml"
    data.write_text(f"test: images/val\n{data.read_text()}")
    assert {job.split for job in small_league(data, tmp_path, make_weights("tiny16")).jobs} == {"val"}
    other = small_league(data, tmp_path, make_weights("tiny16"), split="test")
    assert {job.target.parent for job in other.jobs} == {tmp_path / "x/test"}
    assert {job.split for job in (other.teacher, *other.jobs)} == {"test"}
    assert other.teacher.kind == "score"


@pytest.mark.slow
def test_a_process_of_its_own(tiny_data: Path, tmp_path: Path, make_weights: Any) -> None:
    league = small_league(tiny_data, tmp_path, make_weights("tiny16"))
    assert launch(league.teacher) is None
    assert json.loads((tmp_path / "x/teacher.json").read_text())["recipe"] == "teacher"


@pytest.mark.slow
def test_why_a_process_failed(tiny_data: Path, tmp_path: Path, make_weights: Any) -> None:
    league = small_league(tiny_data, tmp_path, make_weights("tiny16"))
    missing = league.teacher.model_copy(update={"weights": str(tmp_path / "gone.pt")})
    reason = launch(missing)
    assert reason is not None
    assert "gone.pt" in reason


def cut_off(event: str) -> pytest.MonkeyPatch:
    """Interrupts the next training of ours after its first checkpoint or before its checkpoints are finished."""
    patch, real = pytest.MonkeyPatch(), getattr(CheckpointMixin, event)

    def stop(self: Any) -> None:
        if event == "save_model":
            real(self)
        raise KeyboardInterrupt

    patch.setattr(CheckpointMixin, event, stop)
    return patch


@pytest.mark.slow
@pytest.mark.parametrize(("place", "event"), [(0, "save_model"), (2, "save_model"), (2, "final_eval")])
def test_a_run_that_was_cut_off_ends_as_an_undisturbed_one(
    tiny_data: Path, tmp_path: Path, make_weights: Any, place: int, event: str
) -> None:
    teacher = make_weights("tiny16", seed=1)
    whole, cut = (small_league(tiny_data, tmp_path / name, teacher).jobs[place] for name in ("whole", "cut"))
    work(whole)
    patch = cut_off(event)
    with pytest.raises(KeyboardInterrupt):
        work(cut)
    patch.undo()
    assert not cut.target.exists()
    work(cut)
    first, second = (load_checkpoint(job.best)[0].state_dict() for job in (whole, cut))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert json.loads(whole.target.read_text())["map"] == json.loads(cut.target.read_text())["map"]


@pytest.mark.slow
def test_shipped_is_started_again_and_a_teacher_is_trained_once(
    tiny_data: Path, tmp_path: Path, make_weights: Any
) -> None:
    league = small_league(tiny_data, tmp_path, make_weights("tiny16"), teacher_epochs=1)
    work(league.teacher)
    assert league.teacher not in league.missing
    trained = league.teacher.best.read_bytes()
    league.teacher.target.unlink()
    work(league.missing[0])
    assert league.teacher.best.read_bytes() == trained
    shipped = league.jobs[1]
    (shipped.folder / "weights").mkdir(parents=True)
    shutil.copy(league.teacher.last.with_name("best.pt"), shipped.folder / "left over")
    work(shipped)
    assert not (shipped.folder / "left over").exists()
    assert shipped.target.is_file()


@pytest.mark.slow
def test_a_run_ends_when_the_league_does(tiny_data: Path, tmp_path: Path, make_weights: Any) -> None:
    """A closed standard input is Ctrl-C for the run: it has saved its last full epoch, and ends."""
    league = small_league(tiny_data, tmp_path, make_weights("tiny16"))
    job = league.jobs[0].model_copy(update={"arguments": {**league.jobs[0].arguments, "epochs": 4000}})
    process = subprocess.Popen([sys.executable, "-m", "kd_yolo.league.worker"], stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(job.model_dump_json().encode() + b"\n")
        process.stdin.flush()
        while not job.last.is_file() and process.poll() is None:
            time.sleep(0.2)
        process.stdin.close()
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
        process.wait()
    assert not job.target.exists()
    assert progress_of(job.last) is Progress.TRAINING
