"""Words of other tools, answered with ours.

Flags of YOLOv5 and of articles on distillation, keys of FastReID, torchreid and reid-strong-baseline, and
``--epochs 10`` for ``epochs=10``.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
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
SHARED = frozenset({"name", "device", "seed", "resume"})  # flags of ours that may be written key=value too
ANSWERED = frozenset({"model", "distill_model", "epochs"})  # by the command, which says more of them
TEACHER = "write --teacher {value}"
MODEL = "write --model {value}"
FACTOR = "write --factor, the share of the channels that is removed"


@dataclass(frozen=True)
class Words:
    """What a command answers to words that are not its own.

    Attributes:
        flags: what to say of a word; ``{value}`` is what stands behind it.
        keys: what the command takes as ``key=value``, by the word that somebody may write as a flag; a function where
            it comes from a model, which is imported when something is typed.
        shared: flags that may be written ``key=value`` too.
        answered: ``key=value`` words that the command itself answers.
        has_bare_keys: whether words in capitals without ``--`` are asked about too: FastReID's SOLVER.BASE_LR 0.01.
    """

    flags: Mapping[str, str]
    keys: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default_factory=dict)
    shared: frozenset[str] = SHARED
    answered: frozenset[str] = ANSWERED
    has_bare_keys: bool = False

    def answer(self, word: str) -> str:
        """What to say of a word, or nothing; tools write one name as BASE_LR, base-lr and SOLVER.BASE_LR."""
        known = {_squeezed(name): text for name, text in self.flags.items()}
        return known.get(_squeezed(word)) or known.get(_squeezed(word.rpartition(".")[2])) or ""


def _squeezed(word: str) -> str:
    return word.lower().translate(str.maketrans("", "", "-_."))


def _only(*keys: str) -> dict[str, str]:
    return {word: key for word, key in TRAINING.items() if key in keys}


_CROP_SIZE = "write height=... width=..., the size of the crops in pixels"
_DEVICE = "write train.device={value}"
_LOSS_NAMES = "write the weights of the losses, such as triplet_weight=1 circle_weight=0, or terms=[{loss: id}]"
_BATCH = "write ids=... images=..., identities per batch and images of each; test.batch={value} is that of the test"
# Keys of FastReID, torchreid and reid-strong-baseline; for SOLVER.BASE_LR the word behind the last dot is enough.
REID = {
    "batch": _BATCH, "batch_size": _BATCH, "batch_size_train": _BATCH, "train_batch_size": _BATCH,
    "ims_per_batch": _BATCH, "test.ims_per_batch": "write test.batch={value}",
    "test_ims_per_batch": "write test.batch={value}", "batch_size_test": "write test.batch={value}",
    "num_instance": "write images={value}", "num_instances": "write images={value}",
    "max_epoch": "write epochs={value}", "max_epochs": "write epochs={value}", "num_epochs": "write epochs={value}",
    "model": "write backbone={value}", "arch": "write backbone={value}", "model_name": "write backbone={value}",
    "model.name": "write backbone={value}", "model_arch": "write backbone={value}",
    "backbone.name": "write backbone={value}", "model.backbone.name": "write backbone={value}, such as resnet50",
    "model.backbone.depth": "write backbone=resnet50, resnet101, ...", "with_ibn": "write backbone=resnet50_ibn_a",
    "pool_layer": "write pool=avg, gem or max", "embedding_dim": "write embedding={value}",
    "weights": "write --start {value} for a checkpoint of kd-yolo, pretrained={value} for backbone weights",
    "model_path": "write pretrained={value}, for a checkpoint of kd-yolo --start {value}",
    "pretrain_path": "write pretrained={value}, for a checkpoint of kd-yolo --start {value}",
    "load_weights": "write pretrained={value}, for a checkpoint of kd-yolo --start {value}",
    "base_lr": "write lr={value}", "lr0": "write lr={value}", "learning_rate": "write lr={value}",
    "optim": "write optimizer={value}", "optimizer_name": "write optimizer={value}",
    "warmup_epochs": "write warmup={value}, in epochs", "warmup_iters": "write warmup=..., in epochs",
    "steps": "write milestones=..., as shares of the run", "sched": "write schedule=cosine or step",
    "imgsz": _CROP_SIZE, "size_train": _CROP_SIZE, "size_test": _CROP_SIZE, "input_size": _CROP_SIZE,
    "re_prob": "write erase={value}", "random_erase": "write erase=0.5",
    "transforms": "write flip=, pad=, erase=, jitter=",
    "label_smooth": "write smoothing=0.1", "if_labelsmooth": "write smoothing=0.1",
    "center_loss_weight": "write center_weight={value}", "loss": _LOSS_NAMES, "loss.name": _LOSS_NAMES,
    "root": "write data={value}", "root_dir": "write data={value}", "data_dir": "write data={value}",
    "data_root": "write data={value}", "dataset_dir": "write data={value}", "datasets.names": "write data=FOLDER",
    "sources": "write data=FOLDER", "targets": "write data=FOLDER",
    "gpu": _DEVICE, "gpu_ids": _DEVICE, "gpu_devices": _DEVICE, "model.device": _DEVICE, "device_id": _DEVICE,
    "num_workers": "write workers={value}",
    "output_dir": "write --name {value}, the run's folder in runs/reid",
    "save_dir": "write --name {value}, the run's folder in runs/reid",
    "config_file": "write --recipe {value}: a name in cfg/reid, or a YAML with the keys of kd-yolo reid train --help",
    "evaluate": "use kd-yolo reid test --weights best.pt",
    "re_ranking": "write rerank=true", "rerank.enabled": "write rerank=true",
    "temperature": "write distill.temperature={value}, or self_kd.temperature={value} with --kd",
}  # fmt: skip


def _reid(keys: Callable[[], Mapping[str, str]], *own: str) -> Words:
    """Answers of a command of ``kd-yolo reid``; words that are flags of its own are none."""
    answers = {word: text for word, text in REID.items() if word not in own}
    if "weights" in own:
        answers |= {"model": "write --weights {value}", "batch": "write test.batch={value}"}
    return Words(answers, keys, shared=frozenset(), answered=frozenset(), has_bare_keys=True)


def _train_keys() -> dict[str, str]:
    """Settings of a ReID run by what names them: ``train.epochs``, and ``epochs`` where one section only has it."""
    from kd_yolo.reid.resolve import SECTIONS, WITHOUT_SECTION

    places = [(section, name) for section, model in SECTIONS.items() for name in model.model_fields]
    names = [name for _, name in places]
    keys = [*WITHOUT_SECTION, *(f"{section}.{name}" for section, name in places)]
    keys += [name for name in names if names.count(name) == 1 and name != "batch"]  # of the test, not what is meant
    return {key: key for key in keys}


def _test_keys() -> dict[str, str]:
    """Settings of a test, ``batch`` among them."""
    from kd_yolo.reid.settings import TestSettings

    names = [name for name in TestSettings.model_fields]
    return {key: key for key in ("data", "device", "train.device", *names, *(f"test.{name}" for name in names))}


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
    "reid.train.Train": _reid(_train_keys),
    "reid.test.Test": _reid(_test_keys, "weights"),
    "reid.test.Rank": _reid(_test_keys, "weights"),
    "reid.export.Export": _reid(lambda: {"data": "data"}, "weights"),
    "reid.export.Prune": _reid(dict, "weights"),
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
    keys = known.keys() if callable(known.keys) else known.keys
    return [*_flags(known, keys, own, words), *_pairs(known, keys, own, pairs)]


def own_flags(flags_type: Any) -> set[str]:
    """Names of the flags; a positional argument is none."""
    if issubclass(flags_type, Flags):
        return {flag.name for flag in list_flags(flags_type) if not flag.is_positional}
    return {one.name for one in dataclasses.fields(flags_type) if "Positional" not in str(one.type)}


def _flags(known: Words, keys: Mapping[str, str], own: set[str], words: Sequence[str]) -> list[str]:
    lines = []
    for place, word in enumerate(words):
        typed, equals, value = word.partition("=")
        name = typed.lstrip("-").replace("-", "_").lower()
        is_bare = known.has_bare_keys and typed.isupper()
        if not (typed.startswith("-") or is_bare) or name in own:
            continue
        if not equals and place + 1 < len(words) and not words[place + 1].startswith("--"):
            value = words[place + 1]
        shown = shlex.quote(value) if value else ""
        answer = f"write {keys[name]}={{value}}" if name in keys and name not in known.flags else known.answer(typed)
        if answer:
            lines.append(f"{typed} {shown}".rstrip() + f": {_filled(answer, shown)}")
    return lines


def _pairs(known: Words, keys: Mapping[str, str], own: set[str], pairs: Sequence[str]) -> list[str]:
    lines = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in known.answered:
            continue
        if key in own - known.shared - set(keys.values()):
            lines.append(f"{pair}: write --{key.replace('_', '-')} {shlex.quote(value)}")
        elif key not in keys and known.answer(key):
            lines.append(f"{pair}: {_filled(known.answer(key), shlex.quote(value) if value else '')}")
    return lines


def _filled(answer: str, value: str) -> str:
    return answer.replace("{value}", value or "...")
