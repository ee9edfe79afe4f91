"""Sparse training: a proximal L1 penalty that makes a wanted share of BatchNorm gammas exactly zero.

A penalty ``lambda sum |gamma|`` in the loss shrinks gammas but leaves none at zero, as its gradient jumps over it. The
proximal step, a soft threshold after each optimizer step, lands on it::

    gamma <- sign(gamma) max(|gamma| - lr lambda, 0)

Lambda follows from the schedule. A gamma without a gradient of its own loses ``lambda sum(lr)`` over the optimizer
steps that are left, so ``lambda = q / sum(lr)`` takes the gamma of size ``q`` and all smaller ones to zero just at the
end. It is derived anew in each step, from the gammas as they are. Whatever the optimizer does, no more of them become
zero than wanted (a threshold is at most ``q``), and after the last step it is as many as wanted (there it is ``q``).

References:
    Liu et al. 2017 (network slimming), arXiv 1708.06519, equation 1; Parikh & Boyd 2014, "Proximal Algorithms",
    section 6.5.2 (soft threshold).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def soft_threshold(values: Tensor, threshold: Tensor) -> Tensor:
    """``sign(v) max(|v| - t, 0)`` with exact zeros, for thresholds that are not negative."""
    return values - values.clamp(-threshold, threshold)


def size_at(share: float, sizes: Tensor) -> Tensor:
    """The size that a share of ``sizes`` (C,) does not exceed, 0 for a share of less than half of one."""
    count = round(share * sizes.numel())
    return sizes.sort().values[count - 1] if count else sizes.new_zeros(())


@torch.no_grad()
def shrink(gammas: Sequence[Tensor], rates: Sequence[float], share: float, steps_left: float) -> Tensor:
    """One proximal step, in place.

    Args:
        gammas: BatchNorm weights (C,), one tensor a layer.
        rates: the learning rate, above 0, that each of them had in the optimizer step that was just made.
        share: of all gammas that shall be zero at the end, in (0, 1).
        steps_left: sum of the learning rates over this step and all that follow, divided by that of this step: 1 in the
            last step.

    Returns:
        Lambda, a scalar.
    """
    flat = torch.cat(list(gammas))
    ratios = torch.cat([torch.full_like(g, rate / rates[0]) for g, rate in zip(gammas, rates, strict=True)])
    threshold = size_at(share, flat.abs() / ratios) / steps_left  # of a gamma with the first one's rate
    thinned = soft_threshold(flat, threshold * ratios)
    for gamma, new in zip(gammas, torch.split(thinned, [len(g) for g in gammas]), strict=True):
        gamma.copy_(new)
    return threshold / rates[0]


def zero_share(gammas: Sequence[Tensor]) -> float:
    """Share of the gammas that are exactly zero."""
    return float((torch.cat([gamma.detach() for gamma in gammas]) == 0).float().mean())
