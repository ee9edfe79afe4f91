"""The criterion of an RT-DETR: its own losses by name, and the weighted terms as one more."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from kd_yolo.distill.criterion import DistillCriterion, sum_of
from kd_yolo.distill.outputs import Labels, boxes_of
from kd_yolo.distill.split import Part

DISTILLED = "loss_distilled"  # among the losses that RT-DETR adds up


class QueryCriterion(DistillCriterion):
    """:class:`DistillCriterion` in the form in which ``RTDETRDetectionModel.loss`` calls its criterion.

    It is called with the queries, those for denoising apart, and answers with a dict, which the network adds up; it
    shows three of the losses, so the terms are in :attr:`items`. RT-DETR's loss is a mean over objects and does not
    grow with the batch, so neither do the terms.

    Attributes:
        items: the terms of the last call by column name, detached.
    """

    items: dict[str, Tensor]
    _image: Tensor | None = None

    def observe(self, image_nchw: Tensor, progress: float, *, times: int = 1) -> None:
        super().observe(image_nchw, progress, times=times)
        self._image = image_nchw

    def forget(self) -> None:
        super().forget()
        self._image, self.items = None, {}

    def __call__(  # type: ignore[override]  # what upstream's network calls is another one
        self, preds: tuple[Tensor, Tensor], targets: dict[str, Any], **denoising: Any
    ) -> dict[str, Tensor]:
        """All losses by name, :data:`DISTILLED` among them.

        Args:
            preds: boxes (1+L,N,Q,4) and class logits (1+L,N,Q,K): the encoder's proposals and each decoder layer.
            targets: ``cls`` (M,), ``bboxes`` (M,4) centre and size as shares of the image, ``batch_idx`` (M,),
                ``gt_groups``: objects of each image.
            **denoising: upstream's ``dn_bboxes``, ``dn_scores`` and ``dn_meta``.
        """
        losses: dict[str, Tensor] = self._task()(preds, targets, **denoising)
        if not self.model.training:
            return losses
        task, num_images = sum_of(losses.values(), preds[0].device), preds[0].shape[1]
        image, teachers = self._image, self._pending
        self._image, self._pending = None, []
        student = self.student.outputs(preds) if teachers else None
        labels = self._labels(targets, image) if self.needs_labels and teachers else None
        whole = Part("", slice(0, num_images), num_images, labels)
        terms, self.items = self._weighted_terms(student, teachers, [whole])
        distilled = sum_of(terms.values(), task.device)
        self._measure_shares(preds, task, distilled, terms)
        return {**losses, DISTILLED: distilled}

    def _labels(self, targets: dict[str, Any], image: Tensor | None) -> Labels:
        assert image is not None, "observed before"
        height, width = image.shape[-2:]
        return Labels(boxes_of({**targets, "img": image}, len(image)), (height, width))

    def _count(self, part: Part) -> float:
        del part
        return 1.0
