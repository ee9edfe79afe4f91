"""Checkpoints of pruned networks: what ultralytics' trainers leave at the end of a run, and nothing else inside."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from ultralytics import __version__
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.yolo.classes import class_layers
from kd_yolo.yolo.families import head_like
from kd_yolo.yolo.files.saving import save_atomically
from kd_yolo.yolo.quiet import quiet


def save_pruned(path: str | Path, model: Any, source: dict[str, Any], history: dict[str, Any]) -> Path:
    """Writes a pruned network so that plain ``YOLO(path)`` opens it.

    Weights are half precision, as in every finished checkpoint of ultralytics, unless some do not fit into it.

    Args:
        path: the file; written atomically.
        model: stock classes only; it is not touched.
        source: the checkpoint that the network was loaded from; its training arguments are kept.
        history: plain values on how it was pruned, kept under ``kd_yolo`` where ultralytics ignores them.

    Returns:
        ``path``.

    Raises:
        KDYoloError: the file cannot be written.
    """
    arguments = {**DEFAULT_CFG_DICT, **(source.get("train_args") or {})}
    arguments = {key: value for key, value in arguments.items() if key in DEFAULT_CFG_DICT}
    checkpoint = {
        "date": datetime.now().astimezone().isoformat(),
        "version": __version__,
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "docs": "https://docs.ultralytics.com",
        "epoch": -1,
        "best_fitness": None,
        "model": _finished(model, arguments),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": arguments,
        "kd_yolo": {"prune": history},
    }
    return save_atomically(checkpoint, path)


def _finished(model: Any, arguments: dict[str, Any]) -> Any:
    finished = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for name in ("pt_path", "criterion"):  # where it lay, and what only training needs
        if hasattr(finished, name):
            delattr(finished, name)
    finished.args = arguments
    half = copy.deepcopy(finished).half()
    return half if all(value.isfinite().all() for value in half.state_dict().values()) else finished


def is_pruned(model: Any) -> bool:
    """Whether any width differs from the model's YAML, the number of classes aside. Draws no random numbers.

    The hidden width of the class branch follows the number of classes, and upstream keeps it when it changes that
    number: wider than the YAML says means trained on more classes before, not pruned. Narrower counts as pruned: a
    network from scratch on few classes that was trained on many afterwards cannot be told from that.

    Returns:
        False also where no network can be built from the YAML, one of another release for example.
    """
    if not isinstance(getattr(model, "yaml", None), dict):
        return False
    try:
        stock = _stock_shapes(model)
    except (AttributeError, IndexError, KeyError, NameError, RuntimeError, TypeError, ValueError):
        return False
    own, classes = model.state_dict(), class_layers(model)
    return any(
        own[key].shape != shape for key, shape in stock.items() if key in own and key.rpartition(".")[0] not in classes
    )


def _stock_shapes(model: Any) -> dict[str, torch.Size]:
    """Shapes of the network that the YAML describes, built without memory and without random numbers."""
    description = copy.deepcopy(model.yaml)
    known = head_like(model.model[-1])
    branches = getattr(model.model[-1], known.classes, None) if known is not None and known.form == "levels" else None
    if branches is not None:
        description["nc"] = max(description["nc"], branches[0][-1].in_channels)
    with torch.device("meta"), quiet():
        layers, _ = tasks.parse_model(description, ch=description.get("channels", 3), verbose=False)
    return {f"model.{key}": value.shape for key, value in layers.state_dict().items()}
