"""Features before the ReLU that ends a stage, read by hooks.

The ReLU works in place, so the map must be cloned before it runs; and the same module serves all sums of a torchvision
block, so the last call of a forward is the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.reid.model.backbones import Backbone, final_relu, last_norms, residual_stages


@contextmanager
def pre_relu_features(backbone: Backbone, stages: Iterable[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """Reads the maps before the last ReLU of each stage while the context is open.

    Usage: ``with pre_relu_features(net.backbone) as maps: net(x); maps["layer4"]``.

    Args:
        backbone: a ResNet of torchvision or timm.
        stages: names of the stages to read; None reads all.

    Yields:
        The maps by stage, refilled by every forward.

    Raises:
        ConfigError: no such stage, or the backbone is no ResNet.
        AssertionError: the first map of a stage has no negative value, so it is not what it should be.
    """
    ends = residual_stages(backbone)
    norms = last_norms(backbone)
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for stage in ends if stages is None else stages:
            if stage not in ends:
                raise ConfigError(f"no stage '{stage}'.{nearest(stage, ends)} Known: {', '.join(ends)}.")
            relu = final_relu(ends[stage])
            assert relu is not None
            reader = _reader(seen, stage, norms[stage].num_features)
            hooks.callback(relu.register_forward_pre_hook(reader).remove)
            hooks.callback(ends[stage].register_forward_hook(_checker(seen, stage, norms[stage])).remove)
        yield seen


def _reader(seen: dict[str, Tensor], stage: str, channels: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def read(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[1] == channels:  # the inner maps of a bottleneck are narrower
            seen[stage] = inputs[0].clone()

    return read


def _checker(seen: dict[str, Tensor], stage: str, norm: nn.BatchNorm2d) -> Callable[..., None]:
    # timm starts the last gamma of a block at 0: then the map is that of the shortcut, which has no negative value yet
    checked = bool((norm.weight == 0).all())

    def check(*_: object) -> None:
        nonlocal checked
        assert checked or bool((seen[stage] < 0).any()), f"the map of {stage} before its ReLU has no negative value"
        checked = True

    return check
