"""Channel-wise distillation: every channel of a feature map as a distribution over positions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses.base import FeatureLoss, losses
from kd_yolo.losses.checks import POSITIVE, check_parameter


def channel_wise_kl(student_nchw: Tensor, teacher_nchw: Tensor, *, tau: float) -> Tensor:
    """``tau^2 / (N*C) * sum_nci p_T (log p_T - log p_S)`` with p = softmax of x/tau over the H*W positions i.

    Args:
        student_nchw: student map (N,C,H,W), adapted to the teacher's channels C.
        teacher_nchw: teacher map of the same shape.
        tau: temperature > 0; higher spreads a channel's attention over more positions.

    Returns:
        A scalar >= 0: the mean over images and channels. It does not change when a constant is added to a channel.

    References:
        Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, arXiv 2011.13256: the softmax
        over the positions of a channel and the KL divergence times T^2, averaged over channels.
    """
    maps = (x.flatten(2) if tau == 1 else x.flatten(2) / tau for x in (student_nchw, teacher_nchw))  # no copy for 1
    log_s_ncp, log_t_ncp = (F.log_softmax(x_ncp, dim=-1) for x_ncp in maps)
    num_channels = student_nchw.shape[0] * student_nchw.shape[1]
    return tau**2 * F.kl_div(log_s_ncp, log_t_ncp, reduction="sum", log_target=True) / num_channels


@losses.register("cwd")
class ChannelWiseLoss(FeatureLoss):
    """Where each channel looks: KL between softmaxes over the positions of every channel.

    The formula is the authors'. A term of a run standardises every channel of both maps before it (``standardize``, on
    for this loss), which theirs does not.

    Args:
        tau: temperature > 0.

    Raises:
        ConfigError: ``tau`` is not a number > 0; at the call, a map of one position.
    """

    paper = "Shu et al. 2021, arXiv 2011.13256"
    default_standardize = True

    def __init__(self, tau: float = 1.0) -> None:
        super().__init__()
        check_parameter("cwd", "tau", tau, POSITIVE, usual=1.0)
        self.tau = tau

    def compute(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """See :func:`channel_wise_kl`."""
        if student_nchw.shape[2:].numel() == 1:
            raise ConfigError(
                "loss 'cwd': the maps have one position (H*W = 1): a softmax over one position is always 1 and the loss"
                " always 0. Use --loss l2, or a larger image size."
            )
        return channel_wise_kl(student_nchw, teacher_nchw, tau=self.tau)
