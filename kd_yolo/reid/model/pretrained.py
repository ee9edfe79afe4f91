"""Where a backbone's first weights come from: ImageNet, a file, or random numbers; the choice is always said."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torchvision
from torch import Tensor
from torch.hub import load_state_dict_from_url

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.base.reading import regular_file, shown
from kd_yolo.reid.model.backbones import TIMM_PREFIX, Backbone, full_name, random_backbone
from kd_yolo.reid.model.backbones.resnet import IBN_SUFFIX, RESNET_NAMES
from kd_yolo.reid.model.contents import FORMAT
from kd_yolo.reid.model.foreign import name_of_foreign, tensors_inside
from kd_yolo.reid.model.read_file import read_safely

TIMEOUT_S = 20
IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/"
IBN_HASHES = {"resnet18": "2f571257", "resnet34": "94bc1577", "resnet50": "d9d0bb7b", "resnet101": "59ea0ac6"}
CLASSIFIERS = ("fc.", "head.", "classifier.", "num_batches_tracked")
RESNET_OF_BLOCKS = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}


def build_backbone(
    name: str, *, last_stride: int = 1, size_hw: tuple[int, int] = (256, 128), weights: str | None = "auto"
) -> tuple[Backbone, str]:
    """A backbone with its first weights.

    Args:
        name: resnet18, 34, 50, 101, with ``_ibn_a``, or a timm name.
        last_stride: stride of the last stage, 1 or 2.
        size_hw: height and width of the input in pixels.
        weights: ``imagenet``; ``auto``, which is ``imagenet`` where it can be had and random numbers elsewhere; a file
            with a state dict in torchvision's, IBN-Net's or timm's names; None or ``none`` for random numbers.

    Returns:
        The backbone, and a sentence that says which weights it has, for the log.

    Raises:
        ConfigError: unknown name, or a size or stride that does not fit.
        InputError: ImageNet weights are out of reach, or the file is not one of this backbone.
    """
    name = full_name(name)
    make = {"last_stride": last_stride, "size_hw": size_hw}
    if weights in (None, "none"):
        return random_backbone(name, **make), f"{name}: random weights."  # type: ignore[arg-type]
    if weights not in ("imagenet", "auto"):
        return _from_file(name, str(weights), make), f"{name}: weights of {weights}."
    try:
        return _from_imagenet(name, make), f"{name}: ImageNet weights."
    except InputError as error:
        if weights == "imagenet":
            raise
        backbone = random_backbone(name, **make)  # type: ignore[arg-type]
        return backbone, f"{name}: random weights, which need longer training; {error}"


def backbone_of(state: Mapping[str, Any]) -> str | None:
    """The backbone that a state dict looks like, or None where it cannot be told."""
    keys = [str(key) for key in state]
    if any(key.startswith(("blocks.", "patch_embed.", "stages.", "conv_stem.")) for key in keys):
        return "another network of timm"
    blocks = {match[1] for key in keys if (match := re.match(r"layer3\.(\d+)\.", key))}
    bottleneck = any(key.endswith(".conv3.weight") for key in keys)
    name = RESNET_OF_BLOCKS.get((len(blocks), bottleneck))
    if name is None:
        return None
    return name + IBN_SUFFIX if any(".bn1.IN." in key for key in keys) else name


def _from_imagenet(name: str, make: dict[str, Any]) -> Backbone:
    if not name.startswith(TIMM_PREFIX) and name not in RESNET_NAMES:
        raise InputError(f"ImageNet weights of '{name}' are not known: set network.pretrained=FILE or none.")
    try:
        with _timeout():
            if name.startswith(TIMM_PREFIX):
                return random_backbone(name, **make, timm_weights={"pretrained": True})
            state = _download(name)
    except ConfigError:
        raise
    except Exception as error:  # each hub client has its own errors; the reason is in the message
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"ImageNet weights of '{name}' cannot be had ({reason}). Is this machine offline? Fetch the file elsewhere"
            " and give it as network.pretrained=FILE, or start from random weights with network.pretrained=none."
        ) from error
    backbone = random_backbone(name, **make)
    _load(backbone, state, f"the ImageNet weights of '{name}'")
    return backbone


def _download(name: str) -> dict[str, Any]:
    plain = name.removesuffix(IBN_SUFFIX)
    if name.endswith(IBN_SUFFIX):
        url = f"{IBN_NET}{name}-{IBN_HASHES[plain]}.pth"
        state: dict[str, Any] = load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, progress=False, weights_only=True
        )
        return state
    weights = torchvision.models.get_model_weights(plain).IMAGENET1K_V1
    downloaded: dict[str, Any] = weights.get_state_dict(check_hash=True, progress=False, weights_only=True)
    return downloaded


@contextmanager
def _timeout() -> Iterator[None]:
    """The hub clients wait forever by themselves where a firewall drops packets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _from_file(name: str, file: str, make: dict[str, Any]) -> Backbone:
    regular_file(file, f"network.pretrained (a file, imagenet, auto or none) of '{name}':")
    found = read_safely(file)
    if isinstance(found, dict) and found.get("format") == FORMAT:
        raise InputError(f"{file} is a checkpoint of kd-yolo: --start {file} begins with it.")
    every = tensors_inside(found)
    foreign = name_of_foreign(every)
    if foreign:
        raise InputError(
            f"{file} holds {foreign}, which kd-yolo cannot use: give a state dict of '{name}' in torchvision's,"
            " IBN-Net's or timm's names."
        )
    state = {key: value for key, value in every.items() if isinstance(value, Tensor)}
    damaged = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if damaged:
        raise InputError(f"weight {shown(damaged[0])} in {file} holds NaN or infinite values: give another file.")
    if not state:
        raise InputError(f"{file} holds no weights by name: give a state dict of '{name}'.")
    if not name.startswith(TIMM_PREFIX):
        backbone = random_backbone(name, **make)
        _load(backbone, state, file)
        return backbone
    overlay = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    try:
        return random_backbone(name, **make, timm_weights=overlay)
    except KDYoloError:
        raise
    except Exception as error:  # timm's own readers of other names raise what they like
        raise _mismatch(name, file, state, shown(str(error).partition("\n")[0])) from error


def _load(backbone: Backbone, state: Mapping[str, Tensor], source: str) -> None:
    """Loads the weights of the backbone; those of a classifier are left out."""
    wanted = backbone.state_dict()
    given = {key: value for key, value in state.items() if key in wanted or not _is_spare(key)}
    missing = sorted(key for key in wanted if key not in given and not _is_spare(key))
    foreign = sorted(key for key in given if key not in wanted)
    shapes = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or foreign or shapes:
        parts = {"missing": missing, "not its own": foreign, "of another shape": shapes}
        found = "; ".join(f"{len(keys)} {what} ({keys[0]})" for what, keys in parts.items() if keys)
        raise _mismatch(backbone.name, source, state, found)
    backbone.load_state_dict(given, strict=False)


def _is_spare(key: str) -> bool:
    return key.startswith(CLASSIFIERS) or key.endswith("num_batches_tracked")


def _mismatch(name: str, source: str, state: Mapping[str, Any], found: str) -> InputError:
    other = backbone_of(state)
    advice = f"They look like those of {other}: " if other and other != name else ""
    return InputError(
        f"{source} does not hold the weights of backbone '{name}': {found}. {advice}"
        f"give the file of '{name}', or set network.backbone to what the file holds."
    )
