"""Self-distillation: a deep stage of a network teaches the stages before it, through heads that training alone has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.losses.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_parameter
from kd_yolo.reid.losses.base import ReIDLoss, losses
from kd_yolo.reid.losses.id import identity_loss
from kd_yolo.reid.losses.logit import kl
from kd_yolo.reid.losses.precision import in_full_precision


@dataclass(frozen=True)
class SelfKDWeights:
    """How much each part counts, and its parameters.

    Attributes:
        ce: weight >= 0 of the cross-entropy of each auxiliary head.
        kl: weight >= 0 of the KL to the teacher stage.
        feature: weight >= 0 of the distance to the teacher stage's feature (``--feature-loss-coefficient``).
        temperature: > 0, of the soft labels.
        smoothing: >= 0 and < 1, label smoothing of the cross-entropy.
    """

    ce: float = 1.0
    kl: float = 1.0
    feature: float = 0.03
    temperature: float = 3.0
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        for name, rule, usual in (
            ("ce", NOT_NEGATIVE, 1.0),
            ("kl", NOT_NEGATIVE, 1.0),
            ("feature", NOT_NEGATIVE, 0.03),
            ("temperature", POSITIVE, 3.0),
            ("smoothing", SHARE, 0.1),
        ):
            check_parameter("self_kd", name, getattr(self, name), rule, usual=usual)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> SelfKDWeights:
        """The weights as a recipe writes them, by name.

        Raises:
            ConfigError: not such a mapping, an unknown name, or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"loss 'self_kd': weights is {shown(values)}, expected some of {', '.join(known)} by name."
            )
        for name in values:
            if name not in known:
                hint = nearest(str(name)[:100], known)
                raise ConfigError(f"loss 'self_kd': no weight {shown(name)}.{hint} Known: {', '.join(known)}.")
        return cls(**values)


@dataclass(frozen=True)
class SelfKDLoss:
    """The loss of a batch: sums over the auxiliary heads.

    Attributes:
        total: ``w_ce ce + w_kl kl + w_feature feature``.
        ce, kl, feature: the parts without their weights and without gradient, for the log.
    """

    total: Tensor
    ce: Tensor
    kl: Tensor
    feature: Tensor


class AuxiliaryHead(nn.Module):
    """Mean over the map, bottleneck to D, BatchNorm, classifier.

    Args:
        channels: channels C of the stage's map, of any size.
        dim: length D of the feature, the teacher stage's.
        num_identities: identities K.
    """

    def __init__(self, channels: int, dim: int, num_identities: int) -> None:
        super().__init__()
        self.bottleneck = nn.Linear(channels, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, num_identities, bias=False)
        nn.init.kaiming_normal_(self.bottleneck.weight, mode="fan_out")
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:
        """Feature (N,D) after the norm, as BNNeck's test feature is, and logits (N,K)."""
        feature_nd = self.norm(self.bottleneck(x_nchw.mean((2, 3))))
        return feature_nd, self.classifier(feature_nd)


@in_full_precision
def feature_hint(student_nd: Tensor, teacher_nd: Tensor) -> Tensor:
    """``mean_nd (f_s - f_t)^2``; the teacher gets no gradient."""
    return (student_nd - teacher_nd.detach().to(student_nd.dtype)).square().mean()


@losses.register("self_kd")
class SelfDistillation(ReIDLoss):
    """``sum_stages w_ce CE(z_s, y) + w_kl T^2 KL(p_t || p_s) + w_feature mean (f_s - f_t)^2``.

    Every listed stage, and the teacher stage unless it is the last one, has a supervised head of its own here, outside
    the network, so nothing of it is exported. The last stage's head is that of the network: its logits without margin,
    and its feature after BNNeck. A teacher stage before the last has the cross-entropy only. Means over images: twice
    the same batch gives the same loss.

    Args:
        channels: channels of the network's stages, by name in order (``model.backbone.channels``).
        dim: length D of the network's feature.
        num_identities: identities K.
        teacher_stage: the stage that teaches; None is the last.
        student_stages: stages that learn; none means all before the teacher.
        weights: how much each part counts; from a recipe ``{ce: 1.0, kl: 1.0, ...}``.

    Raises:
        ConfigError: no such stage, or a student stage that is not before the teacher.

    References:
        Zhang et al., "Be Your Own Teacher", ICCV 2019, arXiv 1905.08094, the three parts of its loss; distances of
        features after the norm, and means.
    """

    paper = "Zhang et al. 2019, arXiv 1905.08094"

    def __init__(
        self,
        channels: Mapping[str, int],
        dim: int,
        num_identities: int,
        teacher_stage: str | None = None,
        student_stages: Sequence[str] = (),
        weights: SelfKDWeights | Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        stages = list(channels)
        self.final = stages[-1]
        self.teacher = teacher_stage or self.final
        self.students = _students(stages, self.teacher, student_stages)
        self.weights = (
            weights
            if isinstance(weights, SelfKDWeights)
            else SelfKDWeights.from_dict({} if weights is None else weights)
        )
        if self.teacher != self.final and not self.weights.ce:
            raise ConfigError(
                f"teacher stage '{self.teacher}' has a head of its own, which ce=0 leaves untrained: set"
                f" self_kd.ce_weight=1.0, or self_kd.teacher_stage={self.final}."
            )
        taught = [*self.students] if self.teacher == self.final else [*self.students, self.teacher]
        self.heads = nn.ModuleDict({stage: AuxiliaryHead(channels[stage], dim, num_identities) for stage in taught})

    def forward(
        self, own_stages: Mapping[str, Tensor], own_features_nd: Tensor, own_logits_nk: Tensor, own_targets_n: Tensor
    ) -> Tensor:
        """The loss of a batch; features and logits of the last stage get no gradient from here."""
        return self.parts(own_stages, own_features_nd, own_logits_nk, own_targets_n).total

    def parts(self, stages: Mapping[str, Tensor], final_nd: Tensor, final_nk: Tensor, targets_n: Tensor) -> SelfKDLoss:
        """The loss of a batch and what it is made of.

        Args:
            stages: maps (N,C,H,W) by stage, as the network's ``features(x, with_stages=True)`` gives them.
            final_nd: the network's feature after BNNeck; gets no gradient from here.
            final_nk: its logits without margin; get no gradient from here.
            targets_n: index of each row's identity.
        """
        outputs = {stage: head(stages[stage]) for stage, head in self.heads.items()}
        teacher_nd, teacher_nk = outputs.get(self.teacher, (final_nd, final_nk))
        ce = torch.stack(
            [identity_loss(z_nk, targets_n, smoothing=self.weights.smoothing) for _, z_nk in outputs.values()]
        ).sum()
        soft, hint = [], []
        for stage in self.students:
            feature_nd, logits_nk = outputs[stage]
            soft.append(kl(logits_nk, teacher_nk, temperature=self.weights.temperature))
            hint.append(feature_hint(feature_nd, teacher_nd))
        kl_sum, feature = torch.stack(soft).sum(), torch.stack(hint).sum()
        total = self.weights.ce * ce + self.weights.kl * kl_sum + self.weights.feature * feature
        return SelfKDLoss(total, ce.detach(), kl_sum.detach(), feature.detach())


def _students(stages: Sequence[str], teacher: str, students: Sequence[str]) -> tuple[str, ...]:
    if isinstance(students, str) or not isinstance(students, Sequence):
        raise ConfigError(f"student_stages is {shown(students)}, expected a list such as [{stages[0]}].")
    for stage in (teacher, *students):
        if stage not in stages:
            hint = nearest(str(stage)[:100], stages)
            raise ConfigError(f"no stage {shown(stage)}.{hint} Known: {', '.join(stages)}.")
    before = stages[: stages.index(teacher)]
    late = [stage for stage in students if stage not in before]
    if late or not before:
        raise ConfigError(
            f"teacher stage '{teacher}' teaches the stages before it ({', '.join(before) or 'none'}), not"
            f" {', '.join(late) or 'itself'}: set self_kd.teacher_stage={stages[-1]}, or other self_kd.student_stages."
        )
    return tuple(students or before)
