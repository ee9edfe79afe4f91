"""mgd: the masked student map, through a generator, against the teacher's."""

from __future__ import annotations

import copy
import io
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.losses import DistillationLoss, build_loss
from kd_yolo.losses.mgd import MaskedGenerativeLoss, generation_error

from .properties import NOT_NUMBERS, FeatureContract, assert_rejects, few_examples, random

TERM: dict[str, object] = {"weight": 1.0, "share": 0.1}
PARAMETERS: dict[str, object] = {"alpha": 2e-5, "mask_ratio": 0.65, "bottleneck": None, "seed": 0}

SHAPE = (2, 2, 3, 4)


def build(channels: int = 2, **params: object) -> MaskedGenerativeLoss:
    loss = build_loss("mgd", channels=channels, **params)
    assert isinstance(loss, MaskedGenerativeLoss)
    return loss


def naive_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution by loops, zero padded to keep the size."""
    n, _, h, w = x.shape
    c_out, c_in, k, _ = conv.weight.shape
    out = torch.zeros(n, c_out, h, w, dtype=torch.float64)
    for i, o, y, z in product(range(n), range(c_out), range(h), range(w)):
        total = conv.bias[o].item()
        for c, dy, dz in product(range(c_in), range(k), range(k)):
            yy, zz = y + dy - k // 2, z + dz - k // 2
            if 0 <= yy < h and 0 <= zz < w:
                total += conv.weight[o, c, dy, dz].item() * x[i, c, yy, zz].item()
        out[i, o, y, z] = total
    return out


def naive(loss: MaskedGenerativeLoss, student: Tensor, teacher: Tensor, keep: Tensor, alpha: float) -> float:
    x = torch.stack([student[:, c] * keep[:, 0] for c in range(student.shape[1])], 1)
    convs = [module for module in loss.generator if isinstance(module, nn.Conv2d)]
    for i, conv in enumerate(convs):
        x = naive_conv(x if i == 0 else x.clamp(min=0), conv)
    error = sum((g - t) ** 2 for g, t in zip(x.reshape(-1).tolist(), teacher.reshape(-1).tolist(), strict=True))
    return alpha / len(student) * error


def first_mask(seed: int, mask_ratio: float) -> Tensor:
    uniform_n1hw = torch.rand(SHAPE[0], 1, *SHAPE[2:], generator=torch.Generator().manual_seed(seed))
    return (uniform_n1hw >= mask_ratio).double()


class TestContract(FeatureContract):
    loss = "mgd"
    zero_when_equal = False
    batch_mean = False  # masks differ between images: see test_batch_size

    def build(self) -> DistillationLoss:
        return build_loss("mgd", channels=3)


@pytest.mark.parametrize(("bottleneck", "mask_ratio", "alpha", "seed"), [(None, 0.65, 2e-5, 0), (3, 0.3, 0.5, 7)])
def test_formula(bottleneck: int | None, mask_ratio: float, alpha: float, seed: int) -> None:
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    loss = build(bottleneck=bottleneck, mask_ratio=mask_ratio, alpha=alpha, seed=seed)
    expected = naive(loss, student, teacher, first_mask(seed, mask_ratio), alpha)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_defaults() -> None:
    loss = build()
    assert (loss.alpha, loss.mask_ratio) == (2e-5, 0.65)
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    assert torch.equal(
        loss(student, teacher), build(alpha=2e-5, mask_ratio=0.65, bottleneck=None, seed=0)(student, teacher)
    )


def test_generators() -> None:
    published = [
        (m.in_channels, m.out_channels, m.kernel_size[0]) for m in build(8).generator if isinstance(m, nn.Conv2d)
    ]
    assert published == [(8, 8, 3), (8, 8, 3)]
    small = build(8, bottleneck=2).generator
    assert [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in small if isinstance(m, nn.Conv2d)] == [
        (8, 2, 1),
        (2, 2, 3),
        (2, 8, 1),
    ]


def test_identity_generator_without_mask_is_the_summed_error() -> None:
    """The limiting case: G = identity and nothing hidden leave alpha * C*H*W * mean squared error."""
    student, teacher = random(*SHAPE, seed=1).abs(), random(*SHAPE, seed=2)
    loss = build(mask_ratio=0, alpha=0.5)
    for conv in (loss.generator[0], loss.generator[2]):
        assert isinstance(conv, nn.Conv2d)
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    expected = 0.5 * 2 * 3 * 4 * (student - teacher).square().mean().item()
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert loss(student, student).item() == pytest.approx(0, abs=1e-20)


@few_examples
@given(mask_ratio=st.floats(0, 0.95), seed=st.integers(0, 2**63 - 1))
def test_mask_is_float_and_hides_the_masked_share(mask_ratio: float, seed: int) -> None:
    keep_n1hw = build(mask_ratio=mask_ratio, seed=seed).draw_keep_mask(4, 40, 50)
    assert keep_n1hw.shape == (4, 1, 40, 50)
    assert keep_n1hw.dtype == torch.float32
    assert set(keep_n1hw.unique().tolist()) <= {0.0, 1.0}
    # Five standard deviations of a share estimated from 8000 positions.
    assert 1 - keep_n1hw.mean().item() == pytest.approx(
        mask_ratio, abs=5 * (mask_ratio * (1 - mask_ratio) / 8000) ** 0.5
    )


def test_hidden_positions_do_not_matter() -> None:
    """The invariance: what the student has where the mask is 0 changes nothing, and gets no gradient."""
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    hidden = (first_mask(0, 0.65) == 0).expand(SHAPE)
    other = torch.where(hidden, 1e3, student).requires_grad_()
    value = build()(other, teacher)
    assert value.item() == pytest.approx(build()(student, teacher).item(), rel=1e-12)
    value.backward()
    assert other.grad is not None
    assert (other.grad[hidden] == 0).all()
    assert other.grad[~hidden].abs().sum() > 0


def test_batch_size() -> None:
    """The sum is over one image's values: the same images twice, with the same masks, give the same number."""
    student, teacher = random(*SHAPE, seed=1), random(*SHAPE, seed=2)
    once = generation_error(student, teacher, alpha=0.5).item()
    twice = generation_error(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1), alpha=0.5).item()
    assert twice == pytest.approx(once, rel=1e-12)
    open_loss = build(mask_ratio=0)
    once = open_loss(student, teacher).item()
    assert open_loss(student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)).item() == pytest.approx(once, rel=1e-12)


def test_the_generator_is_trained() -> None:
    loss = build(bottleneck=3)
    loss(random(*SHAPE, seed=1), random(*SHAPE, seed=2)).backward()
    for weight in loss.generator.parameters():
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32
        assert weight.grad.abs().sum() > 0


def test_halved_generator_computes_in_float32() -> None:
    student, teacher = random(*SHAPE, seed=1).float(), random(*SHAPE, seed=2).float()
    value = build().half()(student, teacher)
    rounded = build()
    rounded.generator.half().float()
    assert value.dtype == torch.float32
    assert torch.equal(value, rounded(student, teacher))


def test_every_call_draws_a_new_mask_from_its_own_stream() -> None:
    one, two, other = build(), build(), build(seed=1)
    masks = [one.draw_keep_mask(2, 8, 8) for _ in range(3)]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0][0], masks[0][1])
    torch.rand(5)  # the global stream
    assert all(torch.equal(mask, two.draw_keep_mask(2, 8, 8)) for mask in masks)
    assert not torch.equal(masks[0], other.draw_keep_mask(2, 8, 8))


def test_weights_depend_on_the_seed_only_and_are_torchs_default() -> None:
    state = torch.get_rng_state()
    torch.rand(3)
    one, two, other = build(seed=3), build(seed=3), build(seed=4)
    assert torch.equal(one.generator[0].weight, two.generator[0].weight)
    assert not torch.equal(one.generator[0].weight, other.generator[0].weight)
    torch.manual_seed(3)
    assert torch.equal(one.generator[0].weight, nn.Conv2d(2, 2, 3, padding=1).weight)
    torch.set_rng_state(state)


@pytest.mark.parametrize("halved", [False, True])
def test_resume_continues_the_masks(halved: bool) -> None:
    loss = build(seed=5)
    loss.draw_keep_mask(2, 8, 8)
    file = io.BytesIO()
    torch.save({key: x.half() if halved else x for key, x in loss.state_dict().items()}, file)
    expected = [loss.draw_keep_mask(2, 8, 8) for _ in range(2)]
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert halved or saved["_extra_state"].dtype == torch.uint8
    resumed = build(seed=99)
    resumed.load_state_dict(saved)
    assert all(torch.equal(mask, resumed.draw_keep_mask(2, 8, 8)) for mask in expected)
    again = build(seed=98)
    again.load_state_dict(saved)  # the first resume must not have moved the saved state
    assert torch.equal(again.draw_keep_mask(2, 8, 8), expected[0])


def test_saved_state_does_not_move_with_the_loss() -> None:
    loss = build()
    saved = loss.state_dict()["_extra_state"]
    before = saved.clone()
    loss.draw_keep_mask(2, 8, 8)
    assert torch.equal(saved, before)
    assert not torch.equal(loss.state_dict()["_extra_state"], before)


def test_deepcopy_goes_on_from_the_same_state_on_its_own() -> None:
    loss = build()
    loss.draw_keep_mask(2, 8, 8)
    twin = copy.deepcopy(loss)
    expected = [loss.draw_keep_mask(2, 8, 8) for _ in range(2)]
    assert all(torch.equal(mask, twin.draw_keep_mask(2, 8, 8)) for mask in expected)


def test_errors() -> None:
    assert_rejects("mgd", "alpha", [0, -1e-5, *NOT_NUMBERS], channels=2)
    assert_rejects("mgd", "mask_ratio", [1, 1.5, -0.1, *NOT_NUMBERS], channels=2)
    assert_rejects("mgd", "channels", [0, -1, 2.0, *NOT_NUMBERS])
    assert_rejects("mgd", "bottleneck", [0, -1, 2.0, "1", True], channels=2)
    assert_rejects("mgd", "seed", [-1, 2**63, 0.5, *NOT_NUMBERS], channels=2)
    with pytest.raises(ConfigError, match=r"needs the parameter\(s\) channels"):
        build_loss("mgd")
    with pytest.raises(ConfigError, match=r"has no parameter 'mask_ration'. Did you mean 'mask_ratio'"):
        build_loss("mgd", channels=2, mask_ration=0.5)
    with pytest.raises(ConfigError, match=r"built with channels=4, the maps have 2: build it with channels=2"):
        build(4)(random(*SHAPE), random(*SHAPE))
