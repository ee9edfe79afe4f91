"""crosskd: cross predictions against the teacher's, and the student's features on the teacher's scale."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss
from kd_yolo.losses.crosskd import restandardise

from .properties import NOT_NUMBERS, ResponseContract, assert_rejects, few_examples, random, uniform

TERM: dict[str, object] = {"weight": 2.0}
PARAMETERS: dict[str, object] = {"tau": 1.0, "beta": 1.0, "box_weight": 1.0, "bins": 16}

PARAMS = {"tau": 2.0, "beta": 1.5, "box_weight": 0.7, "bins": 3}


def naive_class(s: float, t: float, tau: float, beta: float) -> float:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    q, p = sigmoid(s / tau), sigmoid(t / tau)
    return -(p * math.log(q) + (1 - p) * math.log(1 - q)) * tau**2 * abs(sigmoid(t) - sigmoid(s)) ** beta


def naive_side(s: list[float], t: list[float], tau: float) -> float:
    total_s, total_t = sum(math.exp(x / tau) for x in s), sum(math.exp(x / tau) for x in t)
    kl = 0.0
    for x, y in zip(s, t, strict=True):
        kl += math.exp(y / tau) / total_t * ((y - x) / tau + math.log(total_s) - math.log(total_t))
    return tau**2 * kl


def naive(
    student: Tensor, teacher: Tensor, tau: float = 2.0, beta: float = 1.5, box_weight: float = 0.7, bins: int = 3
) -> list[list[float]]:
    n, channels, a = student.shape
    rows = []
    for image in range(n):
        rows.append([0.0] * a)
        for anchor in range(a):
            s, t = student[image, :, anchor].tolist(), teacher[image, :, anchor].tolist()
            for c in range(4 * bins, channels):
                rows[image][anchor] += naive_class(s[c], t[c], tau, beta)
            for side in range(4):
                part = slice(side * bins, (side + 1) * bins)
                rows[image][anchor] += box_weight * naive_side(s[part], t[part], tau) / 4
    return rows


class TestContract(ResponseContract):
    loss = "crosskd"
    shape = (2, 14, 7)
    reads = "raw"
    shape_help = r"both sides are outputs of the teacher's head"
    mismatch = ((2, 144, 7), (2, 65, 7))
    naive_na = staticmethod(naive)

    def build(self) -> DistillationLoss:
        return build_loss("crosskd", **PARAMS)


@pytest.mark.parametrize(("tau", "beta", "box_weight"), [(1.0, 1.0, 1.0), (0.5, 2.0, 0.0), (3.0, 0.5, 2.0)])
@pytest.mark.parametrize(("shape", "bins"), [((2, 14, 7), 3), ((1, 9, 2), 2), ((2, 65, 3), 16)])
def test_formula(tau: float, beta: float, box_weight: float, shape: tuple[int, ...], bins: int) -> None:
    student, teacher = random(*shape, seed=1), random(*shape, seed=2)
    params = {"tau": tau, "beta": beta, "box_weight": box_weight, "bins": bins}
    expected = sum(map(sum, naive(student, teacher, **params))) / (shape[0] * shape[2])
    assert build_loss("crosskd", **params)(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_defaults() -> None:
    student, teacher = random(1, 66, 2, seed=1), random(1, 66, 2, seed=2)
    expected = sum(map(sum, naive(student, teacher, 1.0, 1.0, 1.0, 16))) / 2
    assert build_loss("crosskd")(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_is_the_sum_of_the_two_losses() -> None:
    student, teacher, gate = random(2, 14, 7, seed=1), random(2, 14, 7, seed=2), uniform(2, 7, seed=3)
    classes = build_loss("bkd", tau=2.0, beta=1.5)(student[:, 12:], teacher[:, 12:], gate_na=gate)
    boxes = build_loss("dfl_kl", tau=2.0, bins=3)(student[:, :12], teacher[:, :12], weight_na=gate)
    value = build_loss("crosskd", **PARAMS)(student, teacher, gate_na=gate).item()
    assert value == pytest.approx((classes + 0.7 * boxes).item(), rel=1e-12)


def test_one_bin_is_defined_without_boxes() -> None:
    student, teacher = random(2, 7, 5, seed=1), random(2, 7, 5, seed=2)
    value = build_loss("crosskd", bins=1, box_weight=0)(student, teacher).item()
    assert value == pytest.approx(build_loss("bkd")(student[:, 4:], teacher[:, 4:]).item(), rel=1e-12)
    moved = torch.cat([student[:, :4] + 9, student[:, 4:]], 1)
    assert build_loss("crosskd", bins=1, box_weight=0)(moved, teacher).item() == value


@few_examples
@given(s=st.sampled_from([-60.0, 0.0, 60.0]), t=st.sampled_from([-60.0, 0.0, 60.0]), beta=st.sampled_from([0, 0.5, 1]))
def test_finite_at_extreme_logits_of_one_class(s: float, t: float, beta: float) -> None:
    student = torch.tensor([s, -s] * 4 + [s]).reshape(1, 9, 1).requires_grad_()
    value = build_loss("crosskd", beta=beta, bins=2)(student, torch.tensor([t, -t] * 4 + [t]).reshape(1, 9, 1))
    value.backward()
    assert value.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_errors() -> None:
    assert_rejects("crosskd", "tau", [0, -1.0, *NOT_NUMBERS])
    assert_rejects("crosskd", "beta", [-0.5, *NOT_NUMBERS])
    assert_rejects("crosskd", "box_weight", [-0.5, *NOT_NUMBERS])
    assert_rejects("crosskd", "bins", [0, -1, 2.0, *NOT_NUMBERS])
    with pytest.raises(ConfigError, match=r"bins is 1 with box_weight=1\.0: .*reg_max 1 \(YOLO26\).* Use box_weight=0"):
        build_loss("crosskd", bins=1)
    for channels in (64, 7):
        with pytest.raises(ConfigError, match=rf"bins=16, which is 64 channels before .* have {channels}: set bins to"):
            build_loss("crosskd")(random(2, channels, 7), random(2, channels, 7))


def naive_restandardise(student: Tensor, teacher: Tensor) -> Tensor:
    moved = torch.empty_like(student)
    for c in range(student.shape[1]):
        s, t = student[:, c].reshape(-1).tolist(), teacher[:, c].reshape(-1).tolist()
        mean_s, mean_t, std_s, std_t = (
            statistics.fmean(s),
            statistics.fmean(t),
            statistics.stdev(s),
            statistics.stdev(t),
        )
        values = [(x - mean_s) / (std_s + 1e-6) * std_t + mean_t for x in s]
        moved[:, c] = torch.tensor(values, dtype=torch.float64).reshape(moved[:, c].shape)
    return moved


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 1, 1), (1, 4, 3, 1)])
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_restandardise(shape: tuple[int, ...], scale: float) -> None:
    """The small scale is where the epsilon shows."""
    student, teacher = random(*shape, seed=1, scale=scale) + 2 * scale, random(*shape, seed=2, scale=3) - 1
    moved = restandardise(student, teacher)
    assert moved.shape == shape
    assert torch.allclose(moved, naive_restandardise(student, teacher), rtol=1e-9, atol=1e-12)


def test_restandardised_channels_have_the_teachers_mean_and_deviation() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1, scale=7) + 5, random(2, 3, 6, 2, seed=2, scale=0.2) - 3
    moved = restandardise(student, teacher)
    assert moved.mean((0, 2, 3)).tolist() == pytest.approx(teacher.mean((0, 2, 3)).tolist(), rel=1e-5)
    assert moved.std((0, 2, 3)).tolist() == pytest.approx(teacher.std((0, 2, 3)).tolist(), rel=1e-5)
    assert torch.allclose(restandardise(teacher, teacher), teacher, rtol=1e-4)


def test_restandardise_sends_gradients_to_the_student_only() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1).requires_grad_(), random(2, 3, 4, 5, seed=2).requires_grad_()
    weight = random(2, 3, 4, 5, seed=3)
    (restandardise(student, teacher) * weight).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(lambda x: restandardise(x, teacher.detach()), student, fast_mode=True)
    assert student.grad.sum((0, 2, 3)).abs().max() < 1e-9, "a constant on a channel changes nothing"


def test_restandardise_keeps_half_maps_half_and_finite() -> None:
    """Squares of values near 500 do not fit in float16: the deviation is taken in float32, under autocast too."""
    student, teacher = (random(2, 3, 4, 5, seed=s, scale=200).half() for s in (1, 2))
    expected = restandardise(student.float(), teacher.float()).half()
    with torch.autocast("cpu", torch.bfloat16):
        moved = restandardise(student, teacher)
    assert moved.dtype == torch.float16
    assert moved.isfinite().all()
    assert torch.equal(moved, expected)
    last = student.to(memory_format=torch.channels_last)
    assert torch.equal(restandardise(last, teacher), expected)


def test_restandardise_is_finite_on_dead_channels() -> None:
    student, teacher = random(2, 3, 4, 5, seed=1).float(), random(2, 3, 4, 5, seed=2).float()
    student[:, 0], teacher[:, 1] = 4, 7
    moved = restandardise(student.requires_grad_(), teacher)
    moved.square().sum().backward()
    assert moved.isfinite().all()
    assert torch.allclose(moved[:, 1], torch.full((2, 4, 5), 7.0))
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_cross_predictions_train_the_student_below_the_teachers_head() -> None:
    """The whole idea in one place: a frozen head of the teacher on the student's feature moves the student alone."""
    body, head = nn.Conv2d(3, 4, 1).double(), nn.Conv2d(4, 9, 1).double().requires_grad_(False)
    image, teacher = random(2, 3, 2, 3, seed=1), random(2, 4, 2, 3, seed=2)
    own, other = head(restandardise(body(image), teacher)).flatten(2), head(teacher).flatten(2)
    build_loss("crosskd", bins=2)(own, other).backward()
    assert body.weight.grad is not None
    assert body.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in head.parameters())


def test_restandardise_errors() -> None:
    with pytest.raises(
        ConfigError, match=r"student's feature has 2 channels, the teacher's 3: .*heads need equal width"
    ):
        restandardise(random(2, 2, 4, 5), random(2, 3, 4, 5))
    for shapes in (((1, 3, 1, 1), (2, 3, 4, 5)), ((2, 3, 4, 5), (1, 3, 1, 1))):
        with pytest.raises(ConfigError, match=r"one value \(N\*H\*W = 1\)"):
            restandardise(*(random(*shape) for shape in shapes))
