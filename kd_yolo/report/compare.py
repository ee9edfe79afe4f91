"""Any number of weights in one table: what each costs, how good it is, and what is left of the first one's cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.config.compare import CompareConfig
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.report.comparison import Comparison, Row
from kd_yolo.yolo.evaluate import check_data, validate
from kd_yolo.yolo.families import is_end2end
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.locate import EXPORTED, locate
from kd_yolo.yolo.files.quantized_state import is_quantized
from kd_yolo.yolo.measure import measure_latency, measure_size, onnx_runner, torch_runner
from kd_yolo.yolo.onnx_session import require_onnx

__all__ = ["Comparison", "Row", "compare"]

# ultralytics' names and ours, the deciding one last
SCORES = {
    "metrics/mAP50(B)": "mAP50",
    "metrics/mAP50-95(B)": "mAP50-95",
    "metrics/mAP50(M)": "mask mAP50",
    "metrics/mAP50-95(M)": "mask mAP50-95",
    "metrics/mAP50(P)": "pose mAP50",
    "metrics/mAP50-95(P)": "pose mAP50-95",
    "metrics/accuracy_top5": "top-5",
    "metrics/accuracy_top1": "top-1",
}


@dataclass(frozen=True)
class _Loaded:
    """One of the weights, and its name in the table."""

    name: str
    file: Path
    model: Any


def compare(
    weights: Sequence[str | Path], *, say: Callable[[str], None] = lambda _: None, **settings: Any
) -> Comparison:
    """Measures weights; the first is what the others are compared with.

    Args:
        weights: checkpoints of any YOLO task and family.
        say: called with a line on what happens next.
        **settings: as in :class:`kd_yolo.config.compare.CompareConfig`: ``data``, ``imgsz``, ``runtime``, ...

    Returns:
        The rows in the order of ``weights``, with methods that print and write them.

    Raises:
        ConfigError: unknown settings, or weights that cannot stand in one table.
        InputError: weights or data that are missing or unusable, or whose classes differ.
        MissingDependencyError: ``runtime="onnx"`` without ONNX Runtime.
    """
    config = CompareConfig.parse(settings, "compare")
    loaded = _load(weights, config)
    _check(loaded, config)
    sizes, scores, runners = [], [], {}
    for one in loaded:
        say(f"{one.name}: parameters and GFLOPs at {config.imgsz} px")
        sizes.append(measure_size(one.model, config.imgsz))
        scores.append(_scores(one, config, say))
        runners[one.name] = _runner(one.model, config)
    say(f"latency: {config.rounds} rounds of {len(runners)} models, each on {config.threads} thread(s)")
    latency = measure_latency(runners, rounds=config.rounds, threads=config.threads)
    rows = (
        Row(one.name, str(one.file), str(one.model.task), one.file.stat().st_size, size, score, latency[one.name])
        for one, size, score in zip(loaded, sizes, scores, strict=True)
    )
    return Comparison(tuple(rows), config, tuple(_notes(loaded, config)))


def _runner(model: Any, config: CompareConfig) -> Callable[[], None]:
    if config.runtime == "onnx":
        return onnx_runner(model, config.imgsz, config.threads)
    return torch_runner(model, config.imgsz)


def _load(weights: Sequence[str | Path], config: CompareConfig) -> list[_Loaded]:
    if not weights:
        raise ConfigError("nothing to compare: give the weights, the one to compare with first: a.pt b.pt")
    files = [_locate(Path(path)) for path in weights]
    twice = {str(file) for file in files if [other.resolve() for other in files].count(file.resolve()) > 1}
    if twice:
        raise ConfigError(f"{min(twice)} is given more than once: leave it out there.")
    names = short_names(files)
    return [
        _Loaded(name, file, load_checkpoint(file, trust=config.trust_weights)[0])
        for name, file in zip(names, files, strict=True)
    ]


def _check(loaded: list[_Loaded], config: CompareConfig) -> None:
    """What would fail after minutes of measuring fails now."""
    if config.runtime == "onnx":
        require_onnx()
    if config.data is None:
        return
    if len({one.model.task for one in loaded}) > 1:
        found = ", ".join(f"{one.name} ({one.model.task})" for one in loaded)
        raise ConfigError(f"one data set cannot measure models of several tasks: {found}. Leave data= out.")
    for one in loaded:
        check_data(one.model, config.data, config.split)


def _locate(file: Path) -> Path:
    if file.suffix.lower() in EXPORTED:
        raise InputError(
            f"{file} is {EXPORTED[file.suffix.lower()]}, whose layers cannot be counted: give the .pt file that it was"
            " exported from. With --runtime onnx compare exports it itself and times it in ONNX Runtime."
        )
    return locate(file)


def short_names(files: Sequence[Path]) -> list[str]:
    """File names without suffix, with as many folders before them as it takes to tell equal ones apart.

    ``weights``, the folder that every run has, is left out where the rest is enough.
    """
    for shown in (_without_weights, lambda file: list(file.absolute().parts)):
        parts = [[*shown(file)[:-1], file.stem] for file in files]
        names = [_shortest(own, parts) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(file) for file in files]  # same folder and stem, another suffix


def _without_weights(file: Path) -> list[str]:
    return [part for part in file.absolute().parts if part != "weights"]


def _shortest(own: list[str], all_parts: list[list[str]]) -> str:
    for length in range(1, len(own)):
        if sum(parts[-length:] == own[-length:] for parts in all_parts) == 1:
            return "/".join(own[-length:])
    return "/".join(own)


def _scores(one: _Loaded, config: CompareConfig, say: Callable[[str], None]) -> dict[str, float]:
    if config.data is None:
        return {}
    say(f"{one.name}: accuracy on {config.split} of {config.data}")
    found = validate(
        one.model, config.data, imgsz=config.imgsz, batch=config.batch, split=config.split, device=config.device
    )
    return {ours: found[theirs] for theirs, ours in SCORES.items() if theirs in found}


def _notes(loaded: list[_Loaded], config: CompareConfig) -> list[str]:
    """What a reader of the table has to know."""
    notes = []
    if config.data is None:
        notes.append("no data=: accuracy was not measured")
    elif loaded[0].model.task != "classify":
        expected = list(read_data_yaml(config.data, ()).names.values())
        others = [one.name for one in loaded if list(one.model.names.values()) != expected]
        if others:
            notes.append(f"{', '.join(others)}: as many classes as the data, but not the same names")
    first = loaded[0]
    for one in loaded[1:]:
        if list(one.model.names.values()) != list(first.model.names.values()):
            counts = f"{len(one.model.names)} and {len(first.model.names)}"
            notes.append(f"{one.name} and {first.name} do not know the same classes ({counts})")
        if one.model.task != first.model.task:
            notes.append(f"{one.name} is a {one.model.task} model, {first.name} a {first.model.task} model")
    rounded = [one.name for one in loaded if is_quantized(one.model)]
    if rounded and config.runtime == "torch":
        notes.append(
            f"{', '.join(rounded)}: trained for INT8, which PyTorch only imitates: its latency is --runtime onnx's"
        )
    two_branches = [one.name for one in loaded if is_end2end(one.model.model[-1])]
    if two_branches:
        notes.append(
            f"{', '.join(two_branches)}: latency and the deployed_ columns are of the end-to-end branch alone;"
            " accuracy is that of the branch which `yolo val` takes"
        )
    return notes
