"""Checkpoints of ReID networks: plain values and tensors only, written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.reading import first_few, shown
from kd_yolo.reid.model.contents import FORMAT, VERSION, Identity, check_contents
from kd_yolo.reid.model.foreign import name_of_foreign, tensors_inside
from kd_yolo.reid.model.pretrained import backbone_of
from kd_yolo.reid.model.read_file import FETCH_AGAIN, GIVE, read_safely
from kd_yolo.reid.model.settings import NetworkConfig
from kd_yolo.reid.settings import ReIDConfig

MAX_SHOWN = 3


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        config: what the network is built from.
        state_dict: its weights.
        identities: the identity of each row of the classifier, in order; empty without one.
        metrics: numbers by name, such as ``mAP``.
        epoch: epochs that are done.
        extra: other plain values and tensors: optimizer, generator states, versions, the resolved configuration.
    """

    config: NetworkConfig
    state_dict: Mapping[str, Tensor]
    identities: Sequence[Identity] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint beside ``path`` and renames it.

    Args:
        path: final name; missing folders are made.
        checkpoint: what to write.

    Returns:
        The path.

    Raises:
        ConfigError: a value is not plain (numbers, text, lists, dicts, tensors), so it could not be loaded safely.
        KDYoloError: the file could not be written; a previous file is still whole.
    """
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": checkpoint.config.model_dump(),
        "state_dict": {key: value.detach().cpu() for key, value in checkpoint.state_dict.items()},
        "identities": list(checkpoint.identities),
        "metrics": dict(checkpoint.metrics),
        "epoch": checkpoint.epoch,
        "extra": dict(checkpoint.extra),
    }
    _check_plain(values, "checkpoint")
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return write_bytes(Path(path), buffer.getbuffer())


def load_checkpoint(path: str | Path, *, backbone: str | None = None) -> Checkpoint:
    """Reads a checkpoint; nothing in it is run.

    Args:
        path: a file that :func:`save_checkpoint` wrote.
        backbone: the backbone that it must have; None takes any.

    Raises:
        InputError: missing, damaged, of another kind, of a newer version, or of another backbone.
    """
    values = read_safely(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(_not_ours(Path(path), values))
    found = check_contents(values, str(path))
    config = found.config
    check_values(found.state_dict, Path(path))
    if backbone is not None and config.backbone != backbone:
        raise InputError(
            f"{path} holds a network with backbone '{config.backbone}', expected '{backbone}': set"
            f" network.backbone={config.backbone}, or give a checkpoint of '{backbone}'."
        )
    return Checkpoint(config, found.state_dict, found.identities, found.metrics, found.epoch, values["extra"])


def check_values(state: Mapping[str, Tensor], file: Path) -> None:
    """Checks that weights are plain finite numbers, and that there are no more of them than the file holds.

    Args:
        state: weights by name.
        file: where they come from.

    Raises:
        InputError: one is not; the message has its name.
    """
    num_bytes = sum(value.numel() * value.element_size() for value in state.values())
    if num_bytes > 2 * file.stat().st_size:
        raise InputError(f"{file} names the same weights again and again: it is no network. {FETCH_AGAIN}")
    for name, value in state.items():
        if value.is_complex() or value.layout != torch.strided or value.is_quantized:
            raise InputError(f"weight {shown(name)} in {file} is {value.dtype}, expected plain numbers.")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"weight {shown(name)} in {file} holds NaN or infinite values: its training went wrong, or the file is"
                " damaged. Give another checkpoint."
            )


def settings_of(checkpoint: Checkpoint, source: str | Path) -> ReIDConfig | None:
    """The settings of the run that wrote a checkpoint; None where it has none.

    Raises:
        InputError: they are not settings of a run.
    """
    values = checkpoint.extra.get("settings")
    if not values:
        return None
    try:
        return ReIDConfig.parse(dict(values), "settings")
    except ConfigError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[:3])
        raise InputError(f"the settings in {source} are not those of a run ({reason[:300]}): train it again.") from None


def check_identities(teacher: Sequence[Identity], student: Sequence[Identity]) -> None:
    """Checks that two classifiers have the same identities in the same order, which soft labels need.

    Args:
        teacher: identities of the teacher's rows.
        student: identities of the student's rows.

    Raises:
        InputError: they differ; the message has the counts and the first differences.
    """
    teacher, student = list(teacher), list(student)
    if teacher == student:
        return
    only_teacher = [x for x in teacher if x not in set(student)]
    only_student = [x for x in student if x not in set(teacher)]
    parts = [f"the teacher knows {len(teacher)} identities, the student {len(student)}"]
    if only_teacher:
        parts.append(f"{len(only_teacher)} only the teacher ({first_few(only_teacher, 3)})")
    if only_student:
        parts.append(f"{len(only_student)} only the student ({first_few(only_student, 3)})")
    if not only_teacher and not only_student:
        row = next((i for i, (t, s) in enumerate(zip(teacher, student, strict=False)) if t != s), len(teacher))
        at = f"row {row} is {_at(teacher, row)} for the teacher and {_at(student, row)} for the student"
        parts.append(f"they are the same but in another order or repeated: {at}")
    raise InputError(
        f"{'; '.join(parts)}. Soft labels need the same identities in the same order: train both on the same data and"
        " holdout, or set distill.logit_weight=0 and use distill.relation_weight or distill.overhaul_weight."
    )


def _at(values: Sequence[Identity], row: int) -> Identity:
    return values[row] if row < len(values) else "missing"


def _not_ours(path: Path, values: Any) -> str:
    state = tensors_inside(values)
    foreign, other = name_of_foreign(state), backbone_of(state)
    if foreign:
        return f"{path} holds {foreign}, not a checkpoint of kd-yolo, which cannot use it: {GIVE}."
    if other:
        return (
            f"{path} holds bare weights of {other}, not a ReID checkpoint: to start training from them, set"
            f" network.pretrained={path}."
        )
    return f"{path} is not a ReID checkpoint: {GIVE}."


def _check_plain(value: Any, where: str) -> None:
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, Tensor):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    else:
        raise ConfigError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}, which a checkpoint cannot hold safely:"
            " turn it into a number, text, list, dict or tensor."
        )
