"""Center loss: every feature is drawn to the running centre of its identity."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_yolo.losses.base import at_least_float32
from kd_yolo.losses.checks import COUNT, Rule, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision

RATE = Rule("a share > 0 and <= 1", lambda x: 0 < x <= 1)


@in_full_precision
def center_loss(features_nd: Tensor, centers_nd: Tensor) -> Tensor:
    """``1/(2N) sum_n |f_n - c_{y_n}|^2``.

    Args:
        features_nd: features before BNNeck's norm.
        centers_nd: the centre of each row's identity; gets no gradient.

    Returns:
        A scalar >= 0. It grows with the square of the features' scale: the usual weight is 5e-4.

    References:
        Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equation 2; the
        mean over images instead of the sum.
    """
    return (features_nd - centers_nd.detach()).square().sum(1).mean() / 2


@torch.no_grad()
def moved_centers(centers_kd: Tensor, features_nd: Tensor, targets_n: Tensor, rate: float) -> Tensor:
    """``c_k - rate * sum_{n: y_n = k} (c_k - f_n) / (1 + N_k)``, equation 4 of the paper.

    Args:
        centers_kd: centres.
        features_nd: features.
        targets_n: index of each row's identity.
        rate: the paper's alpha.
    """
    features_nd = features_nd.to(centers_kd.dtype)
    step_kd = torch.zeros_like(centers_kd).index_add_(0, targets_n, centers_kd[targets_n] - features_nd)
    count_k = torch.bincount(targets_n, minlength=len(centers_kd))
    return centers_kd - rate * step_kd / (1 + count_k).unsqueeze(1)


@losses.register("center")
class CenterLoss(ReIDLoss):
    """Center loss whose centres follow the features by the paper's own rule, so no optimizer has them.

    The centres start at 0 and move once for each call in training mode, after the loss is taken; they are a buffer, so
    ``state_dict`` has them and a resumed run continues. Several processes call it with the features of all of them.

    Args:
        num_identities: identities K.
        dim: length D of the features.
        rate: alpha > 0 and <= 1: how far a centre moves.

    Raises:
        ConfigError: a parameter is out of range.
    """

    paper = "Wen et al., ECCV 2016"
    centers_kd: Tensor

    def __init__(self, num_identities: int, dim: int, rate: float = 0.5) -> None:
        super().__init__()
        check_parameter("center", "num_identities", num_identities, COUNT, usual=751)
        check_parameter("center", "dim", dim, COUNT, usual=2048)
        check_parameter("center", "rate", rate, RATE, usual=0.5)
        self.rate = rate
        self.register_buffer("centers_kd", torch.zeros(num_identities, dim))

    def forward(self, features_nd: Tensor, targets_n: Tensor) -> Tensor:
        """The loss of a batch, on the centres before they move."""
        loss = center_loss(features_nd, self.centers_kd[targets_n])
        if self.training:
            self.centers_kd = moved_centers(self.centers_kd, at_least_float32(features_nd), targets_n, self.rate)
        return loss
