"""Random numbers that depend on what is drawn, never on when: one independent stream per seed and key."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Rng = np.random.Generator


def stream(seed: int, *keys: int | str) -> Rng:
    """A generator for one thing, such as ``stream(0, "image", 17)``.

    The same arguments give the same numbers whatever was drawn before and in whichever process.
    """
    words = [seed, *(key if isinstance(key, int) else zlib.crc32(key.encode()) for key in keys)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def pick(rng: Rng, choices: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of ``choices``; ``weights`` need not sum to one."""
    if weights is None:
        return choices[int(rng.integers(len(choices)))]
    edges = np.cumsum(weights)
    return choices[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def chance(rng: Rng, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def between(rng: Rng, low: float, high: float) -> float:
    """A uniform number in [low, high)."""
    return float(low + (high - low) * rng.random())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block the global generators of Python, NumPy and PyTorch (CPU) start from ``seed``; then as before."""
    import torch  # whoever draws scenes does not need it

    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs as well
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
