"""Words of other tools, answered with ours: YOLOv5's and the articles' flags, ``--epochs 10`` for ``epochs=10``."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kd_yolo.cli.flags import Flags, list_flags

# Arguments of ultralytics that people write as flags; ours are written key=value.
TRAINING = {
    key: key
    for key in (
        "data", "epochs", "imgsz", "batch", "workers", "project", "exist_ok", "optimizer", "lr0", "lrf", "momentum",
        "weight_decay", "warmup_epochs", "patience", "cache", "amp", "nbs", "mosaic", "close_mosaic", "plots", "val",
        "fraction", "freeze", "cos_lr", "save_period", "single_cls", "classes", "time", "rect", "device", "seed",
        "split", "name",
    )
} | {"img": "imgsz", "img_size": "imgsz", "imgsize": "imgsz", "batch_size": "batch", "batchsize": "batch"}  # fmt: skip
SHARED = {"name", "device", "seed", "resume"}  # flags of ours that may be written key=value too
ANSWERED = ("model", "distill_model", "epochs")  # by the command, which says more of them
TEACHER = "write --teacher {value}"
MODEL = "write --model {value}"
FACTOR = "write --factor, the share of the channels that is removed"


@dataclass(frozen=True)
class Words:
    """What a command answers to words that are not its own.

    Attributes:
        flags: what to say of a word; ``{value}`` is what stands behind it.
        keys: what the command takes as ``key=value``, by the word that somebody may write as a flag.
        open_keys: whether names of flags may be ``key=value`` words as well.
    """

    flags: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    open_keys: bool = False


def _only(*keys: str) -> dict[str, str]:
    return {word: key for word, key in TRAINING.items() if key in keys}


_TRAIN = {"weights": MODEL, "student": MODEL, "cfg": MODEL, "teacher": "use kd-yolo distill --teacher {value}"}
COMMANDS: dict[str, Words] = {
    "distill.DistillFlags": Words(
        {
            "weights": "write --student {value}",
            "model": "write --student {value}",
            "cfg": "write --student {value}",
            "student_weights": "write --student {value}",
            "t_weights": TEACHER,
            "t_weight": TEACHER,
            "teacher_weights": TEACHER,
            "teacher_model": TEACHER,
            "distill_model": TEACHER,
            "distill": "leave it out, this command always distils",
            "dist_loss": "write --loss obj_gated (that tool's l2) or --loss obj_gated_kl (its kl); --loss l2 here"
            " compares feature maps",
            "loss_type": "write --loss {value}",
            "temperature": "write --tau {value}",
            "temp": "write --tau {value}",
            "hyp": "write its values as key=value: lr0=0.01 momentum=0.937 ...",
        },
        TRAINING,
    ),
    "prune.PruneFlags": Words(
        {
            "weights": MODEL, "cfg": MODEL, "student": MODEL, "percent": FACTOR, "ratio": FACTOR, "rate": FACTOR,
            "prune_ratio": FACTOR, "pruning_ratio": FACTOR, "sparsity": FACTOR, "method": "write --importance {value}",
            "epochs": "kd-yolo retrain takes epochs=, after pruning",
        },
        _only("data", "imgsz", "batch", "project"),
    ),
    "train.TrainFlags": Words(_TRAIN, TRAINING),
    "train.SparseFlags": Words({**_TRAIN, "sr": "write --sparsity, the share of the gammas that is zero at the end",
                                "st": "leave it out, this command always trains sparsely"}, TRAINING),
    "compare.CompareFlags": Words(
        {"weights": "write the files without it: {value}", "model": "write the files without it: {value}"},
        _only("data", "imgsz", "batch", "device", "split", "project"),
    ),
    "pipeline.PipelineFlags": Words({"model": "it is the recipe's 'model:'", "weights": "it is the recipe's 'model:'",
                                     "config": "write the recipe without it: {value}"}, TRAINING),
    "league.LeagueFlags": Words({"loss": "write --losses {value}", "model": "write --student {value}",
                                 "weights": "write --student {value}", "t_weights": TEACHER, "t_weight": TEACHER,
                                 "seed": "write --seeds {value}"}, TRAINING),
    "reid.flags.Train": Words(  # the articles' own words: kd_yolo.reid.rules
        {},
        {key: key for key in ("data", "epochs", "backbone", "pretrained", "ids", "images", "lr", "device", "workers")},
        open_keys=True,
    ),
    "crops.CropsFlags": Words({"source": "write it without the flag: {value}", "model": "write --weights {value}"}),
    "search.track.Track": Words({"source": "write it without the flag: {value}", "model": "write --weights {value}"}),
}  # fmt: skip


def explain(flags_type: type[object], words: Sequence[str], pairs: Sequence[str]) -> list[str]:
    """A line for each word of another tool, with what to type instead.

    Args:
        flags_type: the command's flags.
        words: what was typed, without the ``key=value`` words.
        pairs: the ``key=value`` words.
    """
    known = COMMANDS.get(f"{flags_type.__module__.removeprefix('kd_yolo.cli.')}.{flags_type.__name__}")
    if known is None:
        return []
    own = own_flags(flags_type)
    return [*_flags(known, own, words), *_pairs(known, own, pairs)]


def own_flags(flags_type: Any) -> set[str]:
    """Names of the flags; a positional argument is none."""
    if issubclass(flags_type, Flags):
        return {flag.name for flag in list_flags(flags_type) if not flag.is_positional}
    return {one.name for one in dataclasses.fields(flags_type) if "Positional" not in str(one.type)}


def _flags(known: Words, own: set[str], words: Sequence[str]) -> list[str]:
    lines = []
    for place, word in enumerate(words):
        typed, equals, value = word.partition("=")
        name = typed.lstrip("-").replace("-", "_").lower()
        if not typed.startswith("-") or name in own:
            continue
        if not equals and place + 1 < len(words) and not words[place + 1].startswith("--"):
            value = words[place + 1]
        shown = shlex.quote(value) if value else ""
        answer = known.flags.get(name) or (f"write {known.keys[name]}={shown or '...'}" if name in known.keys else "")
        if answer:
            lines.append(f"{typed} {shown}".rstrip() + f": {_filled(answer, shown)}")
    return lines


def _pairs(known: Words, own: set[str], pairs: Sequence[str]) -> list[str]:
    lines = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in ANSWERED:
            continue
        if not known.open_keys and key in own - SHARED - set(known.keys.values()):
            lines.append(f"{pair}: write --{key.replace('_', '-')} {shlex.quote(value)}")
        elif key in known.flags and key not in known.keys:
            lines.append(f"{pair}: {_filled(known.flags[key], shlex.quote(value))}")
    return lines


def _filled(answer: str, value: str) -> str:
    return answer.replace("{value}", value or "...")
