"""Box distillation: the overlap of the student's decoded boxes with the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import ResponseLoss, losses
from kd_yolo.losses.gate import gated_mean

# An area below this counts as none: a square with sides of a millionth of a unit. Keeps quotients and their gradients
# finite in float32.
TINY = 1e-12


def ratio(part_na: Tensor, whole_na: Tensor, *, of_nothing: float) -> Tensor:
    """``part / whole``, and the constant ``of_nothing`` where the whole is no area."""
    is_area = whole_na > TINY
    return torch.where(is_area, part_na / torch.where(is_area, whole_na, 1), of_nothing)


def area(low_n2a: Tensor, high_n2a: Tensor) -> Tensor:
    """Area (N,A) between two corners; 0 where one lies on the wrong side of the other."""
    return (high_n2a - low_n2a).clamp(min=0).prod(1)


def giou(student_n4a: Tensor, teacher_n4a: Tensor) -> Tensor:
    """``I/U - (H - U)/H`` of every pair: I the intersection, U the union, H the smallest box around both.

    A box with swapped corners has no area, so it costs at least 1. The paper swaps such corners back; for a head
    whose distances can be negative that would pull the corners further apart the wrong way. Two boxes that both have no
    area count as overlapping, so that equal boxes always give 1.

    Args:
        student_n4a: student boxes (N,4,A): x0, y0, x1, y1.
        teacher_n4a: teacher boxes of the same shape, in the same unit.

    Returns:
        The generalised IoU of each pair (N,A), in [-1, 1]; 1 for equal boxes. It does not change when both boxes are
        moved or scaled together.

    References:
        Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019, arXiv 1902.09630, algorithm 1.
    """
    (low_s_n2a, high_s_n2a), (low_t_n2a, high_t_n2a) = student_n4a.chunk(2, 1), teacher_n4a.chunk(2, 1)
    shared_na = area(torch.maximum(low_s_n2a, low_t_n2a), torch.minimum(high_s_n2a, high_t_n2a))
    union_na = area(low_s_n2a, high_s_n2a) + area(low_t_n2a, high_t_n2a) - shared_na
    hull_na = area(torch.minimum(low_s_n2a, low_t_n2a), torch.maximum(high_s_n2a, high_t_n2a))
    return ratio(shared_na, union_na, of_nothing=1) - ratio(hull_na - union_na, hull_na, of_nothing=0)


@losses.register("box_iou")
class BoxIoULoss(ResponseLoss):
    """How well boxes overlap: 1 - GIoU with the teacher's; for heads without DFL, or with other bins.

    Raises:
        ConfigError: at the call, tensors that are not boxes, or a weight that does not fit.
    """

    paper = "Rezatofighi et al. 2019, arXiv 1902.09630"
    default_weight = 3.0  # as dfl_kl
    context = frozenset({"weight_na"})
    reads = "boxes"
    axes = ("N", "4", "A")
    shape_help = "boxes need equal anchor points: compare the levels that both heads have, of images of one size."

    def compute(
        self,
        student_n4a: Tensor,
        teacher_n4a: Tensor,
        *,
        weight_na: Tensor | None = None,
    ) -> Tensor:
        """``1 - GIoU``; see :func:`giou` and :func:`kd_yolo.losses.gate.gated_mean`."""
        if student_n4a.shape[1] != 4:
            raise ConfigError(
                f"loss 'box_iou': the tensors have {student_n4a.shape[1]} channels, expected 4: x0, y0, x1, y1."
                " Decode box distributions first, or compare them with --loss dfl_kl."
            )
        return gated_mean(1 - giou(student_n4a, teacher_n4a), weight_na, name="weight_na")
