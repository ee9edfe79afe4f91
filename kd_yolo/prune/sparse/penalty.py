"""Sparse training: a proximal penalty that makes a wanted share of the BatchNorm gammas exactly zero.

A penalty ``lambda sum |gamma|`` in the loss shrinks gammas but leaves none at zero, as its gradient jumps over it. The
proximal step, a soft threshold after each optimizer step, lands on it::

    gamma <- sign(gamma) max(|gamma| - lr lambda, 0)

Three things make it fit for pruning:

- Channels that can only be cut together have their gammas in one group, and the threshold works on the size of the
  channel, the root mean square of its gammas: they become zero together.
- It works on the channels of a group that are to go, the smallest ones up to size ``q``, and leaves the others as they
  are: a capped penalty ``lambda sum min(size, q)``. The share holds in each group, so that no layer dies.
- Lambda follows from the schedule. A channel without a gradient of its own loses ``lambda sum(lr)`` over the optimizer
  steps that are left, so ``lambda = q / sum(lr)`` takes the size ``q`` to zero just at the end. It is recomputed in
  each step, from the gammas as they are. Whatever the optimizer does, no more channels become zero than wanted (a
  threshold is at most ``q``), and after the last of these steps as many are as wanted (there it is ``q``). A step with
  none left keeps it so: it sets as many to zero again as have moved.

References:
    Liu et al. 2017 (network slimming), arXiv 1708.06519, equation 1; Yuan & Lin 2006 (group lasso); Zhang 2010,
    "Analysis of Multi-stage Convex Relaxation for Sparse Regularization" (capped L1); Parikh & Boyd 2014, "Proximal
    Algorithms", section 6.5 (soft threshold, alone and of a block).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Group = Sequence[Tensor]  # gammas (C,) of a group of C channels, one tensor a layer


@torch.no_grad()
def shrink(groups: Sequence[Group], share: float, steps_left: float) -> Tensor:
    """One proximal step, in place.

    Args:
        groups: gammas of the channels that go together.
        share: of each group's channels that shall be zero at the end, in (0, 1); rounded to whole channels.
        steps_left: sum of the learning rates over the optimizer step just made and all that follow until the zeros
            shall be complete, divided by that of the step just made: 1 in the last step, and to keep the zeros.

    Returns:
        The thresholds (G,), ``lr lambda`` of each group.
    """
    return torch.stack([_shrink_group(group, share, steps_left) for group in groups])


def _shrink_group(gammas: Group, share: float, steps_left: float) -> Tensor:
    size = torch.stack(list(gammas)).square().mean(0).sqrt()
    count = round(share * len(size))
    if count == 0:
        return size.new_zeros(())
    going = size.argsort(stable=True)[:count]  # of equal channels the first, so that it is the same ones in every step
    threshold = size[going[-1]] / steps_left
    factor = torch.ones_like(size)
    factor[going] = torch.where(size > threshold, 1 - threshold / size, 0.0)[going]
    for gamma in gammas:
        gamma.mul_(factor)
    return threshold


def zero_share(groups: Sequence[Group]) -> float:
    """Share of the gammas that are exactly zero."""
    return float((torch.cat([gamma for group in groups for gamma in group]) == 0).float().mean())
