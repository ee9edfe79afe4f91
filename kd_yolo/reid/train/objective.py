"""All losses of a run in one sum: supervised, self-distillation, and those under a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd_yolo.reid.losses.center import CenterLoss
from kd_yolo.reid.losses.circle import circle_loss
from kd_yolo.reid.losses.id import identity_loss
from kd_yolo.reid.losses.local_triplet import local_triplet
from kd_yolo.reid.losses.logit_kd import LogitDistillation
from kd_yolo.reid.losses.overhaul import OverhaulLoss
from kd_yolo.reid.losses.relation import RelationLoss
from kd_yolo.reid.losses.self_kd import SelfDistillation, SelfKDWeights
from kd_yolo.reid.losses.triplet import batch_hard_triplet, mine_hardest
from kd_yolo.reid.model.backbones import last_norms
from kd_yolo.reid.model.network import Features, ReIDModel
from kd_yolo.reid.model.pre_relu import pre_relu_features
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.train.distributed import World, gather
from kd_yolo.reid.train.teachers import Lesson, Teacher


@dataclass(frozen=True)
class Step:
    """A batch's loss.

    Attributes:
        total: what is minimised.
        parts: weighted losses by name, without gradient.
        accuracy: share of the batch that is classified right.
    """

    total: Tensor
    parts: dict[str, Tensor]
    accuracy: Tensor


class Objective(nn.Module):
    """The losses that a configuration asks for; their own parameters train with the network and are no part of it.

    Losses that compare images see the batch of all processes, those that are means over images their own share of it.

    Args:
        config: the run's.
        model: the student.
        teachers: frozen networks; not registered here.
        world: the processes that train together.
    """

    def __init__(self, config: ReIDConfig, model: ReIDModel, teachers: Sequence[Teacher], world: World) -> None:
        super().__init__()
        self.config, self.world, self._teachers = config, world, list(teachers)
        identities = model.config.num_identities
        self.center = CenterLoss(identities, model.dim) if config.loss.center_weight else None
        self.self_kd = _self_distillation(config, model) if config.self_kd.enabled else None
        self.logit = LogitDistillation(config.distill.logit, config.distill.temperature)
        self.relation = RelationLoss()
        self.overhaul = nn.ModuleList()
        if config.distill.overhaul_weight:
            channels = dict(model.backbone.channels)
            self.overhaul.extend(OverhaulLoss(channels, last_norms(t.model.backbone)) for t in self._teachers)

    def forward(self, model: ReIDModel, x_nchw: Tensor, targets_n: Tensor) -> Step:
        """The loss of a batch.

        Args:
            model: the student, in training mode.
            x_nchw: crops (N,3,H,W) of this process.
            targets_n: index of each crop's identity.
        """
        lessons = [teacher(x_nchw, with_maps=len(self.overhaul) > 0) for teacher in self._teachers]
        with ExitStack() as reading:
            maps = reading.enter_context(pre_relu_features(model.backbone)) if len(self.overhaul) else {}
            own = model.features(x_nchw, with_stages=self.self_kd is not None)
        everyone, targets_all = self._gather(own), gather(targets_n, self.world)
        logits_nk = model.logits(everyone, targets_all)
        parts = self._supervised(everyone, logits_nk, targets_all)
        if self.self_kd is not None:
            assert own.stages is not None
            parts["self_kd"] = self.self_kd(own.stages, own.f_i_nd, model.logits(own), targets_n).total
        parts |= self._taught(model, own, lessons, dict(maps))
        with torch.no_grad():
            accuracy = (model.logits(everyone).argmax(1) == targets_all).float().mean()
        return Step(torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()}, accuracy)

    def _gather(self, own: Features) -> Features:
        local_nhd = None if own.local_nhd is None else gather(own.local_nhd, self.world)
        return Features(gather(own.f_t_nd, self.world), gather(own.f_i_nd, self.world), local_nhd)

    def _supervised(self, features: Features, logits_nk: Tensor, targets_n: Tensor) -> dict[str, Tensor]:
        loss, parts = self.config.loss, {}
        if loss.id_weight:
            parts["id"] = loss.id_weight * identity_loss(logits_nk, targets_n, smoothing=loss.smoothing)
        mines = loss.triplet_weight or (features.local_nhd is not None and loss.local_weight)
        triplets = mine_hardest(features.f_t_nd, targets_n) if mines else None
        if loss.triplet_weight:
            triplet = batch_hard_triplet(features.f_t_nd, targets_n, margin=loss.margin, triplets=triplets)
            parts["triplet"] = loss.triplet_weight * triplet
        if features.local_nhd is not None and loss.local_weight and triplets is not None:
            parts["local"] = loss.local_weight * local_triplet(features.local_nhd, triplets, margin=loss.margin)
        if loss.circle_weight:
            parts["circle"] = loss.circle_weight * circle_loss(features.f_t_nd, targets_n)
        if self.center is not None:
            parts["center"] = loss.center_weight * self.center(features.f_t_nd, targets_n)
        return parts

    def _taught(
        self, model: ReIDModel, own: Features, lessons: list[Lesson], maps: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Losses under the teachers: logits of their mean, maps and relations of each, in equal shares."""
        wanted, parts = self.config.distill, {}
        if not lessons:
            return {}
        if wanted.logit_weight:
            taught = [lesson.logits_nk for lesson in lessons]
            parts["kd_logit"] = wanted.logit_weight * self.logit(model.logits(own), taught)
        if wanted.overhaul_weight:
            each = [loss(maps, lesson.maps) for loss, lesson in zip(self.overhaul, lessons, strict=True)]
            parts["kd_overhaul"] = wanted.overhaul_weight * torch.stack(each).mean()
        if wanted.relation_weight:
            f_t_nd = gather(own.f_t_nd, self.world)
            each = [self.relation(f_t_nd, gather(lesson.features.f_t_nd, self.world)) for lesson in lessons]
            parts["kd_relation"] = wanted.relation_weight * torch.stack(each).mean()
        return parts


def _self_distillation(config: ReIDConfig, model: ReIDModel) -> SelfDistillation:
    wanted = config.self_kd
    weights = SelfKDWeights(
        wanted.ce_weight, wanted.kl_weight, wanted.feature_weight, wanted.temperature, config.loss.smoothing
    )
    return SelfDistillation(
        model.backbone.channels, model.dim, model.config.num_identities, wanted.teacher_stage, wanted.student_stages,
        weights,
    )  # fmt: skip
