"""Cross-head distillation: the student's head features go through the teacher's output layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_yolo.config.term import TermConfig
from kd_yolo.distill.outputs import Labels, Outputs
from kd_yolo.distill.response import ResponseTerm
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.losses.crosskd import restandardise
from kd_yolo.yolo.heads import BRANCHES, HeadFacts, finish_branch, head_branches


class CrossTerm(ResponseTerm):
    """``crosskd``: compares the teacher with what its own head makes of the student's features.

    What goes into the output layer of each branch of the student's head, brought to the teacher's mean and standard
    deviation of each channel, goes through the teacher's frozen output layer. So the hard labels and the teacher do not
    pull at the same predictions, and the classes are the teacher's: they need not be those of the data. Where the
    widths differ, a 1x1 conv stands between. The branches of a YOLO head have two blocks before the output layer;
    entering the teacher's branch one block earlier costs a sixteenth of a training step more.

    Args:
        config: the term.
        student: facts of the student's head.
        teacher: facts of the teacher's head.
        widths: channels of the branch features of student and teacher, by branch and level.
        holder: the teacher.
        taught: its classes that are taught; empty for all.

    References:
        Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Dense Object Detection", CVPR 2024,
        arXiv 2306.11369.
    """

    reads_branches = True

    def __init__(
        self,
        config: TermConfig,
        student: HeadFacts,
        teacher: HeadFacts,
        widths: tuple[dict[tuple[str, int], int], dict[tuple[str, int], int]],
        holder: Teacher,
        taught: Sequence[int] = (),
    ) -> None:
        super().__init__(config, student, teacher, taught=taught)
        self.holder = holder
        own, other = widths
        pairs = list(zip(self.student_levels, self.teacher_levels, strict=True))
        self.adapters = nn.ModuleDict(
            {
                f"{name}_{i}": _bridge(own[name, level], other[name, taught])
                for name in BRANCHES
                for i, (level, taught) in enumerate(pairs)
            }
        )

    def compare(self, student: Outputs, teacher: Outputs, labels: Labels | None = None) -> Tensor:
        other = self._read(teacher, self.teacher_levels)
        boxes, scores = (self._crossed(name, student, teacher) for name in BRANCHES)
        scores_nka = self._taught(other["scores"])
        crossed = torch.cat([boxes, self._taught(scores)], 1)
        taught = torch.cat([other["boxes"], scores_nka], 1)
        weight_na = self._weights(scores_nka, student, labels)
        return self.loss(crossed, taught, **({} if weight_na is None else {self.weight_key: weight_na}))  # type: ignore[no-any-return]

    def _crossed(self, name: str, student: Outputs, teacher: Outputs) -> Tensor:
        """Raw outputs (N,C,A) of the teacher's output layers on the student's features, all shared levels."""
        parts = []
        for i, (own, other) in enumerate(zip(self.student_levels, self.teacher_levels, strict=True)):
            adapted = self.adapters[f"{name}_{i}"](student.branches[name, own])
            moved = restandardise(adapted, teacher.branches[name, other])
            parts.append(finish_branch(self.holder.model, (name, other), moved))
        return torch.cat(parts, 2)


def _bridge(own: int, other: int) -> nn.Module:
    return nn.Identity() if own == other else nn.Conv2d(own, other, 1)


def branch_widths(model: nn.Module) -> dict[tuple[str, int], int]:
    """Channels that go into the output layer of each branch of a head."""
    convs = {
        key: [m for m in block.modules() if isinstance(m, nn.Conv2d)] for key, block in head_branches(model).items()
    }
    return {key: found[-1].out_channels for key, found in convs.items()}
