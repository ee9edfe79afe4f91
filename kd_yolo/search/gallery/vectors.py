"""Vectors on their way in: checked, and brought to unit length block after block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import first_few
from kd_yolo.search.frames.frame_types import Floats


def check_vectors(vectors_nd: Floats, dim: int) -> Floats:
    """Checks embeddings.

    Args:
        vectors_nd: (N,D).
        dim: D.

    Returns:
        Their lengths (N).

    Raises:
        InputError: not two axes, another D, NaN or infinite values, a vector of zeros.
    """
    if vectors_nd.ndim != 2 or vectors_nd.shape[1] != dim:
        raise InputError(f"embeddings have shape {vectors_nd.shape}, expected (N,{dim}): one row a crop.")
    with np.errstate(over="ignore", invalid="ignore"):
        length_n = np.sqrt(np.einsum("nd,nd->n", vectors_nd, vectors_nd))
    wrong = np.flatnonzero(~np.isfinite(length_n) | (length_n == 0))
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(vectors_nd)} embeddings hold NaN or infinite values or are all zeros, first rows:"
            f" {first_few(wrong)}. Look at these images; if there are many, the network's training"
            " diverged: take another checkpoint."
        )
    return np.asarray(length_n, np.float32)


def unit_blocks(vectors_nd: Floats, chosen: npt.NDArray[np.int64], size: int) -> Iterator[Floats]:
    """The chosen rows at unit length, in blocks (B,D) of at most ``size``."""
    for start in range(0, len(chosen), size):
        block_bd = vectors_nd[chosen[start : start + size]].astype(np.float32, copy=False)
        block_bd /= np.linalg.norm(block_bd, axis=1, keepdims=True)
        yield block_bd
