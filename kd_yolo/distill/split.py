"""The labelled part of a batch that images without labels were mixed into; labelled images come first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from kd_yolo.config.distill import UNLABELLED_SUFFIX
from kd_yolo.distill.outputs import Labels, boxes_of

NUM_LABELLED, NUM_MASKS = "num_labelled", "num_labelled_masks"
_PER_OBJECT = frozenset(("cls", "bboxes", "batch_idx", "keypoints"))
Preds = TypeVar("Preds")


@dataclass(frozen=True)
class Part:
    """Some images of a batch: the labelled or the unlabelled ones, or all.

    Attributes:
        suffix: of their columns.
        images: where they stand in the batch.
        num_images: how many there are.
        labels: what is known of them.
    """

    suffix: str
    images: slice
    num_images: int
    labels: Labels | None


def parts_of(batch: dict[str, Any], labels: Labels | None) -> list[Part]:
    """Labelled images first, as they stand in the batch.

    Args:
        batch: ultralytics' batch; the number of labelled images is in it where others were mixed in.
        labels: of the labelled images.
    """
    num_images = len(batch["img"])
    num_labelled = int(batch.get(NUM_LABELLED, num_images))
    parts = [Part("", slice(0, num_labelled), num_labelled, labels)]
    if num_labelled < num_images:
        rest = slice(num_labelled, num_images)
        parts.append(Part(UNLABELLED_SUFFIX, rest, num_images - num_labelled, None))
    return parts


def labels_of(batch: dict[str, Any], assigned_na: Tensor | None = None) -> Labels:
    """What the terms look at of the labels of a batch's labelled images.

    Args:
        batch: ultralytics' batch.
        assigned_na: anchors with an object, where they were watched.
    """
    num_images, (height, width) = len(batch["img"]), batch["img"].shape[-2:]
    return Labels(boxes_of(batch, int(batch.get(NUM_LABELLED, num_images))), (height, width), assigned_na)


def split_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """A mixed batch cut to its labelled images: an ordinary batch, as a task's loss wants it.

    Args:
        batch: of :class:`~kd_yolo.distill.unlabelled.MixedCollate`; it stays as it is. Rows of objects all belong to
            labelled images, as the others have none.
    """
    num_labelled, num_all = batch[NUM_LABELLED], len(batch["img"])
    out = {key: value for key, value in batch.items() if key not in (NUM_LABELLED, NUM_MASKS)}
    for key, value in out.items():
        if key == "masks":  # one per image with overlap_mask, else one an object
            out[key] = value[: batch[NUM_MASKS]]
        elif key not in _PER_OBJECT and isinstance(value, (Tensor, list, tuple)) and len(value) == num_all:
            out[key] = value[:num_labelled]
    return out


def split_queries(
    preds: tuple[Tensor, Tensor], targets: dict[str, Any], denoising: dict[str, Any], num_labelled: int
) -> tuple[tuple[Tensor, Tensor], dict[str, Any], dict[str, Any]]:
    """What an RT-DETR's loss is called with, for the first images of a mixed batch: the others have no objects.

    Args:
        preds: boxes (L,N,Q,4) and class logits (L,N,Q,K).
        targets: upstream's; ``gt_groups`` has the number of objects of each image.
        denoising: ``dn_bboxes`` (L,N,D,4), ``dn_scores`` (L,N,D,K) and ``dn_meta``, or None for each.
        num_labelled: images to keep.
    """
    meta, num_all = denoising.get("dn_meta"), preds[0].shape[1]
    boxes, scores = (x[:, :num_labelled] for x in preds)
    cut = {key: x[:, :num_labelled] if isinstance(x, Tensor) else x for key, x in denoising.items()}
    if meta is not None:  # lists of an entry an image
        of_images = ("dn_pos_idx", "dn_gt_idx")
        assert all(len(meta[key]) == num_all for key in of_images if key in meta), "an entry an image"
        cut["dn_meta"] = {key: value[:num_labelled] if key in of_images else value for key, value in meta.items()}
    return (boxes, scores), {**targets, "gt_groups": targets["gt_groups"][:num_labelled]}, cut


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
