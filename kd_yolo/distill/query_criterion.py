"""The criterion of an RT-DETR: its own losses by name, and the weighted terms as one more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from kd_yolo.distill.criterion import DistillCriterion, sum_of
from kd_yolo.distill.split import NUM_LABELLED, Part, labels_of, parts_of, split_queries

DISTILLED = "loss_distilled"  # among the losses that RT-DETR adds up


class QueryCriterion(DistillCriterion):
    """:class:`DistillCriterion` in the form in which ``RTDETRDetectionModel.loss`` calls its criterion.

    It is called with the queries, those for denoising apart, and answers with a dict, which the network adds up; it
    shows three of the losses, so the terms are in :attr:`items`. RT-DETR's loss is a mean over objects and does not
    grow with the batch, so neither do the terms: the labelled images count as one, unlabelled ones by their share.

    Attributes:
        items: the terms of the last call by column name, detached.
    """

    items: dict[str, Tensor]
    _batch: dict[str, Any] | None = None

    def observe(self, batch: dict[str, Any], progress: float, *, times: int = 1) -> None:
        super().observe(batch, progress, times=times)
        self._batch = batch

    def forget(self) -> None:
        super().forget()
        self._batch, self.items = None, {}

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
        batch, teachers = self._batch, self._pending
        self._batch, self._pending = None, []
        count = None if batch is None else batch.get(NUM_LABELLED)
        own = (preds, targets, denoising) if count is None else split_queries(preds, targets, denoising, count)
        losses: dict[str, Tensor] = self._task()(*own[:2], **own[2])
        if not self.model.training or batch is None:
            return losses
        task = sum_of(losses.values(), preds[0].device)
        labels = labels_of(batch) if self.needs_labels and teachers else None
        student = self.student.outputs(preds) if teachers else None
        terms, self.items = self._weighted_terms(student, teachers, parts_of(batch, labels))
        distilled = sum_of(terms.values(), task.device)
        self._measure_shares(preds, task, distilled, terms)
        return {**losses, DISTILLED: distilled}

    def _unit(self, parts: Sequence[Part]) -> int:
        return parts[0].num_images
