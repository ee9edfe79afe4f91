"""Checkpoints of pruned networks: what ultralytics' trainers leave at the end of a run, and nothing else inside."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import __version__
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.yolo.quiet import quiet
from kd_yolo.yolo.saving import save_atomically


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
    """Whether a layer is narrower than the model's YAML says; False where no model can be built from that.

    Wider ones prove nothing: fine-tuning on fewer classes leaves the class branch as wide as it was.
    """
    if not isinstance(getattr(model, "yaml", None), dict):
        return False
    try:
        with torch.random.fork_rng(devices=[]), quiet():
            stock: nn.Module = type(model)(copy.deepcopy(model.yaml), verbose=False)
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError):  # a YAML of another release
        return False
    described = stock.state_dict()
    return any(
        found.shape[0] < described[name].shape[0]
        for name, found in model.state_dict().items()
        if name in described and found.ndim
    )
