"""What a stranger may hand in: files whose text would run if somebody evaluated it; the canary tells."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_yolo.yolo.files import loading

ACTIVATION = "__import__('pathlib').Path({canary!r}).touch() or torch.nn.SiLU()"
DOWNLOADS = {
    "shell": "bash -c 'touch {canary}'",
    "python": "import pathlib; pathlib.Path({canary!r}).touch()",
    "url": "http://127.0.0.1:9/{canary}.zip",
}
LAYERS = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]]
CALL = "__import__('pathlib').Path({canary!r}).touch()"


def data_yaml(folder: Path, download: str, name: str = "data.yaml") -> Path:
    """A data YAML whose images are missing, so that ultralytics would run its ``download``."""
    file = folder / name
    lines = ["path: nodata", "train: images/train", "val: images/none", "names: [a, b]", "download: |", f"  {download}"]
    file.write_text("\n".join(lines) + "\n")
    return file


def describe(**changes: Any) -> dict[str, Any]:
    """The description of a tiny detector of two classes."""
    base = {"nc": 2, "backbone": copy.deepcopy(LAYERS), "head": [[[1, 2], 1, "Detect", ["nc"]]]}
    return {**base, **changes}


def model_yamls(canary: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Descriptions that ultralytics would evaluate, or with which a file would choose what is called."""
    yield "activation", describe(activation=ACTIVATION.format(canary=canary))
    call = CALL.format(canary=canary)
    yield "argument", describe(backbone=[[-1, 1, "Conv", [call, 3, 2]], *LAYERS[1:]])
    yield "repeats", describe(backbone=[[-1, call, "Conv", [8, 3, 2]], *LAYERS[1:]])
    yield "from", describe(backbone=[[call, 1, "Conv", [8, 3, 2]], *LAYERS[1:]])
    yield "TorchVision", describe(backbone=[[-1, 1, "TorchVision", [8, "resnet18", "DEFAULT"]], *LAYERS[1:]])
    yield "function as layer", describe(backbone=[[-1, 1, "torch_safe_load", [canary]], *LAYERS[1:]])
    yield "nn.Module of another place", describe(backbone=[[-1, 1, "nn.modules.module.Module", []], *LAYERS[1:]])


@cache
def _built() -> Any:
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(describe(), verbose=False)  # runs it on a large image for its strides


def tiny_model(**changes: Any) -> Any:
    """A detector that ultralytics can run, with attributes of a stranger's choice."""
    model = copy.deepcopy(_built())
    model.names, model.args, model.task = {0: "a", 1: "b"}, {}, "detect"
    for key, value in changes.items():
        setattr(model, key, value)
    return model


def checkpoint(file: Path, *, train_args: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A finished checkpoint of :func:`tiny_model`."""
    torch.save({"epoch": -1, "model": tiny_model(**changes), "train_args": train_args or {"task": "detect"}}, file)
    return file


@contextmanager
def opened_once(weights: str) -> Iterator[None]:
    """The user's own weights are unpickled once for all commands; what a stranger gives is opened each time."""
    unpickle, opened = loading.unpickle_safely, []

    def unpickled(file: Path) -> Any:
        if str(file) != weights:
            return unpickle(file)
        opened.append(opened[0] if opened else unpickle(file))
        return copy.deepcopy(opened[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "unpickle_safely", unpickled)
        yield


def unfinished(file: Path, model: Any, train_args: dict[str, Any]) -> Path:
    """The ``last.pt`` of a run that seems to be cut off."""
    file.parent.mkdir(parents=True, exist_ok=True)
    body = {
        "epoch": 0, "best_fitness": 0.1, "model": None, "ema": model, "updates": 1, "optimizer": {"state": {}},
        "train_args": {"task": "detect", "epochs": 3, "imgsz": 32, "batch": 2, "workers": 0, **train_args},
    }  # fmt: skip
    torch.save(body, file)
    return file
