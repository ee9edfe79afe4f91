"""Words of other tools are answered with ours, before anything is imported."""

from __future__ import annotations

import importlib
import shlex

import pytest

from kd_yolo.cli.app import main
from kd_yolo.cli.foreign import COMMANDS, own_flags

# Command line and what its answer has to hold.
ANSWERS: dict[str, tuple[str, ...]] = {
    "distill --weights s.pt --t_weights m.pt --distill --dist_loss l2 --temperature 20 --data d.yaml": (
        "--weights s.pt: write --student s.pt",
        "--t_weights m.pt: write --teacher m.pt",
        "--distill: leave it out",
        "--dist_loss l2: write --loss obj_gated",
        "--loss l2 here compares feature maps",
        "--temperature 20: write --tau 20",
        "--data d.yaml: write data=d.yaml",
    ),
    "distill --epochs 10 --imgsz 640 --batch 16 --project p": (
        "write epochs=10", "write imgsz=640", "write batch=16", "write project=p",
    ),
    "distill --batch-size 16 --img-size 320 --weights=a.pt": (
        "--batch-size 16: write batch=16", "--img-size 320: write imgsz=320", "--weights a.pt: write --student a.pt",
    ),
    "distill teacher=yolov8m.pt student=n.pt loss=cwd": (
        "teacher=yolov8m.pt: write --teacher yolov8m.pt", "write --student n.pt", "write --loss cwd",
    ),
    "distill t_weights=m.pt data=d.yaml": ("t_weights=m.pt: write --teacher m.pt",),
    "distill --data 'my data.yaml'": ("write data='my data.yaml'",),
    "distill --model a.pt": ("write --student a.pt",),
    "prune --weights a.pt --percent 0.3 --data d.yaml --batch-size 4": (
        "write --model a.pt", "--percent 0.3: write --factor", "write data=d.yaml", "write batch=4",
    ),
    "prune factor=0.2 --imgsz 64": ("factor=0.2: write --factor 0.2", "write imgsz=64"),
    "prune --epochs 10": ("kd-yolo retrain takes epochs=",),
    "retrain --weights a.pt --epochs 3": ("write --model a.pt", "write epochs=3"),
    "sparse --weights a.pt --sr 0.0001 --st": ("write --model a.pt", "write --sparsity", "--st: leave it out"),
    "sparse sparsity=0.3": ("write --sparsity 0.3",),
    "compare --weights a.pt b.pt --data d.yaml": ("write the files without it: a.pt", "write data=d.yaml"),
    "compare a.pt runtime=onnx": ("write --runtime onnx",),
    "pipeline full --epochs 3 --model a.pt": ("write epochs=3", "the recipe's 'model:'"),
    "league --losses cwd --data d.yaml teacher=a.pt": ("write data=d.yaml", "write --teacher a.pt"),
    "reid train --data d --epochs 3": ("write data=d", "write epochs=3"),
    "reid train --lr 0.01 --train.ids 8 --temperature 3": (
        "--lr 0.01: write lr=0.01", "--train.ids 8: write train.ids=8", "write distill.temperature=3, or self_kd.",
    ),
    "reid train --config-file bagtricks_R50.yml MODEL.DEVICE cuda:0 SOLVER.BASE_LR 0.01": (
        "--config-file bagtricks_R50.yml: write --recipe bagtricks_R50.yml", "MODEL.DEVICE cuda:0: write train.device=",
        "SOLVER.BASE_LR 0.01: write lr=0.01",
    ),
    "reid train SOLVER.BASE_LR=0.01 MODEL.BACKBONE.NAME=build_resnet_backbone SOLVER.IMS_PER_BATCH=64": (
        "SOLVER.BASE_LR=0.01: write lr=0.01", "write backbone=build_resnet_backbone, such as resnet50",
        "write ids=... images=..., identities per batch",
    ),
    "reid train --IMS_PER_BATCH 64 --model_name resnet50 --MAX_EPOCHS=120": (
        "--IMS_PER_BATCH 64: write ids=... images=...", "write backbone=resnet50", "write epochs=120",
    ),
    "reid train --arch resnet50 --root data --max-epoch 60 --gpu-devices 0 --save-dir out": (
        "write backbone=resnet50", "write data=data", "write epochs=60", "write train.device=0", "write --name out",
    ),
    "reid train model=resnet50 batch=8 lr0=0.1 recipe=sbs": (
        "write backbone=resnet50", "batch=8: write ids=... images=...", "write lr=0.1", "write --recipe sbs",
    ),
    "reid test --weights a.pt --rerank true --batch 8 --imgsz 256": (
        "write rerank=true", "write test.batch=8", "write height=... width=...",
    ),
    "reid export --weights a.pt --data d --batch 8": ("write data=d",),
    "reid rank --model a.pt --query b.jpg": ("--model a.pt: write --weights a.pt",),
    "crops --source v.mp4": ("write it without the flag: v.mp4",),
    "search track --source v.mp4 --model a.pt": ("write it without the flag: v.mp4", "write --weights a.pt"),
}  # fmt: skip


@pytest.mark.parametrize("line", ANSWERS)
def test_answers(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(shlex.split(line))
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert [part for part in ANSWERS[line] if part not in said.err] == [], said.err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_names_no_word_of_the_command_itself(name: str) -> None:
    module, _, flags = name.rpartition(".")
    kind = getattr(importlib.import_module(f"kd_yolo.cli.{module}"), flags)
    assert own_flags(kind).isdisjoint(COMMANDS[name].flags)


@pytest.mark.parametrize("line", ["distill --weights a.pt --help", "prune --percent 3 -h"])
def test_help_is_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
