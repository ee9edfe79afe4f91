"""Watches a forward pass that is traced: whatever could move channels in a way that is not known is an error."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.families import family_names

# Layers that keep channels apart, or mix them by a weight that is cut with them.
_LAYERS: tuple[type[nn.Module], ...] = (
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.BatchNorm2d, nn.CELU, nn.Conv2d, nn.ConvTranspose2d,
    nn.Dropout, nn.Dropout2d, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU,
    nn.MaxPool2d, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh, nn.Upsample,
    nn.UpsamplingNearest2d, nn.ZeroPad2d,
)  # fmt: skip
_LAYER_FORWARDS = frozenset(cls.forward for cls in _LAYERS)
# The same for functions that blocks call themselves; a few are checked further in `_keeps_channels`.
_READS = frozenset({"__get__", "dim", "numel", "size"})
_POINTWISE = frozenset({"add", "add_", "__iadd__", "mul", "mul_", "__imul__", "relu", "relu_", "silu", "silu_"})
_SPATIAL = frozenset({"adaptive_avg_pool2d", "avg_pool2d", "interpolate", "max_pool2d"})


class ChannelWatch(TorchFunctionMode):
    """Notes the layers that run, in order, and refuses operations through which channels cannot be followed.

    Args:
        model: a copy made for tracing; it is watched inside the ``with`` block.
        trusted: blocks with a stand-in, whose forward is ours.
    """

    def __init__(self, model: nn.Module, trusted: Collection[nn.Module]) -> None:
        super().__init__()
        self.ran: dict[nn.Module, int] = {}
        self._names = {module: name for name, module in model.named_modules()}
        self._trusted = frozenset(trusted)
        self._running: list[nn.Module] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> ChannelWatch:
        for module in self._names:
            self._hooks += [module.register_forward_pre_hook(self._start), module.register_forward_hook(self._end)]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def _start(self, module: nn.Module, _inputs: Any) -> None:
        self._running.append(module)
        self.ran[module] = self.ran.get(module, 0) + 1
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and self.ran[module] > 1:
            raise InputError(f"{self._names[module]} runs twice in a forward pass, so that it cannot be pruned.")

    def _end(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._running.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        block = self._running[-1] if self._running else None  # None: head_maps, which is ours
        if block is not None and block not in self._trusted and type(block).forward not in _LAYER_FORWARDS:
            self._check(block, func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

    def _check(self, block: nn.Module, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        name = getattr(func, "__name__", str(func))
        if not _keeps_channels(name, args, kwargs):
            raise InputError(
                f"{self._names[block]} is a {type(block).__name__}, which calls '{name}': channels cannot be followed"
                " through it, so that this model cannot be pruned. Pruning knows the blocks of the families"
                f" {family_names()}, and of RT-DETR."
            )


def _keeps_channels(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether channel i of a call's inputs is channel i of its output, or (``cat``) they are put side by side."""
    if name in _READS or name in _SPATIAL:
        return True
    if name == "cat":
        return bool((args[1] if len(args) > 1 else kwargs.get("dim", 0)) == 1)
    if name == "pad":
        return len(args[1]) <= 4  # height and width
    if name == "linear":
        return bool(args[0].ndim == 2)
    if name == "view":  # A2C2f's factor for each channel
        return isinstance(args[0], nn.Parameter) and args[0].ndim == 1
    return name in _POINTWISE and _same_channels([arg for arg in args if isinstance(arg, Tensor) and arg.ndim])


def _same_channels(tensors: list[Tensor]) -> bool:
    """Without broadcasting: a map of one channel times one of many would tie them all together."""
    return all(tensor.ndim == 4 for tensor in tensors) and len({tensor.shape[1] for tensor in tensors}) == 1
