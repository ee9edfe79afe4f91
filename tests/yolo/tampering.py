"""A checkpoint of a three-layer detector, and the ways in which the test tampers with it."""

from __future__ import annotations

import copy
import types
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import ultralytics.nn.tasks as tasks
from torch import nn

ROWS = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 2]]]
TINY = {"nc": 2, "backbone": ROWS, "head": [[[1, 2], 1, "Detect", ["nc"]]]}
Tamper = Callable[[dict[str, Any], Any], Any]


@cache
def _built() -> Any:
    torch.manual_seed(0)
    model = tasks.DetectionModel({key: list(v) if isinstance(v, list) else v for key, v in TINY.items()}, verbose=False)
    model.names, model.task, model.args = {0: "a", 1: "b"}, "detect", {"imgsz": 64}
    return model.eval()


def checkpoint() -> dict[str, Any]:
    """What ultralytics saves at the end of a run."""
    return {"epoch": -1, "model": copy.deepcopy(_built()), "ema": None, "train_args": {"imgsz": 64, "task": "detect"}}


def has(owner: str, key: str, value: Any) -> Tamper:
    """Writes an attribute past ``nn.Module.__setattr__``; ``owner`` is a path such as ``model.0.conv``."""

    def tamper(_: dict[str, Any], model: Any) -> None:
        vars(model.get_submodule(owner))[key] = value

    return tamper


def lacks(owner: str, key: str) -> Tamper:
    def tamper(_: dict[str, Any], model: Any) -> None:
        del vars(model.get_submodule(owner))[key]

    return tamper


def tensor(name: str, change: Callable[[torch.Tensor], Any]) -> Tamper:
    def tamper(_: dict[str, Any], model: Any) -> None:
        owner, _, key = name.rpartition(".")
        found = vars(model.get_submodule(owner))
        table = found["_parameters"] if key in found["_parameters"] else found["_buffers"]
        made = change(table[key].detach().clone())
        is_parameter = table is found["_parameters"] and isinstance(made, torch.Tensor) and made.is_floating_point()
        table[key] = nn.Parameter(made) if is_parameter else made

    return tamper


def yaml(**changes: Any) -> Tamper:
    def tamper(_: dict[str, Any], model: Any) -> None:
        model.yaml = {**model.yaml, **changes}

    return tamper


def row(index: int, value: Any) -> Tamper:
    def tamper(_: dict[str, Any], model: Any) -> None:
        rows = [list(each) for each in model.yaml["backbone"]]
        rows[index] = value
        model.yaml = {**model.yaml, "backbone": rows}

    return tamper


def top(key: str, value: Any) -> Tamper:
    def tamper(saved: dict[str, Any], _: Any) -> None:
        saved[key] = value

    return tamper


def acts(layer: nn.Module) -> Tamper:
    """Another activation of the second layer."""

    def tamper(_: dict[str, Any], model: Any) -> None:
        vars(model.model[1])["_modules"]["act"] = layer

    return tamper


def within_itself(_: dict[str, Any], model: Any) -> None:
    vars(model.model[0])["_modules"]["again"] = model


def doubled(_: dict[str, Any], model: Any) -> None:
    """Sixty levels, each of which has the next one twice: 2^60 ways to the last."""
    inner: nn.Module = nn.Identity()
    for _level in range(60):
        outer = nn.Sequential(inner)
        vars(outer)["_modules"]["1"] = inner
        inner = outer
    vars(model.model[0])["_modules"]["act"] = inner


def deep_list() -> list[Any]:
    inner: list[Any] = []
    for _ in range(150):
        inner = [inner]
    return inner


def endless_list() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


BUILT = tasks.DetectionModel  # a class that a file may name: called with an image, it builds what the image says
METHODS = (
    "forward predict fuse loss _predict_once _apply float eval modules init_criterion state_dict is_fused load info"
)
HOOKS = [key for key in vars(nn.Module()) if "hook" in key and isinstance(getattr(nn.Module(), key), OrderedDict)]
SHADOWS = {f"{key} of the network is a class": has("", key, BUILT) for key in METHODS.split()}
SHADOWS |= {
    f"{key} of a layer is a class": has("model.0", key, BUILT) for key in ("forward", "forward_fuse", "_call_impl")
}
SHADOWS |= {
    f"{key} of {owner!r}": has(owner, key, OrderedDict({0: BUILT})) for key in HOOKS for owner in ("", "model.1.bn")
}
SHADOWS |= {
    "a child is a class too": has("model.0", "conv", BUILT),
    "act is a class": has("model.0", "act", nn.SiLU),
    "an unknown attribute is a class": has("model.0", "note", nn.SiLU),
    "a class deep in a list": has("model.0", "note", [{"a": (nn.SiLU,)}]),
    "__class__": has("model.0", "__class__", BUILT),
    "__deepcopy__": has("model.0", "__deepcopy__", BUILT),
    "the forward of another layer": lambda _, model: has("model.0", "forward", model.model[1].forward)(_, model),
    "the forward of another class": has("model.0", "forward", tasks.Detect.forward),
    "fuse is a number": has("", "fuse", 1),
}
# torch and pickle drop or call these while they save, so no file of theirs can be written here
UNSAVED = {"_compiled_call_impl": BUILT, "__reduce_ex__": BUILT, "__getstate__": BUILT, "__dict__": {}}

STRUCTURE: dict[str, Tamper] = {
    "no model": top("model", None),
    "a model that is a list": top("model", [1]),
    "a model that is a layer": top("model", nn.Conv2d(1, 1, 1)),
    "a state dict": lambda saved, model: saved.update(model=model.state_dict()),
    "an ema that is a text": top("ema", "x"),
    "an ema that is a layer": top("ema", nn.Conv2d(1, 1, 1)),
    "no layers": has("model", "_modules", {}),
    "layers are a dict": lambda _, model: vars(model)["_modules"].update(model=nn.ModuleDict({"0": nn.Identity()})),
    "layers are missing": lambda _, model: vars(model)["_modules"].pop("model"),
    "a layer is missing": lambda _, model: vars(model.model)["_modules"].pop("1"),
    "a layer is None": lambda _, model: vars(model.model)["_modules"].update({"1": None}),
    "a layer is a number": lambda _, model: vars(model.model)["_modules"].update({"1": 3}),
    "a layer twice": lambda _, model: vars(model.model)["_modules"].update({"1": model.model[0]}),
    "layers in another order": lambda _, model: vars(model.model)["_modules"].update({"0": model.model[2]}),
    "no head": lambda _, model: vars(model.model)["_modules"].pop("3"),
    "no table of modules": lacks("model.0", "_modules"),
    "no table of parameters": lacks("model.0.conv", "_parameters"),
    "no table of buffers": lacks("model.0.bn", "_buffers"),
    "training is a text": has("model.0.bn", "training", "no"),
    "a network inside itself": within_itself,
    "2^60 layers": doubled,
    "f is missing": lacks("model.1", "f"),
    "f is a text": has("model.1", "f", "x"),
    "f is a later layer": has("model.1", "f", 3),
    "f is far back": has("model.1", "f", -50),
    "f is an empty list": has("model.3", "f", []),
    "f has one level less": has("model.3", "f", [1]),
    "f has one level more": has("model.3", "f", [1, 2, 2]),
    "i is missing": lacks("model.1", "i"),
    "i is another": has("model.1", "i", 2),
    "type is a list": has("model.1", "type", [1]),
    "save is missing": lacks("", "save"),
    "save is a text": has("", "save", "0"),
    "save lacks a layer": has("", "save", [1]),
    "save has a layer that is not there": has("", "save", [0, 1, 99]),
    "names is missing": lacks("", "names"),
    "names is empty": has("", "names", {}),
    "names is a text": has("", "names", "ab"),
    "names has a gap": has("", "names", {0: "a", 2: "b"}),
    "names are numbers": has("", "names", {0: 1, 1: 2}),
    "names has text keys": has("", "names", {"0": "a", "1": "b"}),
    "a name of a megabyte": has("", "names", {0: "a" * 1_000_000, 1: "b"}),
    "one name for two classes": has("", "names", {0: "a"}),
    "nc of the head is another": has("model.3", "nc", 5),
    "nc of the head is a text": has("model.3", "nc", "2"),
    "nc of the head is huge": has("model.3", "nc", 10**12),
    "nc of the network is a list": has("", "nc", [2]),
    "reg_max is huge": has("model.3", "reg_max", 10**9),
    "reg_max is 0": has("model.3", "reg_max", 0),
    "nl is another": has("model.3", "nl", 1),
    "nl is huge": has("model.3", "nl", 10**9),
    "stride is a text": has("", "stride", "8"),
    "stride is 0": has("", "stride", torch.zeros(2)),
    "stride is NaN": has("", "stride", torch.full((2,), float("nan"))),
    "stride is huge": has("", "stride", torch.full((2,), 1e9)),
    "stride of the head is negative": has("model.3", "stride", torch.tensor([-4.0, 8])),
    "stride of the head is a matrix": has("model.3", "stride", torch.ones(2, 2)),
    "task is another": has("", "task", "x"),
    "task is a list": has("", "task", ["detect"]),
    "cv2 is missing": lambda _, model: vars(model.model[3])["_modules"].pop("cv2"),
    "cv3 is empty": lambda _, model: vars(model.model[3])["_modules"].update(cv3=nn.ModuleList()),
    "dfl is a text": lambda _, model: vars(model.model[3])["_modules"].update(dfl="x"),
    "a kernel of another layer": lambda _, model: vars(model.model[0].conv).update(
        kernel_size=(7, 7), padding=(9**9, 1)
    ),
    "a stride of a text": has("model.0.conv", "stride", "2"),
    "a stride of 0": has("model.0.conv", "stride", (0, 0)),
    "padding of a million": has("model.0.conv", "padding", (10**6, 10**6)),
    "padding of thousands": has("model.0.conv", "padding", (9000, 9000)),
    "groups": has("model.0.conv", "groups", 7),
    "groups of 0": has("model.0.conv", "groups", 0),
    "dilation": has("model.0.conv", "dilation", (500, 500)),
    "150 lists inside each other": has("model.0", "note", deep_list()),
    "an endless loop": has("model.2", "note", 10**15),
    "a function": has("model.0", "note", tasks.Detect.forward),
    "an upsample of a thousand": lambda _, model: vars(model.model[1])["_modules"].update(
        act=nn.Upsample(scale_factor=1000)
    ),
    "thirty upsamples": lambda _, model: vars(model.model[1])["_modules"].update(
        act=nn.Sequential(*(nn.Upsample(scale_factor=2) for _ in range(30)))
    ),
    "a padding layer": lambda _, model: vars(model.model[1])["_modules"].update(act=nn.ZeroPad2d(50_000)),
    "a batch norm for other channels": lambda _, model: vars(model.model[1])["_modules"].update(bn=nn.BatchNorm2d(7)),
    "an eps of a text": has("model.0.bn", "eps", "x"),
}

TENSORS: dict[str, Tamper] = {
    "NaN in a kernel": tensor("model.0.conv.weight", lambda w: w.fill_(float("nan"))),
    "one infinite bias": tensor("model.3.cv2.0.2.bias", lambda w: w.index_fill_(0, torch.tensor([3]), float("inf"))),
    "NaN in a mean": tensor("model.1.bn.running_mean", lambda w: w.fill_(float("nan"))),
    "an infinite variance": tensor("model.1.bn.running_var", lambda w: w.fill_(float("inf"))),
    "a negative variance": tensor("model.1.bn.running_var", lambda w: w.fill_(-1.0)),
    "a kernel that overflows": tensor("model.0.conv.weight", lambda w: w.fill_(3e38)),
    "another shape": tensor("model.0.conv.weight", lambda w: w[:, :, :1].contiguous()),
    "another count of channels": tensor("model.0.conv.weight", lambda w: w[:8].contiguous()),
    "no dimension": tensor("model.0.conv.weight", lambda w: w.sum()),
    "no numbers": tensor("model.0.conv.weight", lambda w: w[:0]),
    "whole numbers": tensor("model.0.conv.weight", lambda w: w.long()),
    "truth values": tensor("model.0.conv.weight", lambda w: w > 0),
    "complex numbers": tensor("model.0.conv.weight", lambda w: w.to(torch.complex64)),
    "a list": tensor("model.0.conv.weight", lambda w: w.tolist()),
    "none": tensor("model.0.conv.weight", lambda w: None),
    "one number for a terabyte": tensor("model.0.conv.weight", lambda w: torch.zeros(1).expand(10**6, 10**6)),
    "one number for all": tensor("model.0.conv.weight", lambda w: w.sum().reshape(1, 1, 1, 1).expand_as(w)),
    "sparse": tensor("model.0.conv.weight", lambda w: w.to_sparse()),
    "a mean of another length": tensor("model.1.bn.running_mean", lambda w: w[:3].contiguous()),
}

# harmless: the file loads, and what was written is dropped or not used
HARMLESS: dict[str, Tamper] = {
    "training is missing": lacks("model.0.bn", "training"),
    "no is another": has("model.3", "no", 1),
    "a list inside itself": has("model.0", "note", endless_list()),
    "nothing": lambda *_: None,
    "criterion is a class": has("", "criterion", BUILT),
    "train_args is a list": top("train_args", [1]),
    "train_args is a text": top("train_args", "data=evil.yaml"),
    "train_args is missing": lambda saved, _: saved.pop("train_args"),
    "train_args holds a class": top("train_args", {"imgsz": nn.SiLU, "data": nn.SiLU, "evil": 1}),
    "train_args holds texts for numbers": top("train_args", {"imgsz": "x" * 9999, "epochs": "3"}),
    "args of the network is a list": has("", "args", [1]),
    "args of the network is missing": lacks("", "args"),
    "pt_path is elsewhere": has("", "pt_path", "/etc/passwd"),
    "epoch is a text": top("epoch", "x"),
    "unknown keys": top("evil", {"a": [1, 2, {"b": "c"}]}),
    "np is a lie": has("model.0", "np", 10**12),
    "names is a list": has("", "names", ["a", "b"]),
    "a hook table that is empty": has("model.0", "_forward_hooks", OrderedDict()),
    "the stride of the network is missing": lacks("", "stride"),
    "inplace is a text": has("model.0.act", "inplace", "x"),
    "its own forward": lambda _, model: vars(model.model[0]).update(
        forward=types.MethodType(type(model.model[0]).forward, model.model[0])
    ),
}
