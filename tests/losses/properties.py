"""What every loss must do, in base classes: ``class TestContract(FeatureContract): loss = "cwd"`` inherits them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss

few_examples = settings(deadline=None, max_examples=12, derandomize=True, database=None)


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Normal float64 numbers from a generator of their own."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Float64 numbers in [0, 1) from a generator of their own."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_rejects(name: str, parameter: str, values: list[object], **others: object) -> None:
    """Each value of a constructor parameter is a ConfigError that shows the value and gives an example."""
    for value in values:
        with pytest.raises(ConfigError) as error:
            build_loss(name, **{parameter: value}, **others)
        text = str(error.value)
        assert text.startswith(f"loss '{name}': {parameter} is {value!r}, expected "), text
        assert f"for example {parameter}=" in text, text


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of one context value: itself, or those of a list (one for each image); a tuple is no tensors."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list):
        yield from value


def of_images(value: Any, rows: list[int]) -> Any:
    """A context value of some images of the batch; a tuple, which is said once for the batch, stays."""
    if isinstance(value, list):
        return [value[row] for row in rows]
    return value[rows] if isinstance(value, Tensor) else value


NOT_NUMBERS: list[object] = ["1", True, None, float("nan"), float("inf")]


class LossContract:
    """What both kinds must do. A subclass names the loss; the module is rebuilt for each call."""

    loss: str
    shape: tuple[int, ...]
    zero_when_equal = True
    batch_mean = True  # twice the same batch gives the same number, and the order of the images does not matter

    def build(self) -> DistillationLoss:
        return build_loss(self.loss)

    def context(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Context that a call on tensors of this shape should get: tensors, lists of one an image, or tuples."""
        return {}

    def pair(self, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        return random(*self.shape, seed=1, scale=scale), random(*self.shape, seed=2, scale=scale)

    def __call__(self, student: Tensor, teacher: Tensor, **context: Any) -> Tensor:
        return self.build()(student, teacher, **(context or self.context(tuple(student.shape))))

    def test_is_a_positive_scalar_in_the_precision_of_its_input(self) -> None:
        student, teacher = self.pair()
        exact = self(student, teacher)
        single = self(student.float(), teacher.float())
        assert exact.shape == single.shape == ()
        assert exact.item() > 0
        assert exact.dtype == torch.float64
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(exact.item(), rel=1e-5)

    def test_gradient_reaches_the_student_only(self) -> None:
        student, teacher = (x.requires_grad_() for x in self.pair())
        context = self.context(self.shape)
        given = [x.requires_grad_() for value in context.values() for x in tensors_in(value)]
        self(student, teacher, **context).backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
        assert student.grad.abs().sum() > 0
        assert teacher.grad is None
        assert all(x.grad is None for x in given)

    def test_gradient_is_that_of_the_number_returned(self) -> None:
        student, teacher = self.pair()
        assert torch.autograd.gradcheck(lambda x: self(x, teacher), student.requires_grad_(), fast_mode=True)

    def test_equal_sides_give_zero(self) -> None:
        student, _ = self.pair()
        if self.zero_when_equal:
            assert self(student.requires_grad_(), student.detach()).item() == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("autocast", [False, True])
    def test_half_inputs_give_the_float32_result(self, dtype: torch.dtype, autocast: bool) -> None:
        student, teacher = (x.to(dtype) for x in self.pair(scale=100))
        expected = self(student.float(), teacher.float())
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = self(student, teacher)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert torch.equal(value, expected)

    def test_the_students_precision_decides(self) -> None:
        student, teacher = self.pair(scale=0.1)
        for s, t in ((torch.float32, torch.float64), (torch.float64, torch.float32), (torch.float16, torch.float32)):
            value = self(student.to(s), teacher.to(t))
            dtype = torch.promote_types(s, torch.float32)
            assert value.dtype == dtype
            assert torch.equal(value, self(student.to(s).to(dtype), teacher.to(t).to(dtype)))

    def test_autocast_does_not_touch_float32(self) -> None:
        student, teacher = (x.float() for x in self.pair())
        with torch.autocast("cpu", torch.bfloat16):
            value = self(student, teacher)
        assert torch.equal(value, self(student, teacher))

    def test_batch_size_and_order(self) -> None:
        if not self.batch_mean:
            return
        student, teacher = self.pair()
        once = self(student, teacher, **self.context(self.shape)).item()
        for rows in ([0, 1, 0, 1], [1, 0]):
            context = {key: of_images(value, rows) for key, value in self.context(self.shape).items()}
            assert self(student[rows], teacher[rows], **context).item() == pytest.approx(once, rel=1e-9)

    def test_global_random_state_is_left_alone(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(12345)  # a state that no seeded construction leaves behind
            before = torch.get_rng_state()
            self(*self.pair())
            assert torch.equal(torch.get_rng_state(), before)

    def test_errors_say_what_to_do(self) -> None:
        student, teacher = self.pair()
        with pytest.raises(
            ConfigError, match=rf"loss '{self.loss}': student \(.*\) and teacher \(.*\) differ in shape"
        ):
            self(student, teacher[:, :2])
        with pytest.raises(ConfigError, match=rf"loss '{self.loss}': .* have 2 axes, expected \(N,"):
            self(student[:, 0].flatten(1), teacher[:, 0].flatten(1), **self.context(self.shape))
        with pytest.raises(ConfigError, match=rf"loss '{self.loss}': .* are empty, expected"):
            self(student[:0], teacher[:0])
        with pytest.raises(ConfigError, match=f"loss '{self.loss}' does not use tua; it takes: "):
            self(student, teacher, tua=student)
        with pytest.raises(ConfigError, match=f"loss '{self.loss}' has no parameter 'nonsense'\\..* It takes: "):
            build_loss(self.loss, nonsense=1)


class FeatureContract(LossContract):
    """Feature maps (N,C,H,W), H != W."""

    shape = (2, 3, 4, 5)

    def test_memory_layout_does_not_matter(self) -> None:
        student, teacher = self.pair()
        expected = self(student, teacher).item()
        student = student.to(memory_format=torch.channels_last)
        assert not student.is_contiguous()
        for other in (teacher, teacher.to(memory_format=torch.channels_last)):
            assert self(student, other).item() == pytest.approx(expected, rel=1e-12)

    def test_kind_and_shape_help(self) -> None:
        assert self.build().kind == "feature"
        with pytest.raises(ConfigError, match="an adapter has to bring the student to the teacher's channels and size"):
            self(*(random(*self.shape), random(*self.shape[:3], 9)))


class HeadContract(LossContract):
    """Head outputs: class logits (N,K,A), if the subclass says no other."""

    shape = (2, 3, 7)
    reads = "scores"
    shape_help = r"equal classes and anchor points\. Use a feature loss \(--loss cwd\)"
    mismatch: ClassVar = ((2, 80, 7), (2, 3, 7))  # shapes of a teacher that does not fit

    def test_memory_layout_does_not_matter(self) -> None:
        student, teacher = self.pair()
        transposed = student.transpose(1, 2).contiguous().transpose(1, 2)
        assert not transposed.is_contiguous()
        assert self(transposed, teacher).item() == pytest.approx(self(student, teacher).item(), rel=1e-12)

    def test_kind_and_shape_help(self) -> None:
        loss = self.build()
        assert loss.kind == "response"
        assert loss.reads == self.reads
        with pytest.raises(ConfigError, match=self.shape_help):
            self(*(random(*shape) for shape in self.mismatch))


class ResponseContract(HeadContract):
    """Head outputs and a gate (N,A)."""

    gate = "gate_na"
    naive_na: staticmethod  # float64 loss of each anchor by a Python loop, N lists of A numbers

    def test_no_gate_is_a_mean_over_anchors(self) -> None:
        student, teacher = self.pair()
        naive_na = torch.tensor(self.naive_na(student, teacher), dtype=torch.float64)
        assert self(student, teacher).item() == pytest.approx(naive_na.mean().item(), rel=1e-9)
        ones_na = torch.ones(naive_na.shape)
        assert self(student, teacher, **{self.gate: ones_na}).item() == pytest.approx(naive_na.mean().item(), rel=1e-9)
        assert self.build()(student, teacher, **{self.gate: None}).item() == self(student, teacher).item()

    def test_a_gate_weighs_the_mean(self) -> None:
        student, teacher = self.pair()
        gate_na = uniform(2, 7, seed=3)
        naive_na = self.naive_na(student, teacher)
        total = sum(gate_na[n, a].item() * naive_na[n][a] for n in range(2) for a in range(7))
        assert gate_na.sum() > 1
        value = self(student, teacher, **{self.gate: gate_na})
        assert value.item() == pytest.approx(total / gate_na.sum().item(), rel=1e-9)
        assert value.shape == ()
        small = self(student, teacher, **{self.gate: gate_na / 100})  # sum of the gate < 1: divided by 1
        assert small.item() == pytest.approx(total / 100, rel=1e-9)

    def test_gradient_does_not_reach_the_gate(self) -> None:
        student, teacher = self.pair()
        gate_na = uniform(2, 7).requires_grad_()
        self(student.requires_grad_(), teacher, **{self.gate: gate_na}).backward()
        assert student.grad is not None
        assert gate_na.grad is None

    def test_bool_and_half_gates(self) -> None:
        student, teacher = (x.float() for x in self.pair())
        gate_na = uniform(2, 7, seed=3) > 0.5
        value = self(student, teacher, **{self.gate: gate_na})
        for dtype in (torch.float16, torch.float64, torch.int64):
            other = self(student, teacher, **{self.gate: gate_na.to(dtype)})
            assert other.dtype == torch.float32
            assert torch.equal(value, other)

    def test_closed_gate_is_zero_and_finite(self) -> None:
        student, teacher = (x.requires_grad_() for x in self.pair())
        value = self(student, teacher, **{self.gate: torch.zeros(2, 7)})
        value.backward()
        assert value.item() == 0
        assert student.grad is not None
        assert (student.grad == 0).all()
        one_closed_na = torch.ones(2, 7)
        one_closed_na[0] = 0
        alone = self(student[1:], teacher[1:]).item()
        assert self(student, teacher, **{self.gate: one_closed_na}).item() == pytest.approx(alone, rel=1e-9)

    def test_gate_errors(self) -> None:
        student, teacher = self.pair()
        with pytest.raises(
            ConfigError, match=rf"{self.gate} has shape \(2, 3, 7\), expected \(2, 7\): one weight for every"
        ):
            self(student, teacher, **{self.gate: torch.ones(2, 3, 7)})
