"""ID loss: every identity is a class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_yolo.losses.checks import SHARE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision


@in_full_precision
def identity_loss(logits_nk: Tensor, targets_n: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """``-1/N sum_n sum_k y_nk log softmax(z_n)_k``, y = 1 - e + e/K for the target and e/K for the others.

    Args:
        logits_nk: logits of the head, with its margin.
        targets_n: index of each row's identity.
        smoothing: e, >= 0 and < 1.

    Returns:
        A scalar.

    References:
        Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, arXiv 1512.00567, section 7.
    """
    return F.cross_entropy(logits_nk, targets_n, label_smoothing=smoothing)


@losses.register("id")
class IdentityLoss(ReIDLoss):
    """See :func:`identity_loss`.

    Args:
        smoothing: >= 0 and < 1.

    Raises:
        ConfigError: it is not.
    """

    paper = "Szegedy et al. 2016, arXiv 1512.00567"

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        check_parameter("id", "smoothing", smoothing, SHARE, usual=0.1)
        self.smoothing = smoothing

    def forward(self, logits_nk: Tensor, targets_n: Tensor) -> Tensor:
        """The loss of a batch."""
        return identity_loss(logits_nk, targets_n, smoothing=self.smoothing)
