"""Training for INT8 (``quantize=8``): upstream's fake quantisation, around a network that holds more than upstream's.

Upstream puts the quantisers into every convolution that it finds, and calibrates them by forward passes with the loss.
What a trainer registers on the network (adapters of losses, their criterion) is hidden from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from torch import nn
from ultralytics.engine import trainer as upstream
from ultralytics.utils import DEFAULT_CFG

from kd_yolo.training.checkpoint import CheckpointMixin
from kd_yolo.yolo.arguments.check import INT8, is_int8
from kd_yolo.yolo.files.quantized_state import import_modelopt, refuse_quantized


class QuantizedMixin(CheckpointMixin):
    """Lets upstream quantise the plain network, in a new run and in a resumed one."""

    def __init__(self, cfg: Any = DEFAULT_CFG, overrides: dict[str, Any] | None = None, _callbacks: Any = None) -> None:
        if is_int8((overrides or {}).get("quantize")):
            import_modelopt(INT8)  # before upstream seeds: runs of one process are then those of another one
        super().__init__(cfg, overrides, _callbacks)

    def _setup_train(self) -> None:
        with _quantizing(self.plain_model):
            super()._setup_train()

    def get_model(self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True) -> nn.Module:
        """The network to train.

        Raises:
            InputError: the weights of a new run are quantised already.
        """
        if weights is not None and not self.resume:
            refuse_quantized(weights, str(self.args.model), "to start from")
        return super().get_model(cfg, weights, verbose)  # type: ignore[no-any-return]


@contextmanager
def _quantizing(plain: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Inside, upstream's trainer puts quantisers in while ``plain`` hides what is ours."""
    names = ("prepare_qat", "restore_qat")
    before = {name: getattr(upstream, name) for name in names}

    def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with plain():
                return function(*args)

        return call

    vars(upstream).update({name: hidden(function) for name, function in before.items()})
    try:
        yield
    finally:
        vars(upstream).update(before)
