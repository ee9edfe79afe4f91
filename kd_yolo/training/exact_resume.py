"""What an exact resume needs beyond ultralytics' own checkpoint.

Upstream saves the EMA weights and the optimizer in half precision, and neither the live weights nor any random state:
a resumed run is another run. Here is the missing rest: live weights, gradients that were accumulated but not yet
applied, random states, and the mosaic buffer. With in-process data loading (always so on CPU) a resumed run then
repeats the undisturbed one bit for bit.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn


def capture_random(loader: Any) -> dict[str, Any]:
    """Random states of this process and of the data loader, as plain containers and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "loader": loader.generator.get_state(),
    }


def restore_random(state: dict[str, Any], loader: Any) -> None:
    """Puts back what :func:`capture_random` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    loader.generator.set_state(state["loader"].cpu())


def exhaust_epoch(loader: Any) -> None:
    """Brings a new in-process loader to the point where an epoch has just ended, without loading an image.

    The sampler of a loader that has run an epoch draws once more from the generator when it finds its epoch exhausted;
    a new loader does not. Call before :func:`restore_random`.
    """
    loader.iterator = loader._get_iterator()
    for _ in range(len(loader)):
        loader.iterator._next_index()


def mixed_in(dataset: Any) -> tuple[Any, ...]:
    """Data sets whose images the batches of ``dataset`` have beside its own; each has a mosaic buffer of its own."""
    return getattr(dataset, "mixed_in", ())


def capture_mosaic(dataset: Any) -> list[int]:
    """Indices of the images that mosaic chooses from, oldest first."""
    return [int(i) for i in getattr(dataset, "buffer", [])]


def restore_mosaic(dataset: Any, indices: list[int]) -> None:
    """Loads the same images into the mosaic buffer, in the same order."""
    if hasattr(dataset, "buffer") and not dataset.buffer:
        for index in indices:
            dataset.load_image(index)


def live_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of a model's parameters and buffers."""
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def pending_gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Gradients that are accumulated but not yet applied, by parameter name."""
    return {k: p.grad.detach().cpu().clone() for k, p in model.named_parameters() if p.grad is not None}


class CarriedAccumulation:
    """Continues gradient accumulation across a resume.

    Accumulation runs across epochs, so at an epoch's end gradients may wait for a step. The training loop starts a
    resumed run as if none did; this puts the gradients back and lets the first step happen where it was due.

    Args:
        gradients: what :func:`pending_gradients` returned.
        last_step: global index of the batch after which the optimizer last stepped.
    """

    def __init__(self, gradients: dict[str, torch.Tensor], last_step: int) -> None:
        self.gradients, self.last_step = gradients, last_step
        self.due_after = 0

    def begin_batch(self, trainer: Any, model: nn.Module) -> None:
        """Before a batch: restores the gradients once, and makes the loop ask for a step after every batch."""
        parameters = dict(model.named_parameters())
        for name, gradient in self.gradients.items():
            parameters[name].grad = gradient.to(parameters[name].device)
        self.gradients = {}
        self.due_after, trainer.accumulate = trainer.accumulate, 1

    def is_due(self, trainer: Any, step: int) -> bool:
        """After a batch: whether the optimizer steps now; undoes what :meth:`begin_batch` did to the loop."""
        trainer.accumulate = self.due_after
        return step - self.last_step >= self.due_after
