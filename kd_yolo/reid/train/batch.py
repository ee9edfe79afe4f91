"""What losses may ask of a batch, by the names of :mod:`kd_yolo.reid.losses.base`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from kd_yolo.reid.losses.triplet import Triplets, mine_hardest
from kd_yolo.reid.model.network import Features, ReIDModel
from kd_yolo.reid.train.distributed import World, gather
from kd_yolo.reid.train.teachers import TeacherOutputs


@dataclass
class Batch:
    """One forward of the student and of its teachers; what is derived from it is computed when it is first asked for.

    Attributes:
        model: the student.
        own: its features of this process' images.
        own_targets_n: index of each image's identity.
        own_pre_relu: the student's maps before the ReLU by stage; empty where no loss reads them.
        taught: what each teacher says of the images.
        world: the processes that train together.
    """

    model: ReIDModel
    own: Features
    own_targets_n: Tensor
    own_pre_relu: Mapping[str, Tensor]
    taught: Sequence[TeacherOutputs]
    world: World

    @cached_property
    def everyone(self) -> Features:
        """Features of all processes' images."""
        local_nhd = None if self.own.local_nhd is None else gather(self.own.local_nhd, self.world)
        return Features(gather(self.own.f_t_nd, self.world), gather(self.own.f_i_nd, self.world), local_nhd)

    @cached_property
    def targets_n(self) -> Tensor:
        return gather(self.own_targets_n, self.world)

    @property
    def features_nd(self) -> Tensor:
        return self.everyone.f_t_nd

    @property
    def local_nhd(self) -> Tensor:
        assert self.everyone.local_nhd is not None
        return self.everyone.local_nhd

    @cached_property
    def logits_nk(self) -> Tensor:
        return self.model.logits(self.everyone, self.targets_n)

    @cached_property
    def triplets(self) -> Triplets:
        return mine_hardest(self.features_nd, self.targets_n)

    @property
    def own_features_nd(self) -> Tensor:
        return self.own.f_i_nd

    @cached_property
    def own_logits_nk(self) -> Tensor:
        return self.model.logits(self.own)

    @property
    def own_stages(self) -> Mapping[str, Tensor]:
        assert self.own.stages is not None
        return self.own.stages

    @cached_property
    def teacher_features(self) -> list[Tensor]:
        return [gather(one.features.f_t_nd, self.world) for one in self.taught]

    @property
    def teacher_logits(self) -> list[Tensor]:
        return [one.logits_nk for one in self.taught]

    @property
    def teacher_pre_relu(self) -> list[dict[str, Tensor]]:
        return [one.pre_relu for one in self.taught]
