"""Killed (``SIGKILL``) before any of its writes, a run is finished by ``--resume`` or by the same command.

Afterwards it equals the run that nobody disturbed: weights bit for bit, and the table but for its times. Every write of
the undisturbed run is counted; the moments of the kills are drawn from all of them, so that every phase is hit.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.reid.model.checkpoint import load_checkpoint as load_reid
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from tests.conftest import write_tiny_data
from tests.kill_server import run_command

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("KD_YOLO_KILL_SEED", "0"))
QUICK = ["imgsz=64", "batch=4", "device=cpu", "workers=0", "plots=False", "optimizer=SGD", "warmup_epochs=0"]
TRAIN = [*QUICK, "epochs=2", "--name", "run"]


@dataclass(frozen=True)
class Kind:
    """A command.

    Attributes:
        words: as they are typed; ``{student}`` and the like stand for files.
        folder: of its run.
        kills: how many times it is killed.
        resume: the words before ``--resume <last.pt>``; None: the same command goes on.
    """

    words: list[str]
    folder: str
    kills: int
    resume: list[str] | None = None


KINDS = {
    "distill": Kind(
        ["distill", "--teacher", "{teacher}", "--student", "{student}", "--loss", "mgd", "data={data}", *TRAIN],
        "runs/distill/run", 9, ["distill"],
    ),
    "rtdetr": Kind(
        ["distill", "--teacher", "{wide_rtdetr}", "--student", "{rtdetr}", "--loss", "mgd+bkd+box_iou", "data={data}",
         *TRAIN],
        "runs/distill/run", 5, ["distill"],
    ),
    "int8": Kind(
        ["distill", "--teacher", "{teacher}", "--student", "{student}", "--loss", "mgd", "quantize=8", "data={data}",
         *TRAIN],
        "runs/distill/run", 5, ["distill"],
    ),
    "retrain": Kind(["retrain", "--model", "{student}", "data={data}", *TRAIN], "runs/retrain/run", 7, ["retrain"]),
    "sparse": Kind(["sparse", "--model", "{student}", "data={data}", *TRAIN], "runs/sparse/run", 5, ["sparse"]),
    "prune": Kind(
        ["prune", "--model", "{student}", "--importance", "taylor", "--batches", "1", "--factor", "0.5", "--name",
         "run", "data={data}", "imgsz=64", "batch=4", "device=cpu"],
        "runs/prune/run", 4,
    ),
    "sensitivity": Kind(
        ["prune", "--model", "{student}", "--sensitivity", "--importance", "l2", "--factor", "0.5", "--name", "run",
         "--sensitivity-images", "4", "data={data}", "imgsz=64", "batch=4", "device=cpu"],
        "runs/prune/run-sensitivity", 4,
    ),
    "pipeline": Kind(["pipeline", "{recipe}", "--name", "run"], "runs/prune/run", 6),
    "reid": Kind(
        ["reid", "train", "data={crops}", "backbone=resnet18", "pretrained=none", "height=32", "width=16", "ids=2",
         "images=2", "epochs=2", "workers=0", "warmup=1", "holdout=0.25", "train.device=cpu", "--name", "run"],
        "runs/reid/run", 5, ["reid", "train"],
    ),
}  # fmt: skip


def small(width: int, seed: int, *, is_rtdetr: bool = False) -> Any:
    """Four convs and a head."""
    torch.manual_seed(seed)
    head, build = (["Detect", ["nc"]], DetectionModel)
    if is_rtdetr:
        head, build = ["RTDETRDecoder", ["nc", 32, 20, 2, 4, 2, 64]], RTDETRDetectionModel
    backbone = [[-1, 1, "Conv", [width, 3, 2]], [-1, 1, "Conv", [2 * width, 3, 2]]]
    backbone += [[-1, 1, "Conv", [2 * width, 3, 2]], [-1, 1, "Conv", [2 * width, 3, 2]]]
    model = build({"nc": 2, "backbone": backbone, "head": [[[2, 3], 1, *head]]}, nc=2, verbose=False)
    model.task, model.names = "detect", {0: "c0", 1: "c1"}
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Networks, data and a recipe."""
    folder = tmp_path_factory.mktemp("given")
    made = {name: str(save_pruned(folder / f"{name}.pt", small(width, seed), {"train_args": {"imgsz": 64}}, {}))
            for name, width, seed in (("student", 16, 0), ("teacher", 24, 1))}  # fmt: skip
    for name, width, seed in (("rtdetr", 16, 0), ("wide_rtdetr", 24, 1)):
        network = small(width, seed, is_rtdetr=True)
        network.model[-1].dec_score_head[-1].bias.data += 5  # a teacher that is sure of nothing teaches nothing
        made[name] = str(save_pruned(folder / f"{name}.pt", network, {"train_args": {"imgsz": 64}}, {}))
    made["data"] = str(write_tiny_data(folder / "set"))
    made["crops"] = str(make_crops(folder / "crops", "smoke").folder)
    train = "{" + ", ".join(word.replace("=", ": ") for word in QUICK) + "}"
    recipe = folder / "chain.yaml"
    recipe.write_text(
        f"model: {made['student']}\ndata: {made['data']}\ntrain: {train}\nsparse: {{epochs: 1, sparsity: 0.3}}\n"
        "prune: {factor: 0.5, importance: bn}\nretrain: {epochs: 1}\ndistill: {epochs: 1, loss: mgd}\ncompare: null\n"
    )
    made["recipe"] = str(recipe)
    return made


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def result_of(folder: Path) -> dict[str, Any]:
    """All that must be equal: the weights, the tables without times, the analysis."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*.pt")):
        load = load_reid(file).state_dict if "reid" in file.parts else load_checkpoint(file)[0].state_dict()
        found[str(file.relative_to(folder))] = {key: value.clone() for key, value in load.items()}
    for file in sorted(folder.rglob("results.csv")):
        with file.open() as stream:
            found[str(file.relative_to(folder))] = [
                {key: value for key, value in row.items() if key != "time"} for row in csv.DictReader(stream)
            ]
    for file in folder.glob("sensitivity.json"):
        found[file.name] = json.loads(file.read_text())
    return found


def score_of(model: Any, _data: Path, **_settings: Any) -> dict[str, float]:
    """Stands for the accuracy of an untrained network, which would be 0: a number that each weight changes."""
    return {"metrics/mAP50-95(B)": 1 / (1 + sum(float(x.double().abs().sum()) for x in model.state_dict().values()))}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("name", KINDS)
def test_a_killed_run_is_finished_and_equal(name: str, files: dict[str, str], tmp_path: Path) -> None:
    kind = KINDS[name]
    stand_ins = {"kd_yolo.prune.sensitivity:validate": "tests.e2e.test_kills:score_of"} if name == "sensitivity" else {}
    words = [word.format(**files) if word[0] != "{" or word[1:-1] in files else word for word in kind.words]
    code, writes, text = run_command(words, make(tmp_path / "whole"), stand_ins=stand_ins)
    assert code == 0, text
    whole = result_of(tmp_path / "whole" / kind.folder)
    assert whole
    names = {file.name for file in (tmp_path / "whole" / kind.folder).rglob("*") if file.is_file()}
    draw = random.Random(f"{name} {SEED}")
    for number in range(kind.kills):  # one from each part of the run
        low, high = (round(writes * part / kind.kills) for part in (number, number + 1))
        moment = draw.randint(low + 1, max(high, low + 1))
        trial = make(tmp_path / f"killed-{moment}")
        code, _, text = run_command(words, trial, kill_at=moment, stand_ins=stand_ins)
        assert code == -9, f"write {moment} of {writes} did not come: {text}"
        run = finish(kind, words, trial, stand_ins)
        where = f"{name}, killed before write {moment} of {writes}"
        assert same(result_of(run), whole), where
        left = [file.name for file in run.rglob("*") if ".part" in file.name or file.name == ".lock"]
        assert left == [], where
        assert {file.name for file in run.rglob("*") if file.is_file()} >= names - {"labels.jpg"}, where
        shutil.rmtree(trial)


def finish(kind: Kind, words: list[str], trial: Path, stand_ins: dict[str, str]) -> Path:
    """Finishes a killed run as its user would; returns its folder."""
    first = trial / kind.folder
    last = first / "weights" / "last.pt"
    is_resumed = kind.resume is not None and last.is_file()
    again = [*(kind.resume or []), "--resume", str(last)] if is_resumed else words
    code, _, text = run_command(again, trial, stand_ins=stand_ins)
    if is_resumed and code == 3 and "finished" in text:
        return first
    assert code == 0, text
    if is_resumed:
        return first
    runs = sorted(first.parent.glob(f"{first.name}*"), key=lambda folder: folder.stat().st_mtime)
    return runs[-1]
