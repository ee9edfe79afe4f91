"""``kd-yolo reid`` with bad input: a documented exit code and one clear message, never a traceback."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.cli.app import main
from kd_yolo.reid.model.backbones import random_backbone
from kd_yolo.reid.model.checkpoint import Checkpoint, save_checkpoint
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import NetworkConfig

FAST = "device=cpu workers=0 pretrained=none epochs=1 warmup=0 holdout=0"
NEVER = "Never trains: stop here"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set, a network and everything that is none."""
    folder = tmp_path_factory.mktemp("work")
    make_crops(folder / "crops", "smoke")
    model = ReIDModel(NetworkConfig(backbone="tiny_resnet", height=64, width=32, num_identities=2)).eval()
    save_checkpoint(folder / "net.pt", Checkpoint(model.config, model.state_dict(), [1, 2]))
    bare = random_backbone("resnet18", last_stride=1, size_hw=(64, 32)).state_dict()
    norms = {f"bottleneck.{key}": torch.ones(4) for key in ("weight", "bias", "running_mean", "running_var")}
    others: dict[str, Any] = {
        "bot": {
            **{f"base.{key}": value for key, value in bare.items()},
            **norms,
            "classifier.weight": torch.ones(4, 4),
        },
        "fastreid": {"model": {**{f"backbone.{key}": x for key, x in bare.items()}, "heads.weight": torch.ones(4, 4)}},
        "torchreid": {"state_dict": {**{f"module.{key}": x for key, x in bare.items()}}, "epoch": 60, "rank1": 0.9},
        "osnet": {"conv1.conv.weight": torch.ones(4), "conv2.0.conv2a.conv1.weight": torch.ones(4)},
        "clip": {"image_encoder.conv1.weight": torch.ones(4), "prompt_learner.cls_ctx": torch.ones(4)},
        "yolo": {"model.0.conv.weight": torch.ones(4), "model.22.cv2.0.0.conv.weight": torch.ones(4)},
        "nan": {**bare, "conv1.weight": torch.full((64, 3, 7, 7), float("nan"))},
    }
    for name, value in others.items():
        torch.save(value, folder / f"{name}.pth")
    os.mkfifo(folder / "pipe")
    (folder / "text.pt").write_text("text")
    (folder / "empty").mkdir()
    (folder / "bad.jpg").write_text("no image")
    (folder / "bad.yaml").write_text("train: {epochs: [1, 2}")
    (folder / "list.yaml").write_text("- 1")
    (folder / "section.yaml").write_text("train: 3")
    query = folder / "pipes" / "query"
    gallery = folder / "pipes" / "gallery"
    for part in (query, gallery):
        part.mkdir(parents=True)
        os.mkfifo(part / "0001_c1s1_000001_00.jpg")
    lists = {"train": "a/../../x_0_1_z.jpg 0", "query": "0_0_1_x.jpg 0", "gallery": "0_0_1_x.jpg 0"}
    for name in ("train", "test"):
        (folder / "msmt" / name).mkdir(parents=True)
    for name, line in lists.items():
        (folder / "msmt" / f"list_{name}.txt").write_bytes(b"\xef\xbb\xbf" + line.encode())
    one = folder / "one" / "bounding_box_train"
    one.mkdir(parents=True)
    Image.new("RGB", (8, 16)).save(one / "0001_c1s1_000001_00.jpg")
    return folder


TRAIN = [
    ("lr=nan", 2, "finite"), ("lr=inf", 2, "finite"), ("lr=0", 2, "greater than 0"), ("lr=-1", 2, "greater than 0"),
    ("lr=fast", 2, "valid number"), ("lr=[", 2, "not valid YAML"), ("lr=", 2, "has no value"),
    ("lr=1 lr=2", 2, "given twice"), ("epochs=0", 2, "greater than or equal to 1"), ("epochs=1e99", 2, "epochs"),
    ("epochs=1.5", 2, "integer"), ("epochs=5 warmup=10", 2, "longer than the run"), ("ids=1", 2, "ids"),
    ("images=1", 2, "images"), ("ids=999 holdout=0", 2, "set train.ids="), ("holdout=0.99", 2, "cannot be"),
    ("holdout=1", 2, "holdout"), ("patience=3 holdout=0", 2, "does nothing here"), ("seed=-1", 2, "seed"),
    ("seed=1e30", 2, "seed"), ("train.device=foo", 2, "unknown device 'foo': expected cpu, cuda, cuda:1 or 0."),
    ("device=meta", 2, "unknown device"), ("device=0,1", 2, "unknown device"),
    ("device=cuda:77", 2, "device=cuda:77"), ("workers=-1", 2, "workers"), ("optimizer=lion", 2, "optimizer"),
    ("schedule=linear", 2, "schedule"), ("milestones=0.5,0.2", 2, "milestones"),
    ("schedule=cosine milestones=0.2,0.5", 2, "does nothing here"), ("erase=2", 2, "erase"), ("pad=-1", 2, "pad"),
    ("loss.margin=-1", 2, "margin"), ("margin=nan", 2, "margin"), ("smoothing=1", 2, "smoothing"),
    ("id_weight=0 triplet_weight=0", 2, "no loss is left"), ("local_weight=2", 2, "needs network.local=true"),
    ("feature=local", 2, "needs the local branch"), ("local=true feature=local rerank=true", 2, "does nothing here"),
    ("k1=30", 2, "does nothing here"), ("self_kd.temperature=1", 2, "--kd"), ("overhaul_weight=1", 2, "--teacher"),
    ("temperature=1", 2, "write distill.temperature=1, or self_kd.temperature=1"),
    ("--kd --teacher-stage layer9", 2, "no stage 'layer9'"),
    ("--kd --teacher-stage layer1", 2, "layer1"), ("--teacher-stage layer3", 2, "--kd"),
    ("backbone=resnet19", 2, "Did you mean 'resnet18'"), ("height=10", 2, "height"), ("height=99999", 2, "height"),
    ("local=true height=96", 2, "8 equal stripes"), ("embedding=-1", 2, "embedding"), ("pool=sum", 2, "pool"),
    ("batch_size=8", 2, "ids=... images=..."), ("batch=8", 2, "ids=... images=..."),
    ("--batch_size 8", 2, "ids=... images=..."),
    ("--model_name resnet50 --model_path x.pth", 2, "write backbone=resnet50"), ("--MAX_EPOCHS 3", 2, "epochs=3"),
    ("--IMS_PER_BATCH 64", 2, "ids=... images=..."), ("--TEST_IMS_PER_BATCH 64", 2, "test.batch=64"),
    ("lr0=0.1", 2, "write lr=0.1"),
    ("SOLVER.MAX_EPOCHS=3", 2, "write epochs=3"), ("imgsz=256", 2, "height="), ("nothing=1", 2, "unknown key"),
    ("data=nothing", 3, "no ReID folder"), ("data=pipe", 3, "no ReID folder"), ("data=empty", 3, "no ReID layout"),
    (f"data={'x' * 300}", 3, "cannot be read"), ("data=x\0y", 3, "ReID folder"), ("data=msmt", 3, "is not inside"),
    ("data=pipes", 3, "cannot be read"), ("data=one", 3, "one identity"), ("data=net.pt", 3, "no ReID folder"),
    ("pretrained=nothing.pth", 3, "cannot be opened"), ("pretrained=pipe", 3, "is a pipe"),
    ("pretrained=/dev/zero", 3, "is a device"), ("pretrained=empty", 3, "is a folder"),
    ("pretrained=text.pt", 3, "not a PyTorch"), ("pretrained=net.pt", 3, "is a checkpoint of kd-yolo: --start"),
    ("pretrained=nan.pth", 3, "conv1.weight"), ("pretrained=bot.pth", 3, "a BoT network"),
    ("pretrained=fastreid.pth", 3, "a FastReID network"), ("pretrained=osnet.pth", 3, "an OSNet"),
    ("pretrained=clip.pth", 3, "a CLIP-ReID network"), ("--start nothing.pt", 3, "cannot be opened"),
    ("--start text.pt", 3, "not a PyTorch"), ("--start pipe", 3, "is a pipe"),
    ("--start net.pt backbone=resnet34", 2, "network.backbone=resnet34, but net.pt has backbone=tiny_resnet"),
    ("--start net.pt embedding=64", 2, "network.embedding=64, but net.pt"), ("--resume pipe", 3, "is a pipe"),
    ("--start net.pt pretrained=bot.pth", 2, "both are first weights"), ("--resume net.pt", 3, "the run is finished"),
    ("--resume nothing.pt", 3, "cannot be opened"), ("--resume net.pt epochs=3", 2, "keeps its epochs: leave it out"),
    ("--eval-only", 2, "add --start"), ("--eval-only --start net.pt --kd", 2, "leave out --kd"),
    ("--recipe nothing", 2, "no ReID recipe"), ("--recipe bad.yaml", 2, "not valid YAML"),
    ("--recipe list.yaml", 2, "must hold"), ("--recipe section.yaml lr=1", 2, "section 'train'"),
    ("--recipe gone.yaml", 2, "no such file"), ("--recipe distill_r101ibn_r34", 2, "--teacher"),
]  # fmt: skip
OTHERS = [
    ("distill data=crops", 2, "--teacher is missing"), ("distill --teacher pipe data=crops", 3, "is a pipe"),
    ("distill --teacher net.pt data=crops", 3, "identities"),
    ("distill --teacher bot.pth data=crops", 3, "a BoT network"),
    ("distill --teacher net.pt data=crops logit_weight=0", 2, "all weights are 0"),
    ("test --weights nothing.pt", 3, "cannot be opened"), ("test --weights empty", 3, "is a folder"),
    ("test --weights /dev/zero", 3, "is a device"), ("test --weights pipe", 3, "is a pipe"),
    ("test --weights bot.pth", 3, "a BoT network"), ("test --weights fastreid.pth", 3, "a FastReID network"),
    ("test --weights torchreid.pth", 3, "network.pretrained="), ("test --weights osnet.pth", 3, "an OSNet"),
    ("test --weights clip.pth", 3, "a CLIP-ReID network"), ("test --weights yolo.pth", 3, "a YOLO detector"),
    ("test --weights net.pt data=nothing", 3, "no ReID folder"),
    ("test --weights net.pt data=one", 3, "one identity"),
    ("test --weights net.pt data=crops lr=1", 2, "means nothing here"),
    ("test --weights net.pt data=crops batch=0", 2, "batch"),
    ("test --weights net.pt data=crops feature=local", 2, "needs the local branch"),
    ("test --weights net.pt data=crops k1=5", 2, "does nothing here"),
    ("test --weights net.pt data=crops rerank=maybe", 2, "rerank"),
    ("test --weights net.pt data=crops rerank=true lambda_value=nan", 2, "lambda_value"),
    ("test --weights net.pt data=crops train.device=foo", 2, "unknown device 'foo'"),
    ("test --weights net.pt data=crops max_rank=0", 2, "max_rank"),
    ("test --weights net.pt --strips -1 data=crops", 2, "--strips: Input should be greater than or equal to 0"),
    ("rank --weights net.pt --query empty data=crops", 2, "is a folder: rank takes one crop"),
    ("rank --weights net.pt --query nothing.jpg data=crops", 3, "cannot be opened"),
    ("rank --weights net.pt --query pipe data=crops", 3, "is a pipe"),
    ("rank --weights net.pt --query bad.jpg data=crops", 3, "bad.jpg"),
    ("rank --weights net.pt --query bad.jpg data=crops ap=trapezoid", 2, "ap"),
    ("rank --weights net.pt --query bad.jpg data=crops --out x.jpg", 2, "ends with .png"),
    ("export --weights nothing.pt", 3, "cannot be opened"),
    ("export --weights net.pt --format onxx", 2, "Did you mean 'onnx'"),
    ("export --weights net.pt data=nothing", 3, "no ReID folder"),
    ("export --weights net.pt lr=1", 2, "not taken here"), ("prune --weights nothing.pt", 3, "cannot be opened"),
    ("prune --weights net.pt --factor nan", 2, "factor"), ("prune --weights net.pt --factor 1", 2, "factor"),
    ("prune --weights net.pt --factor -0.1", 2, "factor"), ("prune --weights net.pt --out x.foo", 2, "ends with .pt"),
    ("prune --weights net.pt --out empty", 2, "ends with .pt"), ("prune --weights yolo.pth", 3, "a YOLO detector"),
    ("prune --weights net.pt lr=1", 2, "not taken here"),
]  # fmt: skip


def words_of(line: str) -> list[str]:
    """``train`` gets the small set and no epochs to speak of, where the line says nothing else."""
    words = shlex.split(line)
    if words[0] == "train" and not any(word in ("--resume", "--eval-only") for word in words):
        given = {word.partition("=")[0].rpartition(".")[2] for word in words if "=" in word}
        kept = [word for word in shlex.split(FAST) if word.partition("=")[0] not in given]
        if "--start" in words or "--recipe" in words:
            kept = [word for word in kept if not word.startswith(("pretrained", "warmup"))]
        words += kept + ([] if "data" in given else ["data=crops"])
    return words


@pytest.mark.parametrize(("line", "code", "message"), [(f"train {line}", *rest) for line, *rest in TRAIN] + OTHERS)
def test_one_message_and_a_documented_code(
    place: Path, line: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("kd_yolo.cli.run._fail_unforeseen", lambda error: pytest.fail(f"{line}: {error!r}"))
    monkeypatch.setattr("kd_yolo.reid.train.engine.Trainer.fit", lambda self: pytest.fail(f"{line}: it trains"))
    try:
        found = main(["reid", *words_of(line)])
    except SystemExit as stop:  # flags that cannot be read
        found = int(stop.code or 0)
    said = capsys.readouterr().err
    assert (found, message in said) == (code, True), said
    assert said.count("error: ") == 1
    assert len(re.sub(r"(/[\w.-]+)+", "", said)) < 900
    assert "Traceback" not in said


def test_there_are_enough() -> None:
    assert len(TRAIN) + len(OTHERS) > 120
