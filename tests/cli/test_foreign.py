"""Words of other tools are answered with ours, before anything is imported."""

from __future__ import annotations

import shlex

import pytest

from kd_yolo.cli.app import main
from kd_yolo.cli.foreign import ROWS, answers_of, own_flags, plain
from tests.cli.commands import FLAGS

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
    "reid train --model_name resnet50_ibn_a --model_path r50.pth --IMS_PER_BATCH 64 --TEST_IMS_PER_BATCH 128"
    " --MAX_EPOCHS 120": (
        "--model_name resnet50_ibn_a: write backbone=resnet50_ibn_a", "--model_path r50.pth: write pretrained=r50.pth",
        "--IMS_PER_BATCH 64: write ids=... images=...", "--TEST_IMS_PER_BATCH 128: write test.batch=128",
        "--MAX_EPOCHS 120: write epochs=120",
    ),
    "reid train SOLVER.MAX_EPOCHS 60": ("SOLVER.MAX_EPOCHS 60: write epochs=60",),
    "reid train --config-file a.yml --num-gpus 4": ("write --recipe a.yml", "torchrun --nproc_per_node 4"),
    "reid train --srch-alog bohb --num-trials 12": ("--srch-alog bohb: there is no search", "--num-trials 12: there"),
    "reid distill --t_weights a.pt": ("write --teacher a.pt",),
    "reid train --device_target GPU": ("write train.device=",),
    "distill --srch-alog bohb": ("there is no search for settings here",),
    "distill --imgsz=320 --close_mosaic=5 --warmup-epochs 2 --cos_lr": (
        "--imgsz 320: write imgsz=320", "write close_mosaic=5", "write warmup_epochs=2", "--cos_lr: write cos_lr=...",
    ),
    "retrain --lr 0.01 --num-workers 4": ("write lr0=0.01", "write workers=4"),
    "compare a.pt --imgsz 320 --batch-size 4": ("write imgsz=320", "write batch=4"),
    "demo epochs=3": ("epochs=3: write --epochs 3",),
    "data make street preset=smoke": ("preset=smoke: write --preset smoke",),
    "train data=coco8.yaml": ("kd-yolo retrain trains a network as it is",),
    "export model=a.pt": ("yolo export model=best.pt",),
    "reid train --lr 0.01 --train.ids 8 --temperature 3": (
        "--lr 0.01: write lr=0.01", "--train.ids 8: write train.ids=8", "write distill.temperature=3, or self_kd.",
    ),
    "reid train MODEL.DEVICE cuda:0 SOLVER.BASE_LR 0.01": (
        "MODEL.DEVICE cuda:0: write train.device=", "SOLVER.BASE_LR 0.01: write lr=0.01",
    ),
    "reid train SOLVER.BASE_LR=0.01 MODEL.BACKBONE.NAME=build_resnet_backbone SOLVER.IMS_PER_BATCH=64": (
        "SOLVER.BASE_LR=0.01: write lr=0.01", "MODEL.BACKBONE.NAME=build_resnet_backbone: write backbone=resnet50",
        "SOLVER.IMS_PER_BATCH=64: write ids=... images=..., identities per batch",
    ),
    "reid train --arch resnet50 --root data --max-epoch 60 --gpu-devices 0 --save-dir out": (
        "write backbone=resnet50", "write data=data", "write epochs=60", "write train.device=", "write --name out",
    ),
    "reid train model=resnet50 batch=8 lr0=0.1 recipe=sbs temperature=3": (
        "write backbone=resnet50", "batch=8: write ids=... images=...", "write lr=0.1", "write --recipe sbs",
        "write distill.temperature=3",
    ),
    "reid test --weights a.pt --rerank true --batch 8 --imgsz 256": (
        "write rerank=true", "write test.batch=8", "write height=... width=...",
    ),
    "reid export --weights a.pt --data d": ("write data=d",),
    "reid rank --model a.pt --query b.jpg": ("--model a.pt: write --weights a.pt",),
    "crops --source v.mp4": ("write it without the flag: v.mp4",),
    "search track v.mp4 device=0 weights=a.pt": ("device=0: write --device 0", "write --weights a.pt"),
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


@pytest.mark.parametrize("name", FLAGS)
def test_the_table_names_no_word_of_the_command_itself(name: str) -> None:
    assert {plain(flag) for flag in own_flags(FLAGS[name])}.isdisjoint(answers_of(name))


def test_every_row_is_of_a_command() -> None:
    named = {command for commands, _, _ in ROWS for command in commands.split()}
    assert named <= {name.replace(" ", "-") for name in FLAGS}


@pytest.mark.parametrize("line", ["distill --weights a.pt --help", "prune --percent 3 -h"])
def test_help_is_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
