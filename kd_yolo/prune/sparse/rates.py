"""The optimizer steps that are still to come, and their learning rates."""

from __future__ import annotations

from collections.abc import Callable


def rates_after(batch: int, *, every: int, batches: int, epochs: int, factor: Callable[[int], float]) -> float:
    """Sum of the learning rates of all optimizer steps after the one at ``batch``, as shares of the initial rate.

    Ultralytics steps when ``every`` batches have passed since the last step, across epochs. It is so in warm-up too in
    this sum; the true one is smaller there, as rates rise from 0.

    Args:
        batch: at which the optimizer steps, counted over the whole run; -1 is before the first.
        every: batches to a step.
        batches: of an epoch.
        epochs: of the run.
        factor: epoch -> share of the initial learning rate.
    """
    total = 0.0
    for epoch in range(batch // batches, epochs):
        before = max(epoch * batches - 1 - batch, 0) // every  # steps that are made when the epoch begins
        total += (((epoch + 1) * batches - 1 - batch) // every - before) * factor(epoch)
    return total
