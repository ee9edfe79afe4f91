"""Taps: where features are read from a model, matched between student and teacher by stride."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.term import Taps
from kd_yolo.yolo.heads import detector_head, head_facts

Key = TypeVar("Key")


class TapError(RuntimeError):
    """A tapped layer did not run exactly once in a forward pass: the features would pair with the wrong maps."""


@dataclass(frozen=True)
class Tap:
    """One place where a feature map is read.

    Attributes:
        layer: index of the layer whose output is read.
        stride: input pixels per cell.
        channels: channels of the map.
    """

    layer: int
    stride: int
    channels: int

    def __str__(self) -> str:
        return f"layer {self.layer} (stride {self.stride}, {self.channels} channels)"


@dataclass(frozen=True)
class TapPair:
    """A student tap and the teacher tap of the same stride."""

    student: Tap
    teacher: Tap


class StopForwardError(Exception):
    """Raised by a hook to end a forward pass early: everything that was asked for has been read."""


@contextmanager
def read_modules(modules: Mapping[Key, nn.Module], *, stop_at: Key | None = None) -> Iterator[dict[Key, Tensor]]:
    """Reads the outputs of modules during the forward pass inside the ``with`` block.

    Hooks are always removed, also when the forward pass raises.

    Args:
        modules: key -> module.
        stop_at: end the forward pass after this one.

    Yields:
        Key -> output; filled by the forward pass.

    Raises:
        TapError: a module did not run exactly once.
    """
    seen: dict[Key, Tensor] = {}
    counts = dict.fromkeys(modules, 0)

    def read(key: Key, output: Tensor) -> None:
        seen[key] = output
        counts[key] += 1
        if key == stop_at:
            raise StopForwardError

    handles = [m.register_forward_hook(lambda _m, _a, out, k=key: read(k, out)) for key, m in modules.items()]
    try:
        yield seen
    except StopForwardError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if any(count != 1 for count in counts.values()):
        raise TapError(f"tapped layers must run once a forward pass, ran: {counts}")


def read_layers(
    model: nn.Module, layers: Sequence[int], *, stop: bool = False
) -> AbstractContextManager[dict[int, Tensor]]:
    """:func:`read_modules` for layers of a YOLO model by index.

    Args:
        model: a YOLO model.
        layers: layer indices, at least one.
        stop: end the forward pass after the last of them.
    """
    blocks: Any = model.model
    return read_modules({i: blocks[i] for i in layers}, stop_at=max(layers) if stop else None)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Runs the block in eval mode without gradients, then puts every module's mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def find_taps(model: nn.Module, taps: Taps, image_nchw: Tensor, role: str) -> list[Tap]:
    """The taps of one model, measured by a forward pass.

    Args:
        model: a YOLO model or an RT-DETR.
        taps: ``"head"``, ``"cv2"`` or layer indices.
        image_nchw: a small image for the measurement.
        role: ``"student"`` or ``"teacher"``, for error messages.

    Raises:
        ConfigError: no such layer, a layer that gives no feature map, or no ``cv2`` block.
    """
    facts = head_facts(model, role)
    layers = list(facts.layers) if taps == "head" else _cv2_layers(model, image_nchw, role) if taps == "cv2" else taps
    head_index = int(detector_head(model).i)
    wrong = [i for i in layers if not 0 <= i < head_index]
    if wrong:
        raise ConfigError(f"taps={layers}: the {role} has no layer {wrong[0]} before its head; 0 to {head_index - 1}.")
    with eval_mode(model), read_layers(model, layers, stop=True) as seen:
        model(image_nchw)
    return [_measure(i, seen[i], image_nchw, role) for i in layers]


def _measure(layer: int, output: Tensor, image_nchw: Tensor, role: str) -> Tap:
    if not isinstance(output, Tensor) or output.ndim != 4:
        raise ConfigError(f"layer {layer} of the {role} does not give a feature map (N,C,H,W): choose another tap.")
    return Tap(layer, round(image_nchw.shape[-1] / output.shape[-1]), output.shape[1])


def _cv2_layers(model: nn.Module, image_nchw: Tensor, role: str) -> list[int]:
    """Neck blocks whose output IS the output of their ``cv2`` conv (C2f, C3k2, A2C2f; not C3 or RepNCSPELAN4)."""
    blocks: Any = model.model
    outputs: dict[tuple[int, str], Tensor] = {}
    handles = []
    first_neck = next((i for i, block in enumerate(blocks) if isinstance(block, nn.Upsample)), len(blocks))
    for i, block in enumerate(blocks[first_neck:-1], first_neck):
        if isinstance(getattr(block, "cv2", None), nn.Module):
            for name, module in (("block", block), ("cv2", block.cv2)):
                key = (i, name)
                handles.append(module.register_forward_hook(lambda _m, _a, out, k=key: outputs.__setitem__(k, out)))
    try:
        with eval_mode(model):
            model(image_nchw)
    finally:
        for handle in handles:
            handle.remove()
    layers = [i for i, name in outputs if name == "block" and outputs[i, "block"] is outputs.get((i, "cv2"))]
    if not layers:
        raise ConfigError(
            f"taps=cv2: the {role} has no neck block that ends in its cv2 (C2f, C3k2): use taps=head, which works for "
            "every family."
        )
    return sorted(layers)


def match_by_stride(student: Sequence[Tap], teacher: Sequence[Tap]) -> list[TapPair]:
    """Pairs taps of equal stride, the ones nearest to the head first when a stride occurs more than once.

    Raises:
        ConfigError: no stride occurs on both sides.
    """
    pairs: list[TapPair] = []
    for stride in sorted({tap.stride for tap in student}):
        own, other = (_of_stride(taps, stride) for taps in (student, teacher))
        count = min(len(own), len(other))
        if count:
            pairs.extend(TapPair(s, t) for s, t in zip(own[-count:], other[-count:], strict=True))
    if not pairs:
        raise ConfigError(
            f"student and teacher share no level: student strides {[t.stride for t in student]}, teacher strides "
            f"{[t.stride for t in teacher]}. Choose a teacher with the same strides, or layers with --taps."
        )
    return pairs


def _of_stride(taps: Sequence[Tap], stride: int) -> list[Tap]:
    """The taps of one stride, the one nearest to the head last."""
    return sorted((tap for tap in taps if tap.stride == stride), key=lambda tap: tap.layer)


def unpaired(pairs: Sequence[TapPair], student: Sequence[Tap], teacher: Sequence[Tap]) -> list[str]:
    """One line for each tap that has no partner on the other side."""
    lines = []
    for role, taps, used in (
        ("student", student, {pair.student for pair in pairs}),
        ("teacher", teacher, {pair.teacher for pair in pairs}),
    ):
        lines += [f"{role} {tap} has no partner and is not used" for tap in taps if tap not in used]
    return lines
