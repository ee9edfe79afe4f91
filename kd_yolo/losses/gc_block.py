"""The global context block with which FGD compares how the positions of a map relate."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalContext(nn.Module):
    """``R(F) = F + W2 ReLU(LN(W1 sum_p F_p * softmax_p(Wk F)))``: what the whole map has to say to each position.

    Args:
        channels: channels C of the map.

    References:
        Cao et al., "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", 2019, arXiv 1904.11492;
        with C/2 inner channels as in FGD (arXiv 2111.11837).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.look = nn.Conv2d(channels, 1, 1)
        self.say = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.LayerNorm([inner, 1, 1]), nn.ReLU(), nn.Conv2d(inner, channels, 1)
        )

    def forward(self, x_nchw: Tensor) -> Tensor:
        """The map (N,C,H,W) plus its context, which is the same at every position."""
        share_np1 = self.look(x_nchw).flatten(2).softmax(-1).transpose(1, 2)
        pooled_nc1 = x_nchw.flatten(2) @ share_np1
        said_nc11: Tensor = self.say(pooled_nc1.unsqueeze(-1))
        return x_nchw + said_nc11


def build_context_blocks(channels: int, seed: int) -> tuple[GlobalContext, GlobalContext]:
    """The student's block and the teacher's.

    As the authors initialise them: Kaiming normal where the block looks, and 0 in the last convolution, so that at
    first both return their input. The weights come from a seed of their own; the global random state is left as it
    was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
        blocks = GlobalContext(channels), GlobalContext(channels)
        for block in blocks:
            nn.init.kaiming_normal_(block.look.weight, mode="fan_in", nonlinearity="relu")
            last = block.say[-1]
            assert isinstance(last, nn.Conv2d)
            assert block.look.bias is not None
            assert last.bias is not None
            for zero in (block.look.bias, last.weight, last.bias):
                nn.init.zeros_(zero)
    return blocks
