"""Logit distillation: the student's distribution over identities follows the teacher's.

Logits come without a margin (``s * cos(theta)``), and both networks must have the same identities in the same order:
:func:`kd_yolo.reid.model.checkpoint.check_identities`. p is the teacher's softmax at temperature T, q the student's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.losses.checks import POSITIVE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.precision import in_full_precision


@in_full_precision
def kl(student_nk: Tensor, teacher_nk: Tensor, *, temperature: float) -> Tensor:
    """``T^2 mean_n KL(p || q)``.

    Args:
        student_nk: logits of the student.
        teacher_nk: logits of the teacher; get no gradient.
        temperature: T > 0.

    Returns:
        A scalar >= 0.

    References:
        Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531, section 2.1.
    """
    log_p_nk, log_q_nk = _log_softmaxes(student_nk, teacher_nk, temperature)
    return temperature**2 * _divergence(log_p_nk, log_q_nk)


@in_full_precision
def sym_kl(student_nk: Tensor, teacher_nk: Tensor, *, temperature: float) -> Tensor:
    """``T^2 mean_n (KL(p || q) + KL(q || p)) / 2``, which FastReID calls JS divergence.

    Args:
        student_nk: logits of the student.
        teacher_nk: logits of the teacher; get no gradient.
        temperature: T > 0.

    Returns:
        A scalar >= 0.

    References:
        Kullback and Leibler 1951; He et al., "FastReID", 2020, arXiv 2006.02631, section on distillation.
    """
    log_p_nk, log_q_nk = _log_softmaxes(student_nk, teacher_nk, temperature)
    return temperature**2 * (_divergence(log_p_nk, log_q_nk) + _divergence(log_q_nk, log_p_nk)) / 2


@in_full_precision
def js(student_nk: Tensor, teacher_nk: Tensor, *, temperature: float) -> Tensor:
    """``T^2 mean_n (KL(p || m) + KL(q || m)) / 2`` with m = (p + q) / 2: the Jensen-Shannon divergence.

    Args:
        student_nk: logits of the student.
        teacher_nk: logits of the teacher; get no gradient.
        temperature: T > 0.

    Returns:
        A scalar from 0 to ``T^2 log 2``.

    References:
        Lin, "Divergence Measures Based on the Shannon Entropy", IEEE Transactions on Information Theory 37, 1991.
    """
    log_p_nk, log_q_nk = _log_softmaxes(student_nk, teacher_nk, temperature)
    log_m_nk = torch.logaddexp(log_p_nk, log_q_nk) - math.log(2)
    return temperature**2 * (_divergence(log_p_nk, log_m_nk) + _divergence(log_q_nk, log_m_nk)) / 2


DIVERGENCES: dict[str, Callable[..., Tensor]] = {"js": js, "sym_kl": sym_kl, "kl": kl}


@torch.no_grad()
def mean_teacher(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """Logits (N,K) whose softmax at T is the mean of the teachers' softmaxes at T.

    Args:
        logits: logits (N,K) of each teacher.
        temperature: T > 0 at which they are used.

    Raises:
        ConfigError: no teacher, or teachers of different shapes.
    """
    shapes = {tuple(x_nk.shape) for x_nk in logits}
    if len(shapes) != 1:
        raise ConfigError(
            f"teachers give logits of shapes {sorted(shapes)}, expected one shape: use teachers of one set."
        )
    logs = torch.stack([F.log_softmax(x_nk.double() / temperature, dim=1) for x_nk in logits])
    mean_nk = temperature * (logs.logsumexp(0) - math.log(len(logits)))
    return mean_nk if logits[0].dtype == torch.float64 else mean_nk.float()


@losses.register("logit")
class LogitDistillation(ReIDLoss):
    """A divergence between soft labels, from one teacher or from the mean of several.

    Args:
        divergence: ``js``, ``sym_kl`` or ``kl``.
        temperature: T > 0.

    Raises:
        ConfigError: unknown divergence, or a temperature out of range; at the call, logits of other shapes.
    """

    paper = "Hinton et al. 2015, arXiv 1503.02531"

    def __init__(self, divergence: str = "js", temperature: float = 4.0) -> None:
        super().__init__()
        if not isinstance(divergence, str) or divergence not in DIVERGENCES:
            hint, known = nearest(str(divergence)[:100], DIVERGENCES), ", ".join(DIVERGENCES)
            raise ConfigError(f"loss 'logit': unknown divergence {shown(divergence)}.{hint} Known: {known}.")
        check_parameter("logit", "temperature", temperature, POSITIVE, usual=4.0)
        self.divergence, self.temperature = DIVERGENCES[divergence], temperature

    def forward(self, own_logits_nk: Tensor, teacher_logits: Sequence[Tensor]) -> Tensor:
        """The loss of a batch."""
        teacher_nk = teacher_logits[0] if len(teacher_logits) == 1 else mean_teacher(teacher_logits, self.temperature)
        return self.divergence(own_logits_nk, teacher_nk, temperature=self.temperature)


def _log_softmaxes(student_nk: Tensor, teacher_nk: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log-softmaxes at T of the teacher, without gradient, and of the student."""
    if student_nk.shape != teacher_nk.shape:
        raise ConfigError(
            f"student logits {tuple(student_nk.shape)} and teacher logits {tuple(teacher_nk.shape)} differ in shape:"
            " soft labels need the same identities; use distill.relation_weight or distill.overhaul_weight instead."
        )
    teacher_nk = teacher_nk.detach().to(student_nk.dtype)
    return F.log_softmax(teacher_nk / temperature, dim=1), F.log_softmax(student_nk / temperature, dim=1)


def _divergence(log_a_nk: Tensor, log_b_nk: Tensor) -> Tensor:
    """``mean_n KL(a || b)``."""
    return (log_a_nk.exp() * (log_a_nk - log_b_nk)).sum(1).mean()
