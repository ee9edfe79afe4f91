"""The one loader for every checkpoint: official, from other people, or of our own trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from torch import nn
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.utils import DEFAULT_CFG_DICT

from kd_yolo.base.errors import InputError
from kd_yolo.base.extras import check_installed
from kd_yolo.base.reading import shown
from kd_yolo.yolo.families import head_like
from kd_yolo.yolo.files.file_kind import GIVE_A_MODEL
from kd_yolo.yolo.files.locate import locate
from kd_yolo.yolo.files.model_check import check_model, check_runs, check_wrapped
from kd_yolo.yolo.files.quantized_state import check_quantized, import_modelopt
from kd_yolo.yolo.files.train_args import safe_train_args
from kd_yolo.yolo.files.unpickle import MALFORMED, unpickle_safely, unpickle_trusted


def load_checkpoint(
    path: str | Path, *, trust: bool = False, flag: str | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Loads a YOLO model as ultralytics' ``load_checkpoint`` does, but from known classes only.

    Args:
        path: a file, or an official name (``yolov8m.pt``), which is fetched when online.
        trust: load whatever the file holds, code included (``--trust-weights``).
        flag: the flag that the path was typed for, see :func:`kd_yolo.yolo.files.locate.locate`.

    Returns:
        The model, in float32 and eval mode, with ``args``, ``pt_path``, ``task`` and ``stride``; the checkpoint's dict.

    Raises:
        InputError: missing, damaged, of another format, unsafe, or without a YOLO model.
        MissingDependencyError: a quantisation-aware checkpoint without modelopt.
    """
    file = locate(path, flag)
    checkpoint = load_checkpoint_dict(file, trust=trust)
    model = _model_of(file, checkpoint)
    if not trust:
        check_model(file, model)
        check_quantized(file, model, checkpoint)
    try:
        finished = _finish(model.float(), file, checkpoint)
    except (*MALFORMED, ImportError) as error:
        raise InputError(f"{file} cannot be run: {type(error).__name__}: {shown(str(error))}.") from error
    check_runs(file, finished)
    return finished, checkpoint


def load_checkpoint_dict(path: str | Path, *, trust: bool = False) -> dict[str, Any]:
    """Loads a checkpoint's dict as it was saved, for example to resume a run.

    Args:
        path: as in :func:`load_checkpoint`.
        trust: as in :func:`load_checkpoint`.

    Raises:
        InputError: missing, damaged, of another format, or unsafe.
        MissingDependencyError: a quantisation-aware checkpoint without modelopt.
    """
    file = locate(path)
    loaded = unpickle_trusted(file) if trust else unpickle_safely(file)
    if isinstance(loaded, dict):
        _require_modelopt(file, loaded)
        if "train_args" in loaded:
            loaded["train_args"] = safe_train_args(loaded)
        return loaded
    model = loaded if isinstance(loaded, tasks.BaseModel) else getattr(loaded, "model", None)
    if not isinstance(model, tasks.BaseModel):
        raise InputError(f"{file} holds a {type(loaded).__name__}, not a YOLO model. {GIVE_A_MODEL}")
    return {"model": model}


def check_models(file: Path, checkpoint: dict[str, Any]) -> None:
    """Checks the networks of a checkpoint that ultralytics or a trainer opens itself, without running them.

    Raises:
        InputError: see :func:`kd_yolo.yolo.files.model_check.check_model`.
    """
    for key in ("ema", "model"):
        network = checkpoint.get(key)
        if isinstance(network, DistillationModel):  # of ultralytics' own distillation, before its end
            check_wrapped(file, network)
            check_quantized(file, network.student_model, checkpoint)
        elif isinstance(network, tasks.BaseModel):
            check_model(file, network, finite=False)  # a run recovers from NaN in its own files
            check_quantized(file, network, checkpoint)
        elif isinstance(network, nn.Module):
            raise InputError(f"{file} holds a {type(network).__name__} as its {key}. {GIVE_A_MODEL}")


def _model_of(file: Path, checkpoint: dict[str, Any]) -> nn.Module:
    candidate = checkpoint.get("ema") or checkpoint.get("model")
    if isinstance(candidate, nn.Module) and isinstance(candidate, tasks.BaseModel):
        return candidate
    inside = candidate if isinstance(candidate, dict) else checkpoint.get("state_dict", checkpoint)
    if isinstance(inside, dict) and inside and all(isinstance(value, torch.Tensor) for value in inside.values()):
        raise InputError(
            f"{file} holds only weights (a state_dict of {len(inside)} tensors), not the model that they belong to."
            " Give the .pt file that ultralytics saved, or save it from there with YOLO(...).save('model.pt')."
        )
    found = type(candidate).__name__ if candidate is not None else f"the keys {sorted(map(str, checkpoint))[:8]}"
    raise InputError(f"{file} holds no YOLO model ({found}). {GIVE_A_MODEL}")


def _require_modelopt(file: Path, checkpoint: dict[str, Any]) -> None:
    """Ultralytics would pip-install modelopt as soon as the checkpoint's key is there."""
    if not checkpoint.get("modelopt"):
        return
    check_installed("modelopt", "huggingface_hub", purpose=f"{file} was trained for INT8 (quantize=8): it")


def _finish(model: nn.Module, file: Path, checkpoint: dict[str, Any]) -> nn.Module:
    """What ultralytics' ``load_checkpoint`` does to a model once it is unpickled, in its order."""
    if checkpoint.get("modelopt"):
        import_modelopt(str(file))
        tasks.restore_qat(model, checkpoint["modelopt"])
    facts: Any = model  # plain attributes, which nn.Module's annotations do not know
    facts.args = {**DEFAULT_CFG_DICT, **safe_train_args(checkpoint)}
    facts.pt_path = str(file)
    facts.task = getattr(model, "task", None) or _task(model)
    if not hasattr(model, "stride"):
        facts.stride = torch.tensor([32.0])
    for layer in model.modules():
        settings: Any = layer
        if hasattr(layer, "inplace"):
            settings.inplace = True
        elif isinstance(layer, nn.Upsample) and not hasattr(layer, "recompute_scale_factor"):
            settings.recompute_scale_factor = None  # saved by torch before 1.11
    return model.eval()


def _task(model: nn.Module) -> str:
    """By the head, which the default arguments of a file without any would overrule in ultralytics' guess."""
    facts: Any = model
    head = head_like(facts.model[-1])
    if head is None:
        return str(tasks.guess_model_task(model))
    return "detect" if head.form == "decoder" else head.task
