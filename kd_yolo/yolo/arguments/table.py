"""Every argument of ultralytics: what its value may be, and what is done with it when one of our commands gets it.

A test holds the table equal to ultralytics' own list, so a new key of a new version is looked at before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kd_yolo.base.device import EXPECTED
from kd_yolo.yolo.arguments import values as v
from kd_yolo.yolo.arguments.values import FLAG, GAIN, SHARE, Rule, number, or_none, whole

Command = Literal["train", "distill", "league", "export"]
"""Who takes arguments: retrain, sparse and the plain stages of a chain; distillation; the league; ``export()``."""
COMMANDS: tuple[Command, ...] = ("train", "distill", "league", "export")
TRAININGS: tuple[Command, ...] = ("train", "distill", "league")


@dataclass(frozen=True)
class Argument:
    """One key.

    Attributes:
        rule: what its value may be.
        refused: commands that do not take it, with what to do instead.
        distillation: what it means for a distillation beyond what it means for any training.
        tasks: the only tasks for which it does something; none for all.
    """

    rule: Rule
    refused: Mapping[Command, str] = field(default_factory=dict)
    distillation: str = ""
    tasks: tuple[str, ...] = ()


_NO_EXPORT: dict[Command, str] = {"export": "it is of training and validation, an export does nothing with it"}


def _passed(
    rule: Rule, distillation: str = "", *, refused: dict[Command, str] | None = None, tasks: tuple[str, ...] = ()
) -> Argument:
    """Passed on to ultralytics' training."""
    return Argument(rule, {**_NO_EXPORT, **(refused or {})}, distillation, tasks)


def _both(rule: Rule, distillation: str = "") -> Argument:
    """Means something to a training and to an export."""
    return Argument(rule, {}, distillation)


def _exported(rule: Rule) -> Argument:
    why = "it is of export, a training does nothing with it. Give it to yolo export"
    return Argument(rule, dict.fromkeys(TRAININGS, why))


def _shown(rule: Rule = v.ANYTHING) -> Argument:
    """Of prediction and tracking."""
    why = "it is of prediction, a training or an export does nothing with it. Give it to yolo predict"
    return Argument(rule, dict.fromkeys(COMMANDS, why))


def _refused(why: str, rule: Rule = v.ANYTHING) -> Argument:
    return Argument(rule, dict.fromkeys(COMMANDS, why))


def _depth(rule: Rule) -> Argument:
    return Argument(rule, dict.fromkeys(COMMANDS, "it is of depth networks, which no command here trains"))


_DEVICES = Rule(f"{EXPECTED.removeprefix('expected ')}, or several such as 0,1", lambda _: True, "cpu")
_EXIST_OK: dict[Command, str] = {
    "train": "every run has a folder of its own here. Choose another name=",
    "league": "the command itself keeps its folders",
}

TABLE: dict[str, Argument] = {
    # -- what is trained -----------------------------------------------------------------------------------------------
    "task": _refused("the weights say the task"),
    "mode": _refused("the command itself is the mode"),
    "model": _refused("it is set by {model_flag} here"),
    "data": Argument(or_none(v.FILE)),
    "pretrained": _passed(v.either(FLAG, v.FILE), "of the student"),
    "cls_remap": _passed(FLAG),
    "resume": _refused("it is set by --resume here"),
    "cfg": _refused("its keys would be taken unseen. Write them as key=value"),
    "distill_model": _refused("it is set by --teacher here"),
    "dis": Argument(
        GAIN,
        dict.fromkeys(
            ("train", "distill", "export"), "it weighs ultralytics' own distillation. Use --weight of kd-yolo distill"
        ),
        "in a league, of the row 'shipped' alone",
    ),
    "project": _passed(or_none(v.PATH)),
    "name": Argument(or_none(v.NAME), {"league": "it is set by --name here"}),
    "exist_ok": _passed(FLAG, refused=_EXIST_OK),
    "save": _passed(FLAG, refused={"league": "it is set by the command itself here"}),
    "save_period": _passed(whole(-1, 1_000_000, 5)),
    # -- how long and with what ----------------------------------------------------------------------------------------
    "epochs": _passed(whole(1, 1_000_000, 100), "schedules of the terms run over them"),
    "time": _passed(or_none(number(0, 100_000, 0.5, above=True)), "hours; schedules follow the estimate of epochs"),
    "patience": _passed(whole(0, 1_000_000_000, 100)),
    "batch": _both(v.BATCH, "labelled images; unlabelled ones come on top"),
    "imgsz": _both(v.strictly_whole(32, 8192, 640), "the teacher sees the same images"),
    "device": _both(_DEVICES, "the teachers run on the student's device"),
    "workers": _passed(whole(0, 1024, 8)),
    "seed": _passed(
        whole(0, 2**32 - 1, 0), "of adapters and random losses too", refused={"league": "it is set by --seeds here"}
    ),
    "deterministic": _passed(FLAG),
    "amp": _passed(v.either(FLAG, v.one_of("fp16", "bf16", "fp32")), "losses are computed in float32 all the same"),
    "compile": _passed(
        v.either(FLAG, v.exactly("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")),
        "with taps=head only, and without crosskd",
    ),
    "channels_last": _passed(or_none(FLAG), "the teachers take the student's memory layout"),
    "quantize": Argument(
        or_none(v.either(v.strictly_whole(8, 32, 8), v.one_of("8", "16", "32", "int8", "fp16", "fp32", "w8a8",
                "w16a16", "w32a32", "w8a16", "w8a32"))),
        {"league": "its arms are compared as float networks. Train the best one for INT8 with train_distill.py"},
        "8 trains for INT8: the teachers stay as they are",
    ),
    "freeze": _passed(or_none(v.FREEZE), "layers of the student"),
    "cache": _passed(v.either(FLAG, v.one_of("ram", "disk")), "unlabelled images are never cached on disk"),
    "fraction": Argument(v.FRACTION, {}, "of the labelled images"),
    "profile": _refused("it measures speed for loggers that are off here. Use kd-yolo compare", FLAG),
    "verbose": Argument(FLAG),
    "plots": _passed(FLAG),
    # -- which objects -------------------------------------------------------------------------------------------------
    "classes": _passed(or_none(v.CLASSES), "response losses leave the other classes out"),
    "single_cls": _passed(FLAG, "response losses on classes need a teacher of one class"),
    "rect": _passed(FLAG, "not with unlabelled images"),
    "multi_scale": _passed(SHARE),
    # -- validation ----------------------------------------------------------------------------------------------------
    "val": _passed(FLAG),
    "split": Argument(v.exactly("val", "test", "train")),
    "save_json": _passed(FLAG),
    "save_txt": _passed(FLAG),
    "save_conf": _passed(FLAG),
    "show_labels": _passed(FLAG),
    "show_conf": _passed(FLAG),
    "conf": Argument(or_none(SHARE)),
    "iou": Argument(SHARE),
    "max_det": Argument(whole(1, 100_000, 300)),
    "nms": Argument(or_none(FLAG)),
    "agnostic_nms": Argument(FLAG),
    "augment": _passed(FLAG),
    "visualize": _passed(FLAG),
    "dnn": _shown(FLAG),
    # -- optimizer and losses ------------------------------------------------------------------------------------------
    "optimizer": _passed(
        v.one_of("SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp", "auto"), "of adapters too"
    ),
    "lr0": _passed(number(0, 1, 0.01, above=True)),
    "lrf": _passed(SHARE),
    "cos_lr": _passed(FLAG),
    "momentum": _passed(number(0, 1, 0.937, below=True)),
    "weight_decay": _passed(number(0, 1, 0.0005)),
    "warmup_epochs": _passed(number(0, 1_000_000, 3.0)),
    "warmup_momentum": _passed(SHARE),
    "warmup_bias_lr": _passed(SHARE),
    "nbs": _passed(whole(1, 1_000_000, 64)),
    "box": _passed(GAIN),
    "cls": _passed(GAIN),
    "cls_pw": _passed(SHARE),
    "dfl": _passed(GAIN),
    "pose": _passed(GAIN, tasks=("pose",)),
    "kobj": _passed(GAIN, tasks=("pose",)),
    "rle": _passed(GAIN, tasks=("pose",)),
    "angle": _passed(GAIN, tasks=("obb",)),
    "dlog": _depth(GAIN),
    "dgrad": _depth(GAIN),
    "dlam": _depth(SHARE),
    "dropout": _passed(SHARE, tasks=("classify",)),
    "overlap_mask": _passed(FLAG, tasks=("segment",)),
    "mask_ratio": _passed(whole(1, 64, 4), tasks=("segment",)),
    # -- augmentation --------------------------------------------------------------------------------------------------
    "close_mosaic": _passed(whole(0, 1_000_000, 10), "stop_at=mosaic switches the terms off there"),
    "mosaic": _passed(SHARE),
    "mixup": _passed(SHARE),
    "cutmix": _passed(SHARE),
    "copy_paste": _passed(SHARE),
    "copy_paste_mode": _passed(v.exactly("flip", "mixup")),
    "hsv_h": _passed(SHARE),
    "hsv_s": _passed(SHARE),
    "hsv_v": _passed(SHARE),
    "degrees": _passed(number(0, 180, 10.0)),
    "translate": _passed(SHARE),
    "scale": _passed(v.SCALE),
    "shear": _passed(number(-180, 180, 2.0)),
    "perspective": _passed(SHARE),
    "flipud": _passed(SHARE),
    "fliplr": _passed(SHARE),
    "bgr": _passed(SHARE),
    "auto_augment": _passed(or_none(v.exactly("randaugment", "autoaugment", "augmix")), tasks=("classify",)),
    "erasing": _passed(SHARE, tasks=("classify",)),
    # -- prediction and tracking ---------------------------------------------------------------------------------------
    "source": _shown(),
    "vid_stride": _shown(whole(1, 1_000_000, 1)),
    "stream_buffer": _shown(FLAG),
    "retina_masks": _shown(FLAG),
    "embed": _shown(),
    "show": _shown(FLAG),
    "save_frames": _shown(FLAG),
    "save_crop": _shown(FLAG),
    "show_boxes": _shown(FLAG),
    "line_width": _shown(or_none(whole(1, 1000, 2))),
    "tracker": _shown(),
    # -- export --------------------------------------------------------------------------------------------------------
    "format": _exported(v.FILE),
    "optimize": _exported(FLAG),
    "dynamic": _exported(FLAG),
    "simplify": _exported(FLAG),
    "opset": _exported(or_none(whole(7, 100, 17))),
    "workspace": _exported(or_none(number(0, 10_000, 4.0, above=True))),
}  # fmt: skip

# Keys of older versions that ultralytics takes with a warning, or drops, and what they are called now.
RENAMED = {
    "half": "quantize=16", "int8": "quantize=8", "end2end": "nms=", "boxes": "show_boxes=", "hide_labels":
    "show_labels=", "hide_conf": "show_conf=", "line_thickness": "line_width=",
}  # fmt: skip
REMOVED = ("label_smoothing", "save_hybrid", "crop_fraction", "keras")
