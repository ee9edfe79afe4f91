"""Relational distillation: distances and angles between the images of a batch, whatever the embeddings' lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.checks import NOT_NEGATIVE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision

TINY = 1e-12


@in_full_precision
def distance_relation(student_nd: Tensor, teacher_nd: Tensor) -> Tensor:
    """``mean_{i != j} huber(|s_i - s_j| / mu_s - |t_i - t_j| / mu_t)``, mu the mean distance of the batch.

    Args:
        student_nd: embeddings of the student.
        teacher_nd: embeddings of the teacher, of any length; get no gradient.

    Returns:
        A scalar >= 0. It does not change when either side is moved, turned or scaled.

    References:
        Park et al., "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068, the distance-wise loss; the mean
        instead of the sum. Huber is x^2/2 up to |x| = 1 and |x| - 1/2 beyond.
    """
    _check_rows(student_nd, teacher_nd, at_least=2)
    return F.smooth_l1_loss(_scaled_distances(student_nd), _scaled_distances(_teacher(teacher_nd, student_nd)))


@in_full_precision
def angle_relation(student_nd: Tensor, teacher_nd: Tensor) -> Tensor:
    """``mean_{i,j,k different} huber(cos angle(s_i s_j s_k) - cos angle(t_i t_j t_k))`` with the corner at j.

    Args:
        student_nd: embeddings of the student.
        teacher_nd: embeddings of the teacher, of any length; get no gradient.

    Returns:
        A scalar >= 0. It does not change when either side is moved, turned or scaled.

    References:
        Park et al. 2019, arXiv 1904.05068, the angle-wise loss; the mean instead of the sum.
    """
    _check_rows(student_nd, teacher_nd, at_least=3)
    return F.smooth_l1_loss(_cosines(student_nd), _cosines(_teacher(teacher_nd, student_nd)))


@losses.register("relation")
class RelationLoss(ReIDLoss):
    """``distance * distance_relation + angle * angle_relation``, the mean over the teachers.

    Args:
        distance: weight >= 0 of the distances.
        angle: weight >= 0 of the angles; the paper weighs them twice as much.

    Raises:
        ConfigError: a weight is out of range, or both are 0; at the call, too few or unequal rows.
    """

    paper = "Park et al. 2019, arXiv 1904.05068"

    def __init__(self, distance: float = 1.0, angle: float = 2.0) -> None:
        super().__init__()
        for name, value, usual in (("distance", distance, 1.0), ("angle", angle, 2.0)):
            check_parameter("relation", name, value, NOT_NEGATIVE, usual=usual)
        if not distance and not angle:
            raise ConfigError("loss 'relation': distance and angle are both 0, and so would be the loss.")
        self.distance, self.angle = distance, angle

    def forward(self, features_nd: Tensor, teacher_features: Sequence[Tensor]) -> Tensor:
        """The loss of a batch."""
        return torch.stack([self._under_one(features_nd, teacher_nd) for teacher_nd in teacher_features]).mean()

    def _under_one(self, student_nd: Tensor, teacher_nd: Tensor) -> Tensor:
        terms = []
        if self.distance:
            terms.append(self.distance * distance_relation(student_nd, teacher_nd))
        if self.angle:
            terms.append(self.angle * angle_relation(student_nd, teacher_nd))
        return torch.stack(terms).sum()


def _teacher(teacher_nd: Tensor, student_nd: Tensor) -> Tensor:
    return teacher_nd.detach().to(student_nd.dtype)


def _gaps(x_nd: Tensor) -> Tensor:
    """``x_i - x_j`` at [j, i] for i != j: (N, N-1, D)."""
    count = len(x_nd)
    gap_nnd = x_nd.unsqueeze(0) - x_nd.unsqueeze(1)
    is_other_nn = ~torch.eye(count, dtype=torch.bool, device=x_nd.device)
    return gap_nnd[is_other_nn].view(count, count - 1, -1)


def _scaled_distances(x_nd: Tensor) -> Tensor:
    distance = torch.linalg.vector_norm(_gaps(x_nd), dim=-1)
    scaled: Tensor = distance / distance.mean().clamp(min=TINY)
    return scaled


def _cosines(x_nd: Tensor) -> Tensor:
    """Cosines of the angles with corner j between images i and k, both other than j and each other."""
    unit = F.normalize(_gaps(x_nd), dim=-1, eps=TINY)
    cosine = unit @ unit.transpose(1, 2)
    is_other = ~torch.eye(cosine.shape[1], dtype=torch.bool, device=x_nd.device)
    return cosine[:, is_other]


def _check_rows(student_nd: Tensor, teacher_nd: Tensor, at_least: int) -> None:
    if len(student_nd) != len(teacher_nd) or len(student_nd) < at_least:
        raise ConfigError(
            f"relations between {len(student_nd)} student and {len(teacher_nd)} teacher embeddings: expected the same"
            f" {at_least} images or more of both; raise train.ids or train.images."
        )
