"""Objectness-scaled distillation: classes and boxes compared as far as the teacher sees an object."""

from __future__ import annotations

from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import ResponseLoss, losses
from kd_yolo.losses.checks import NOT_NEGATIVE, POSITIVE, check_choice, check_parameter
from kd_yolo.losses.gate import checked_gate
from kd_yolo.losses.kl import class_kl


def _mean_over_all(loss_na: Tensor, gate_na: Tensor) -> Tensor:
    """``mean_na(gate * loss)``: over all anchors, so a batch with few objects has a small loss."""
    return (checked_gate(loss_na, gate_na) * loss_na).mean()


@losses.register("obj_gated")
class ObjectnessLoss(ResponseLoss):
    """Class logits and box distances where the teacher sees an object: squared error, or KL of the classes.

    ``mean(o * d(z_s, z_t)) + box_weight * mean_n4a(o * (b_s - b_t)^2)`` with the gate o, class logits z and box
    distances b. For ``kind="l2"`` d is the squared error and its mean is over images, classes and anchors; for
    ``kind="kl"`` it is :func:`kd_yolo.losses.kl.class_kl` and the mean over images and anchors.

    The paper scales by the teacher's objectness; heads of today have none, so o is its best class score. Only this soft
    part knows the teacher: the hard loss stays the labels', and an image without labels contributes the soft part
    alone.

    Args:
        kind: ``"l2"`` or ``"kl"``; KL needs two classes or more.
        tau: temperature > 0 of the KL; l2 has none.
        box_weight: weight >= 0 of the boxes.

    Raises:
        ConfigError: a parameter is out of range; at the call, no class, one class with ``kind="kl"``, or a gate that
            does not fit.

    References:
        Mehta and Ozturk, "Object detection at 200 Frames Per Second", ECCV 2018 workshops, arXiv 1805.06361: the
        objectness scaled function for distillation.
    """

    paper = "Mehta & Ozturk 2018, arXiv 1805.06361"
    context = frozenset({"gate_na"})
    required = frozenset({"gate_na"})
    reads = "predictions"
    axes = ("N", "4+K", "A")
    shape_help = (
        "predictions need equal classes and anchor points."
        " Use a feature loss (--loss cwd), or --loss box_iou, which needs no classes."
    )

    def __init__(self, kind: str = "l2", tau: float = 1.0, box_weight: float = 1.0) -> None:
        super().__init__()
        check_choice("obj_gated", "kind", kind, ("l2", "kl"))
        check_parameter("obj_gated", "tau", tau, POSITIVE, usual=1.0)
        check_parameter("obj_gated", "box_weight", box_weight, NOT_NEGATIVE, usual=1.0)
        if kind == "l2" and tau != 1:
            raise ConfigError(
                f"loss 'obj_gated': tau is {tau!r}, but the squared error of kind=l2 has no temperature:"
                " leave tau out, or use kind=kl."
            )
        self.kind_of_class_term = kind
        self.tau = tau
        self.box_weight = box_weight

    def compute(self, student_nca: Tensor, teacher_nca: Tensor, *, gate_na: Tensor) -> Tensor:
        """The class term plus the weighted box term."""
        num_channels = student_nca.shape[1]
        if num_channels < 5:
            raise ConfigError(
                f"loss 'obj_gated': the predictions have {num_channels} channels, expected 5 or more: 4 box distances,"
                " then the class logits."
            )
        box_error_na = (student_nca[:, :4] - teacher_nca[:, :4]).square().mean(1)
        class_error_na = self._class_error(student_nca[:, 4:], teacher_nca[:, 4:])
        return _mean_over_all(class_error_na, gate_na) + self.box_weight * _mean_over_all(box_error_na, gate_na)

    def _class_error(self, student_nka: Tensor, teacher_nka: Tensor) -> Tensor:
        """Distance (N,A) of the class logits of every anchor point."""
        if self.kind_of_class_term == "l2":
            return (student_nka - teacher_nka).square().mean(1)
        if student_nka.shape[1] == 1:
            raise ConfigError(
                "loss 'obj_gated': the predictions have 1 class: with kind=kl the softmax over one class is always 1"
                " and the class term always 0. Use kind=l2, or --loss bkd, a yes/no question for each class."
            )
        return class_kl(student_nka, teacher_nka, tau=self.tau)
