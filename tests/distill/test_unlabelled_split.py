"""The task's loss of the split of a mixed batch is that of the labelled batch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.utils import DEFAULT_CFG

from kd_yolo.distill.split import split_batch, split_predictions

LABELLED, UNLABELLED, SIZE_PX = 3, 2, 64
HEADS = [
    "Detect",
    "v10Detect",
    "Detect26",
    *(f"{task}{form}" for form in ("", "26") for task in ("Segment", "Pose", "OBB")),
]


def network(yaml: str) -> Any:
    """An untrained network in training mode but for BatchNorm."""
    torch.manual_seed(0)
    model: Any = YOLO(yaml).model
    model.args = DEFAULT_CFG
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def batch_of(head: str, num_images: int, model: Any) -> dict[str, Any]:
    """The first images of a set of five, the first three of which have two objects each, in ultralytics' layout."""
    torch.manual_seed(1)
    images, objects = torch.rand(LABELLED + UNLABELLED, 3, SIZE_PX, SIZE_PX), 2 * LABELLED
    masks = torch.zeros(LABELLED + UNLABELLED, SIZE_PX // 4, SIZE_PX // 4)
    masks[:LABELLED, 2:9, 2:9], masks[:LABELLED, 5:12, 5:12] = 1, 2
    boxes = torch.tensor([[0.4, 0.4, 0.5, 0.5, 0.3], [0.5, 0.5, 0.4, 0.4, 0.6]]).repeat(LABELLED, 1)
    batch = {
        "img": images[:num_images],
        "im_file": tuple(str(i) for i in range(num_images)),
        "cls": torch.arange(objects).float()[:, None] % model.model[-1].nc,
        "bboxes": boxes if head.startswith("OBB") else boxes[:, :4],
        "batch_idx": torch.arange(LABELLED).repeat_interleave(2).float(),
        "masks": masks[:num_images],
        "sem_masks": masks[:num_images].clone(),
    }
    if head.startswith("Pose"):
        batch["keypoints"] = torch.rand(objects, *model.model[-1].kpt_shape)
    return batch


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_is_that_of_the_labelled_batch_alone(tiny_yaml: Callable[..., str], head: str) -> None:
    model = network(tiny_yaml(classes=3, head=head))
    alone = batch_of(head, LABELLED, model)
    mixed = {**batch_of(head, LABELLED + UNLABELLED, model), "num_labelled": LABELLED, "num_labelled_masks": LABELLED}
    expected, items = model.loss(alone)
    loss, split_items = model.loss(split_batch(mixed), split_predictions(model(mixed["img"]), LABELLED))
    assert torch.isfinite(expected).all()
    assert (expected > 0).sum() >= 2
    assert torch.allclose(loss, expected, rtol=1e-6, atol=1e-6)
    assert split_items.keys() == items.keys()
    assert not torch.allclose(model.loss(mixed)[0], expected, rtol=1e-3)  # unsplit, the others count as background


@pytest.mark.parametrize("head", ["Segment26", "Pose26", "OBB"])
def test_every_tensor_is_cut_and_the_rest_is_kept(tiny_yaml: Callable[..., str], head: str) -> None:
    model = network(tiny_yaml(classes=3, head=head))
    preds = model(torch.rand(4, 3, SIZE_PX, SIZE_PX))

    def leaves(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
        return [value] if inner is None else [leaf for part in inner for leaf in leaves(part)]

    cut = split_predictions(preds, 3)
    assert cut.keys() == preds.keys()
    assert len(leaves(cut)) == len(leaves(preds)) > 3
    for whole, part in zip(leaves(preds), leaves(cut), strict=True):
        assert torch.equal(part, whole[:3])
    assert split_predictions({"a": None, "b": (1, [torch.ones(4)])}, 2)["a"] is None


def test_the_gradient_of_unlabelled_images_is_zero(tiny_yaml: Callable[..., str]) -> None:
    model = network(tiny_yaml(classes=3, head="Detect26"))
    mixed = {**batch_of("Detect26", 5, model), "num_labelled": LABELLED, "num_labelled_masks": LABELLED}
    images = mixed["img"].requires_grad_()
    loss, _ = model.loss(split_batch(mixed), split_predictions(model(images), LABELLED))
    (gradient,) = torch.autograd.grad(loss.sum(), images)
    assert gradient[:LABELLED].abs().sum() > 0
    assert gradient[LABELLED:].abs().sum() == 0
