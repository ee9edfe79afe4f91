"""The contract of every distillation loss, and the legend of tensor suffixes used throughout the package.

A tensor's name ends in its shape:

====  =====================================================
n     images of the batch
c     channels of a feature map or of a head output
h, w  rows and columns of a feature map
p     positions pooled from several axes, as the file says
k     classes
a     anchor points over all levels
r     bins of the box distribution (``reg_max``)
m     rows selected by a gate, or boxes of one image
====  =====================================================

A loss is called as ``loss(student, teacher, **context)`` and returns one scalar:

- the teacher side, context included, is detached here, once, for all losses;
- it is computed in the student's precision, float32 at least, outside autocast (float64 stays float64);
- both sides must have the same shape: adapters bring them there before the loss sees them;
- it holds neither its weight nor its schedule: those live in the configuration;
- it is the loss of ONE feature level; the criterion sums over levels.

A response loss says in ``reads`` which head output it is called with:

===========  ===========  ============================================================================
scores       (N,K,A)      class logits
bins         (N,4R,A)     raw box distributions: channel = side * R + bin; left, top, right, bottom
boxes        (N,4,A)      decoded boxes x0, y0, x1, y1, both sides in the same unit
predictions  (N,4+K,A)    distances left, top, right, bottom in cells, then class logits
raw          (N,4R+K,A)   raw box distributions, then class logits
===========  ===========  ============================================================================
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import Registry


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x if x.dtype == torch.float64 else x.float()


def run_in_precision_of(x: Tensor, module: nn.Module) -> Tensor:
    """``module(x)`` in the precision of ``x``, whatever that of the weights (half in a halved model)."""
    weights = {name: weight.to(x.dtype) for name, weight in module.named_parameters()}
    result: Tensor = functional_call(module, weights, (x,))
    return result


class DistillationLoss(nn.Module):
    """Base of feature and response losses; subclasses implement :meth:`compute`.

    Attributes:
        kind: ``"feature"`` (called with feature maps) or ``"response"`` (called with head outputs).
        paper: where the formula comes from.
        context: names of the keyword values that the loss can use beside student and teacher.
        required: the part of ``context`` that it cannot do without.
        axes: the axes of student and teacher, in letters of the legend.
        shape_help: what to do when student and teacher differ in shape.
        default_weight: of a term that says none.
        default_share: of the gradient, which the weight of a term that says none follows; None keeps the weight.
    """

    kind: ClassVar[str]
    paper: ClassVar[str]
    context: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[frozenset[str]] = frozenset()
    axes: ClassVar[tuple[str, ...]]
    shape_help: ClassVar[str]
    default_weight: ClassVar[float] = 1.0
    default_share: ClassVar[float | None] = None

    def __init__(self) -> None:
        """Takes no parameters; without this the registry would see nn.Module's ``*args, **kwargs``."""
        super().__init__()

    @property
    def name(self) -> str:
        """The registered name, as error messages show it."""
        return losses.name_of(type(self))

    def forward(self, student: Tensor, teacher: Tensor, **context: Any) -> Tensor:
        """The loss of one level (feature) or of one head output (response).

        Args:
            student: student tensor; feature (N,C,H,W), response as :attr:`ResponseLoss.reads` says.
            teacher: teacher tensor of the same shape; never receives a gradient.
            **context: values named in :attr:`context`; tensors never receive a gradient, None counts as absent.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ConfigError: shapes differ, are empty or have the wrong number of axes; a context key is not known to
                this loss, or one that it needs is missing.
        """
        self._check_shapes(student, teacher)
        self._check_context(context)
        context = {key: x.detach() if isinstance(x, Tensor) else x for key, x in context.items()}
        with torch.autocast(student.device.type, enabled=False):
            student = at_least_float32(student)
            return self.compute(student, teacher.detach().to(student.dtype), **context)

    @abstractmethod
    def compute(self, student: Tensor, teacher: Tensor, *_: Any, **context: Any) -> Tensor:
        """The formula, on a detached teacher and float tensors of equal shape; context comes by keyword."""
        raise NotImplementedError

    def _check_shapes(self, student: Tensor, teacher: Tensor) -> None:
        shapes = f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)}"
        if student.shape != teacher.shape:
            raise ConfigError(f"loss '{self.name}': {shapes} differ in shape: {self.shape_help}")
        expected = f"expected ({','.join(self.axes)}) with every size at least 1."
        if student.dim() != len(self.axes):
            raise ConfigError(f"loss '{self.name}': {shapes} have {student.dim()} axes, {expected}")
        if student.numel() == 0:
            raise ConfigError(f"loss '{self.name}': {shapes} are empty, {expected}")

    def _check_context(self, context: Mapping[str, Any]) -> None:
        unknown = set(context) - self.context
        if unknown:
            raise ConfigError(
                f"loss '{self.name}' does not use {', '.join(sorted(unknown))};"
                f" it takes: {', '.join(sorted(self.context)) or 'no context'}."
            )
        missing = self.required - {key for key, value in context.items() if value is not None}
        if missing:
            raise ConfigError(
                f"loss '{self.name}' cannot do without {', '.join(sorted(missing))}:"
                f" call it as loss(student, teacher, {', '.join(f'{key}=...' for key in sorted(missing))})."
            )


class FeatureLoss(DistillationLoss):
    """A loss between feature maps (N,C,H,W) of one level.

    Attributes:
        default_adapter: of a term that says none.
        default_standardize: likewise.
    """

    kind = "feature"
    default_adapter: ClassVar[str] = "auto"
    default_standardize: ClassVar[bool] = False
    axes = ("N", "C", "H", "W")
    shape_help = "an adapter has to bring the student to the teacher's channels and size first."


class ResponseLoss(DistillationLoss):
    """A loss between head outputs.

    Attributes:
        reads: which output, ``"scores"``, ``"bins"``, ``"boxes"``, ``"predictions"`` or ``"raw"``; see the legend.
    """

    kind = "response"
    reads: ClassVar[str] = "scores"
    axes = ("N", "K", "A")
    shape_help = (
        "response losses need equal classes and anchor points."
        " Use a feature loss (--loss cwd) or fine-tune the teacher on this data first."
    )


losses: Registry[DistillationLoss] = Registry("loss", DistillationLoss, group="kd_yolo.losses")
