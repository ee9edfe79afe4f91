"""The labelled part of a batch that images without labels were mixed into; labelled images come first."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor

NUM_LABELLED, NUM_MASKS = "num_labelled", "num_labelled_masks"
_PER_OBJECT = frozenset(("cls", "bboxes", "batch_idx", "keypoints"))
Preds = TypeVar("Preds")


def split_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """A mixed batch cut to its labelled images: an ordinary batch, as a task's loss wants it.

    Args:
        batch: of :class:`~kd_yolo.distill.unlabelled.MixedCollate`; it stays as it is. Rows of objects all belong to
            labelled images, as the others have none.
    """
    num_labelled, num_pictures = batch[NUM_LABELLED], len(batch["img"])
    out = {key: value for key, value in batch.items() if key not in (NUM_LABELLED, NUM_MASKS)}
    for key, value in out.items():
        if key == "masks":  # one per image with overlap_mask, else one an object
            out[key] = value[: batch[NUM_MASKS]]
        elif key not in _PER_OBJECT and isinstance(value, (Tensor, list, tuple)) and len(value) == num_pictures:
            out[key] = value[:num_labelled]
    return out


def split_predictions(preds: Preds, num_labelled: int) -> Preds:
    """A head's raw output for the first images: every tensor in it cut along its first axis.

    Args:
        preds: tensors (N,...) in dicts, lists and tuples, nested as the head likes.
        num_labelled: images to keep.
    """
    cut: Any = preds
    if isinstance(preds, Tensor):
        cut = preds[:num_labelled]
    elif isinstance(preds, dict):
        cut = {key: split_predictions(value, num_labelled) for key, value in preds.items()}
    elif isinstance(preds, (list, tuple)):
        cut = type(preds)(split_predictions(value, num_labelled) for value in preds)
    return cut  # type: ignore[no-any-return]
