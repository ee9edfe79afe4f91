"""``kd-yolo reid``: train, distil, test, export, prune and rank with person re-identification networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import parse_yaml, shown
from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path
from kd_yolo.cli.reid_flags import DESCRIPTIONS, KEYS, Export, Prune, Rank, Test, Train
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.reid.rules import answer_elsewhere

if TYPE_CHECKING:
    from kd_yolo.reid.settings import ReIDConfig

PATHS = {"data", "pretrained", "network.pretrained"}  # taken as they are typed
OF_RERANKING = ("test.k1", "test.k2", "test.lambda_value")
NOT_OF_RANK = ("cameras", "ap", "max_rank")
KINDS: dict[str, type[Any]] = {
    "train": Train, "distill": Train, "test": Test, "rank": Rank, "export": Export, "prune": Prune,
}  # fmt: skip


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo reid") -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in KINDS:
        lines = "\n".join(f"  {name:8} {text}" for name, text in DESCRIPTIONS.items())
        print(f"usage: {prog} <{'|'.join(KINDS)}> [flags] [key=value]\n\n{lines}\n\n{KEYS}")
        return 0 if words and words[0] in {"-h", "--help"} else 2
    strange = [word for word in words[1:] if word.startswith("--") and answer_elsewhere(word.partition("=")[0])]
    own = {f"--{field.name}".replace("_", "-") for field in fields(KINDS[words[0]])}
    strange = [word for word in strange if word.partition("=")[0].replace("_", "-") not in own]
    if strange:
        return run_guarded(lambda: _refuse_elsewhere(strange), detector=False)
    given, pairs = split_overrides(words[1:])
    flags = parse_flags(
        KINDS[words[0]], given, prog=f"{prog} {words[0]}", description=f"{DESCRIPTIONS[words[0]]} {KEYS}", pairs=pairs
    )
    commands: dict[type[Any], Callable[[Any, list[str]], None]] = {
        Train: _train, Test: _test, Rank: _rank, Export: _export, Prune: _prune,
    }  # fmt: skip
    if words[0] == "distill" and not (flags.teacher or flags.resume):
        return run_guarded(_no_teacher, detector=False)
    return run_guarded(lambda: commands[type(flags)](flags, pairs), detector=False)


def _refuse_elsewhere(words: list[str]) -> None:
    names = [word.partition("=")[0] for word in words]
    raise ConfigError("\n  ".join(f"{name} is not a flag here.{answer_elsewhere(name)}" for name in names))


def _no_teacher() -> None:
    raise ConfigError("--teacher is missing: a checkpoint of kd-yolo reid train (runs/reid/resnet50/weights/best.pt).")


def _train(flags: Train, pairs: list[str]) -> None:
    from kd_yolo.base.places import reserved
    from kd_yolo.reid.train.run import resume, train

    if flags.resume:
        _refuse(flags)
        changes = _parse(pairs)
        best = _interruptible(lambda: resume(Path(str(flags.resume)), _say, changes), flags.resume)
        _finish_training(best)
        return
    if flags.eval_only:
        _eval_only(flags, pairs)
        return
    config = _settings(flags, pairs)
    first = Path("runs/reid") / (flags.name or _stem(flags.recipe) or config.network.backbone)
    start = None if flags.start is None else str(flags.start)
    # of processes that train together, the first one alone writes
    with reserved(first) if os.environ.get("RANK", "0") == "0" else nullcontext(first) as folder:
        last = folder / "weights" / "last.pt"
        _finish_training(_interruptible(lambda: train(config, folder, _say, start=start), last))


def _eval_only(flags: Train, pairs: list[str]) -> None:
    if flags.start is None:
        raise ConfigError("--eval-only tests the checkpoint given by --start: add --start best.pt.")
    given = _given(flags, "eval_only", "start", "name")
    if given:
        raise ConfigError(f"--eval-only tests a network as it was trained: leave out {', '.join(given)}.")
    _test(Test(flags.start, name=flags.name), pairs)


def _given(flags: Train, *allowed: str) -> list[str]:
    """Flags that were typed, but for those allowed."""
    default = Train()
    typed = [key for key, value in vars(flags).items() if value != getattr(default, key) and key not in allowed]
    return [f"--{key.replace('_', '-')}" for key in typed]


def _refuse(flags: Train) -> None:
    given = _given(flags, "resume")
    if given:
        raise ConfigError(f"--resume continues a run as it was started: leave out {', '.join(given)}.")


def _interruptible(work: Callable[[], Path], last: Path) -> Path:
    try:
        return work()
    except KeyboardInterrupt:
        if last.is_file():
            print(f"\nthe last whole epoch is kept; continue with: kd-yolo reid train --resume {last}", file=sys.stderr)
        raise


def _settings(flags: Train, pairs: list[str]) -> ReIDConfig:
    from kd_yolo.reid.resolve import resolve_reid

    changes = _parse(pairs)
    if "batch" in changes:
        raise ConfigError(f"unknown key 'batch'.{answer_elsewhere('batch')}")
    own = {
        "distill.teacher": list(flags.teacher) or None,
        "self_kd.enabled": flags.kd or None,
        "self_kd.teacher_stage": flags.teacher_stage,
        "self_kd.student_stages": list(flags.student_stages) or None,
        "self_kd.feature_weight": flags.feature_loss_coefficient,
    }
    return _with_data(resolve_reid(flags.recipe, {**changes, **{key: x for key, x in own.items() if x is not None}}))


def _parse(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` words."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        if not text:
            raise ConfigError(f"'{key}=' has no value.")
        if key in found:
            raise ConfigError(f"'{key}=' is given twice: {shown(found[key])} and {shown(text)}.")
        found[key] = text if key in PATHS else _value(key, text)
    return found


def _value(key: str, text: str) -> Any:
    """A value as YAML reads it; a number such as 1e-3, which YAML does not; words between commas."""
    try:
        value = parse_yaml(text, f"the value of {shown(key)}")
    except InputError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value.split(",") if "," in value else value


def _with_data(config: ReIDConfig) -> ReIDConfig:
    """The built-in set where none was given."""
    if config.data is not None:
        return config
    from kd_yolo.base.places import project_folder
    from kd_yolo.builtin.crops_set import make_crops

    folder = make_crops(project_folder("datasets") / "reid-demo", "demo").folder
    print(f"warning: no data=: the built-in crops, {folder} (--recipe demo fits them)")
    return config.model_copy(update={"data": str(folder)})


def _say(line: str) -> None:
    print(line.encode("utf-8", "backslashreplace").decode("utf-8"), flush=True)  # names of files may be no UTF-8


def _stem(recipe: str | None) -> str | None:
    return None if recipe is None else Path(recipe).stem


def _finish_training(best: Path) -> None:
    print_results(best.parents[1], ("results.csv", "results.png", "metrics.json"))
    print_network(best, plain=False)
    print_next(f"kd-yolo reid test --weights {shell_path(best)} data=...")


def _test(flags: Test, pairs: list[str]) -> None:
    if flags.strips < 0:
        raise ConfigError(f"--strips {flags.strips}: expected 0 or more.")
    _measure(flags.weights, _own_settings(flags.weights, pairs), flags.name or "test", flags.strips)


def _own_settings(weights: Path, pairs: list[str]) -> ReIDConfig:
    """How a network was to be tested when it was trained, with changes."""
    from kd_yolo.reid.model.checkpoint import load_checkpoint, settings_of
    from kd_yolo.reid.resolve import place_of, resolve_reid

    checkpoint = load_checkpoint(weights)
    settings = settings_of(checkpoint, weights)
    changes = _parse(pairs)
    kept = {} if settings is None else {f"test.{key}": value for key, value in settings.test.model_dump().items()}
    given = {place_of(key) for key in changes}
    if ("test", "feature") in given:  # the weight of the local distance goes with what it weighs
        kept.pop("test.local_share", None)
    if ("test", "rerank") in given:
        kept = {key: value for key, value in kept.items() if key not in OF_RERANKING}
    kept |= {"network.local": checkpoint.config.local}
    for key in changes:
        section, name = place_of(key)
        if section not in (None, "test") and (section, name) != ("train", "device"):
            raise ConfigError(f"'{key}=' means nothing here: data=, train.device= and the settings in test. do.")
    return _with_data(resolve_reid(None, {**kept, **changes}))


def _measure(weights: Path, config: ReIDConfig, name: str, strips: int) -> None:
    from kd_yolo.base.places import reserved
    from kd_yolo.reid.measure import Source, measure

    source = Source(weights, str(config.data), config.train.device)
    with reserved(Path("runs/reid") / name) as folder:
        metrics = measure(source, config.test, folder, _say, strips=strips)
    print(
        ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in metrics.items()
        )
    )
    print_results(folder, ("metrics.json", "cmc.png", "distances.png", "strips/"))
    print_next(f"kd-yolo reid export --weights {shell_path(weights)}")


def _rank(flags: Rank, pairs: list[str]) -> None:
    from kd_yolo.reid.measure import Source, rank_picture

    useless = sorted(set(_parse(pairs)) & {f"{part}{key}" for key in NOT_OF_RANK for part in ("", "test.")})
    if useless:
        raise ConfigError(f"{', '.join(useless)}: a ranking without scores has no use for it. Leave it out.")
    if flags.out.suffix.lower() != ".png":
        raise ConfigError(f"--out {flags.out}: the ranking is written as PNG. Give a name that ends with .png.")
    if flags.query.is_dir():
        raise ConfigError(
            f"--query {flags.query} is a folder: rank takes one crop of a person. kd-yolo reid test ranks a folder"
            " of queries, kd-yolo search query looks for one in a gallery."
        )
    config = _own_settings(flags.weights, pairs)
    source = Source(flags.weights, str(config.data), config.train.device)
    for path, distance in rank_picture(source, flags.query, config.test, flags.out, _say):
        print(f"{distance:.4f}  {path}")
    print_results(flags.out)


def _export(flags: Export, pairs: list[str]) -> None:
    from kd_yolo.reid.export import export, read_crops
    from kd_yolo.reid.model.network import ReIDModel
    from kd_yolo.reid.tracker import write_tracker

    data = _parse(pairs)
    _no_pairs([key for key in data if key != "data"])
    model = ReIDModel.load(flags.weights)
    crops_nchw = read_crops(data["data"], (model.config.height, model.config.width)) if data else None
    target, difference = export(model, flags.weights, flags.format, crops_nchw)
    on = "noise (data= compares on crops)" if crops_nchw is None else f"{len(crops_nchw)} crops"
    print(f"largest difference of a value to PyTorch's on {on}: {difference:.2g}")
    tracker = write_tracker(target)
    print_network(target, plain=False)
    print_network(tracker, label="tracker", plain=False)
    print_next(f"yolo track model=yolov8n.pt source=... tracker={shell_path(tracker)}")


def _prune(flags: Prune, pairs: list[str]) -> None:
    from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from kd_yolo.reid.model.network import ReIDModel
    from kd_yolo.reid.prune import prune

    _no_pairs(pairs)
    target = flags.out or flags.weights.with_name("pruned.pt")
    if target.suffix != ".pt" or target.is_dir():
        raise ConfigError(f"--out {target}: expected the name of a checkpoint, which ends with .pt.")
    source = load_checkpoint(flags.weights)
    pruned = prune(ReIDModel.from_checkpoint(source, str(flags.weights)), flags.factor)
    extra = {
        "settings": source.extra.get("settings", {}),
        "pruned": {"from": flags.weights.name, "factor": flags.factor},
    }
    save_checkpoint(target, Checkpoint(pruned.model.config, pruned.model.state_dict(), source.identities, extra=extra))
    (before, after), (cost, left) = pruned.parameters, pruned.gmacs
    print(
        f"parameters {before:,} -> {after:,} ({after / before:.0%}), GMACs {cost:.3f} -> {left:.3f} ({left / cost:.0%})"
    )
    print_network(target, plain=False)
    print_next(f"kd-yolo reid train --start {shell_path(target)} data=...")


def _no_pairs(pairs: list[str]) -> None:
    if pairs:
        raise ConfigError(f"{', '.join(pairs)}: not taken here, see --help.")
