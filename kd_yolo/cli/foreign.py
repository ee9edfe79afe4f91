"""Words of other tools, answered with ours: YOLOv5's and the articles' flags, ``--epochs 10`` for ``epochs=10``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Sequence

from kd_yolo.cli.flags import Flags, list_flags

SCRIPTS = {"train_distill.py": "distill", "prune.py": "prune"}
SHARED = {"name", "device", "seed", "resume"}  # flags of ours that may be written key=value too, where keys are taken
ANSWERED = ("model", "distill_model", "epochs")  # by the command, which says more of them
TRAININGS = "distill retrain sparse pipeline league"
REID_TRAIN, REID_USE = "reid-train reid-distill", "reid-test reid-rank reid-export reid-prune"
ALL_REID = f"{REID_TRAIN} {REID_USE}"
SEARCH = "there is no search for settings here: repeat the command with other key=value words and compare"
# Keys that have another name elsewhere; they count where the command takes the key.
KEYS = {"img": "imgsz", "img_size": "imgsz", "imgsize": "imgsz", "batch_size": "batch", "batchsize": "batch",
        "lr": "lr0", "learning_rate": "lr0", "num_workers": "workers", "max_epochs": "epochs"}  # fmt: skip
# Commands, the words that others have, and what to write instead; {value} is what stands behind the word.
ROWS: tuple[tuple[str, str, str], ...] = (
    ("distill", "weights model cfg student_weights", "write --student {value}"),
    ("distill league reid-distill", "t_weights t_weight teacher_weights teacher_model distill_model teachers",
     "write --teacher {value}"),
    ("distill", "distill kd", "leave it out, this command always distils"),
    ("distill", "dist_loss", "write --loss obj_gated (that tool's l2) or --loss obj_gated_kl (its kl); --loss l2 here"
     " compares feature maps"),
    ("distill", "loss_type", "write --loss {value}"),
    ("distill", "temperature temp T", "write --tau {value}"),
    ("distill", "kd_weight alpha distill_weight", "write --weight {value}"),
    ("distill", "layers kd_layers distill_layers", "write --taps {value}"),
    ("distill retrain sparse", "save_dir output out_dir", "write project= for the folder of all runs and --name for"
     " this one"),
    (TRAININGS, "hyp", "write its values as key=value: lr0=0.01 momentum=0.937 ..."),
    (TRAININGS, "noval", "write val=False"),
    (TRAININGS, "adam", "write optimizer=Adam"),
    (TRAININGS, "evolve", SEARCH),
    (f"{TRAININGS} {ALL_REID}", "srch_alog srch_algo search_alg num_trials", SEARCH),
    ("retrain sparse", "weights student cfg", "write --model {value}"),
    ("retrain sparse", "teacher t_weights", "use kd-yolo distill --teacher {value}"),
    ("sparse", "sr s sparse_rate", "write --sparsity, the share of the gammas that is zero at the end"),
    ("sparse", "st sparse", "leave it out, this command always trains sparsely"),
    ("prune", "weights cfg student", "write --model {value}"),
    ("prune", "percent ratio rate prune_ratio pruning_ratio prune_rate sparsity thres",
     "write --factor, the share of the channels that is removed"),
    ("prune", "method", "write --importance {value}"),
    ("prune", "epochs", "kd-yolo retrain takes epochs=, after pruning"),
    ("compare", "weights model models", "write the files without it: {value}"),
    ("pipeline", "model weights", "it is the recipe's 'model:'"),
    ("pipeline", "config cfg recipe", "write the recipe without it: {value}"),
    ("league", "loss", "write --losses {value}"),
    ("league", "model weights", "write --student {value}"),
    ("league", "seed", "write --seeds {value}"),
    (REID_TRAIN, "config_file config cfg", "write --recipe {value} for a YAML with the keys of kd-yolo reid train"
     " --help, or --recipe sbs for one in cfg/reid"),
    (REID_TRAIN, "num_gpus", "start it with torchrun --nproc_per_node {value}"),
    (REID_TRAIN, "model arch model_name model.name model_arch backbone.name", "write backbone={value}"),
    (REID_TRAIN, "model.backbone.name model.backbone.depth", "write backbone=resnet50, or another of --help"),
    (REID_TRAIN, "with_ibn", "write backbone=resnet50_ibn_a"),
    (REID_TRAIN, "weights model_path model.weights pretrain_path load_weights", "write pretrained={value}, for a"
     " checkpoint of kd-yolo --start {value}"),
    (REID_TRAIN, "batch batch_size batch_size_train train_batch_size ims_per_batch", "write ids=... images=...,"
     " identities per batch and images of each; test.batch={value} is the batch of the test"),
    (REID_TRAIN, "num_instance num_instances", "write images={value}"),
    (REID_TRAIN, "max_epoch max_epochs num_epochs", "write epochs={value}"),
    (REID_TRAIN, "base_lr lr0 learning_rate", "write lr={value}"),
    (REID_TRAIN, "optim optimizer_name", "write optimizer={value}"),
    (REID_TRAIN, "warmup_epochs warmup_iters", "write warmup=..., in epochs"),
    (REID_TRAIN, "steps stepsize", "write milestones=..., as shares of the run"),
    (REID_TRAIN, "embedding_dim", "write embedding={value}"),
    (REID_TRAIN, "pool_layer", "write pool=avg, gem or max"),
    (REID_TRAIN, "re_prob random_erase", "write erase={value}, a probability"),
    (REID_TRAIN, "label_smooth if_labelsmooth", "write smoothing=0.1"),
    (REID_TRAIN, "center_loss_weight", "write center_weight={value}"),
    (REID_TRAIN, "temperature", "write distill.temperature={value}, or self_kd.temperature={value} with --kd"),
    (REID_TRAIN, "num_workers", "write workers={value}"),
    (REID_TRAIN, "evaluate", "use kd-yolo reid test --weights best.pt"),
    (REID_TRAIN, "output_dir save_dir", "write --name {value}, the run's folder in runs/reid"),
    (REID_USE, "model model_path model.weights load_weights", "write --weights {value}"),
    ("reid-test reid-rank", "batch batch_size ims_per_batch", "write test.batch={value}"),
    (ALL_REID, "test_ims_per_batch test.ims_per_batch batch_size_test", "write test.batch={value}"),
    (ALL_REID, "imgsz size_train size_test input_size", "write height=... width=..., the size of the crops, for kd-yolo"
     " reid train"),
    (ALL_REID, "root root_dir data_dir data_root dataset_dir", "write data={value}"),
    (ALL_REID, "datasets.names sources targets", "write data=..., the folder of the data set"),
    (ALL_REID, "gpu gpu_ids gpu_devices model.device device_id device_target", "write train.device=cpu, or a GPU's"
     " number"),
    (ALL_REID, "re_ranking rerank.enabled", "write rerank=true"),
    ("reid-export", "file_format", "write --format {value}"),
    ("crops search-track", "source video", "write it without the flag: {value}"),
    ("crops search-track", "model yolo_model", "write --weights {value}"),
    ("crops search-track", "img img_size imgsize", "write --imgsz {value}"),
    ("crops", "conf_thres", "write --conf {value}"),
    ("crops", "iou_thres", "write --iou {value}"),
    ("search-track", "tracking_method", "write --tracker {value}"),
    ("search-track", "reid_model reid_weights", "write --reid {value}"),
)  # fmt: skip
# Commands of ultralytics and of other tools, and what does that job.
COMMANDS = {
    "train": "kd-yolo retrain trains a network as it is, kd-yolo distill trains it under a teacher",
    "val": "yolo val model=best.pt data=... does it; kd-yolo compare compares several",
    "predict": "yolo predict model=best.pt source=... does it",
    "detect": "yolo predict model=best.pt source=... does it",
    "export": "yolo export model=best.pt format=onnx does it, kd-yolo reid export a ReID network",
    "track": "kd-yolo search track does it",
    "tune": SEARCH,
}


def answers_of(command: str) -> dict[str, str]:
    """What a command (``distill``, ``reid train``) answers to words that are not its own, by the word as compared."""
    name = command.replace(" ", "-")
    return {plain(word): answer for commands, words, answer in ROWS if name in commands.split()
            for word in words.split()}  # fmt: skip


def plain(word: str) -> str:
    """A word as it is compared: ``--IMS_PER_BATCH`` is ``imsperbatch``."""
    return re.sub(r"[-_.]", "", word).lower()


def explain(
    prog: str, flags_type: type[Flags], words: Sequence[str], pairs: Sequence[str], keys: Collection[str]
) -> list[str]:
    """A line for each word of another tool, with what to type instead.

    Args:
        prog: the command, ``kd-yolo distill``.
        flags_type: its flags.
        words: what was typed, without the ``key=value`` words.
        pairs: the ``key=value`` words.
        keys: those that the command takes.
    """
    command = SCRIPTS.get(prog, prog.removeprefix("kd-yolo "))
    answered = () if command.startswith("reid") else ANSWERED
    answers = answers_of(command)
    short = [key.rpartition(".")[2] for key in keys]
    plain_keys = [*keys, *(key for key in short if short.count(key) == 1 and plain(key) not in answers)]
    taken = {plain(key): key for key in plain_keys}
    answers = {
        **{word: f"write {key}={{value}}" for word, key in taken.items()},
        **{plain(word): f"write {key}={{value}}" for word, key in KEYS.items() if key in keys},
        **answers,
    }
    own = own_flags(flags_type)
    loose = [word for word in words if "=" in word and not word.startswith("-")] if not keys else []
    return [*_flags(answers, own, words), *_pairs(answers, own, [*pairs, *loose], taken, answered)]


def own_flags(flags_type: type[Flags]) -> set[str]:
    """Names of the flags; a positional argument is none."""
    return {flag.name for flag in list_flags(flags_type) if not flag.is_positional}


def _flags(answers: dict[str, str], own: set[str], words: Sequence[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        typed, equals, value = word.partition("=")
        is_name = typed.startswith("-") or re.fullmatch(r"[A-Z]+(\.[A-Z_]+)+", typed)  # SOLVER.MAX_EPOCHS 60
        if not is_name or typed.lstrip("-").replace("-", "_") in own:
            continue
        if not equals and place + 1 < len(words) and not words[place + 1].startswith("--"):
            value = words[place + 1]
        answer = _answer(answers, typed)
        if answer:
            shown = shlex.quote(value) if value else ""
            yield f"{typed} {shown}".rstrip() + f": {_filled(answer, shown)}"


def _pairs(
    answers: dict[str, str], own: set[str], pairs: Sequence[str], taken: Collection[str], answered: Collection[str]
) -> Iterator[str]:
    for pair in pairs:
        key, _, value = pair.partition("=")
        if (taken and key in answered) or plain(key) in taken:
            continue
        if key in (own - SHARED if taken else own):
            yield f"{pair}: write --{key.replace('_', '-')} {shlex.quote(value)}"
        elif _answer(answers, key):
            yield f"{pair}: {_filled(_answer(answers, key), shlex.quote(value) if value else '')}"


def _answer(answers: dict[str, str], word: str) -> str:
    """What is said of a word, of SOLVER.BASE_LR as of BASE_LR, or nothing."""
    return answers.get(plain(word)) or answers.get(plain(word.rpartition(".")[2])) or ""


def _filled(answer: str, value: str) -> str:
    return answer.replace("{value}", value or "...")
