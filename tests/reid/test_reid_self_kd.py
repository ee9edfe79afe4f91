"""Self-distillation: every part by a naive loop, who gets a gradient, batch size, map size, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses.self_kd import AuxiliaryHead, SelfDistillation, SelfKDWeights, feature_hint

from .loss_helpers import NOT_NUMBERS, assert_batch_mean, assert_precise, assert_rejects, assert_student_only, random

CHANNELS = {"layer1": 2, "layer2": 3, "layer3": 4, "layer4": 5}
DIM, NUM_IDENTITIES = 6, 3
TARGETS = torch.tensor([0, 2, 1, 2])


def build(teacher: str | None = None, students: tuple[str, ...] = (), **weights: float) -> SelfDistillation:
    torch.manual_seed(0)
    loss = SelfDistillation(CHANNELS, DIM, NUM_IDENTITIES, teacher, students, SelfKDWeights(**weights))
    for head in loss.heads.values():
        head.classifier.weight.data *= 100  # logits that differ
    return loss.double()


def inputs(size: tuple[int, int] = (4, 2)) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    maps = {stage: random(4, count, *size, seed=count) for stage, count in CHANNELS.items()}
    return maps, random(4, DIM, seed=7), random(4, NUM_IDENTITIES, seed=8)


def log_softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    total = math.log(sum(math.exp(x / temperature) for x in row))
    return [x / temperature - total for x in row]


def naive_ce(logits: Tensor, smoothing: float) -> float:
    total = 0.0
    for row, target in zip(logits.tolist(), TARGETS.tolist(), strict=True):
        for k, log_q in enumerate(log_softmax(row)):
            total -= ((1 - smoothing) * (k == target) + smoothing / len(row)) * log_q
    return total / len(logits)


def naive_kl(student: Tensor, teacher: Tensor, temperature: float) -> float:
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        logs = zip(log_softmax(t, temperature), log_softmax(s, temperature), strict=True)
        total += sum(math.exp(log_p) * (log_p - log_q) for log_p, log_q in logs)
    return temperature**2 * total / len(student)


def naive_hint(student: Tensor, teacher: Tensor) -> float:
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    return sum((s - t) ** 2 for s, t in pairs) / student.numel()


@pytest.mark.parametrize(
    ("teacher", "students", "taught"),
    [
        (None, (), ["layer1", "layer2", "layer3"]),
        ("layer4", ("layer2",), ["layer2"]),
        ("layer3", (), ["layer1", "layer2", "layer3"]),
        ("layer2", ("layer1",), ["layer1", "layer2"]),
    ],
)
def test_parts_and_total(teacher: str | None, students: tuple[str, ...], taught: list[str]) -> None:
    loss = build(teacher, students, ce=0.7, kl=0.4, feature=0.2, temperature=2.5, smoothing=0.2)
    maps, final_nd, final_nk = inputs()
    value = loss.parts(maps, final_nd, final_nk, TARGETS)
    assert loss(maps, final_nd, final_nk, TARGETS).item() == pytest.approx(value.total.item())
    assert list(loss.heads) == taught
    outputs = {stage: loss.heads[stage](maps[stage]) for stage in taught}
    teacher_nd, teacher_nk = outputs.get(loss.teacher, (final_nd, final_nk))
    pupils = [stage for stage in taught if stage != loss.teacher]
    ce = sum(naive_ce(logits, 0.2) for _, logits in outputs.values())
    kl = sum(naive_kl(outputs[stage][1], teacher_nk, 2.5) for stage in pupils)
    feature = sum(naive_hint(outputs[stage][0], teacher_nd) for stage in pupils)
    assert value.ce.item() == pytest.approx(ce, rel=1e-9)
    assert value.kl.item() == pytest.approx(kl, rel=1e-9)
    assert value.feature.item() == pytest.approx(feature, rel=1e-9)
    assert value.total.item() == pytest.approx(0.7 * ce + 0.4 * kl + 0.2 * feature, rel=1e-9)


def test_defaults_are_those_of_the_command() -> None:
    weights = SelfKDWeights()
    assert (weights.ce, weights.kl, weights.feature, weights.temperature) == (1.0, 1.0, 0.03, 3.0)
    assert SelfDistillation(CHANNELS, DIM, 3).weights == weights


def test_head_is_pool_bottleneck_norm_classifier() -> None:
    head = build().heads["layer1"]
    x = random(4, 2, 3, 5)
    feature, logits = head(x)
    projected = x.mean((2, 3)) @ head.bottleneck.weight.T
    centred = projected - projected.mean(0)
    expected = centred / (projected.var(0, unbiased=False) + head.norm.eps).sqrt()
    assert torch.allclose(feature, expected)
    assert torch.allclose(logits, expected @ head.classifier.weight.T)
    assert not head.norm.bias.requires_grad


@pytest.mark.parametrize("teacher", [None, "layer3"])
def test_every_head_and_stage_gets_a_gradient_and_the_final_teacher_none(teacher: str | None) -> None:
    loss = build(teacher)
    maps, final_nd, final_nk = inputs()
    leaves = [x.requires_grad_() for x in (*maps.values(), final_nd, final_nk)]
    loss(maps, final_nd, final_nk, TARGETS).backward()
    for name, parameter in loss.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in leaves[:3])
    assert all(x.grad is None for x in leaves[3:])


@pytest.mark.parametrize("part", ["ce", "kl", "feature"])
def test_each_part_alone_teaches_every_student_stage(part: str) -> None:
    loss = build(**{**dict.fromkeys(("ce", "kl", "feature"), 0.0), part: 1.0})
    maps, final_nd, final_nk = inputs()
    leaves = [maps[stage].requires_grad_() for stage in loss.students]
    loss(maps, final_nd, final_nk, TARGETS).backward()
    assert all(x.grad is not None and x.grad.abs().sum() > 0 for x in leaves)


def test_an_early_teacher_learns_from_its_labels_only() -> None:
    maps, final_nd, final_nk = inputs()
    gradients = []
    for weights in ({"kl": 0.0, "feature": 0.0}, {"kl": 5.0, "feature": 5.0}):
        loss = build("layer3", **weights)
        loss(maps, final_nd, final_nk, TARGETS).backward()
        gradients.append([p.grad for p in loss.heads["layer3"].parameters() if p.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_twice_the_batch_is_the_same_loss() -> None:
    loss = build()
    maps, final_nd, final_nk = inputs()
    once = loss.parts(maps, final_nd, final_nk, TARGETS)
    double = {stage: torch.cat((x, x)) for stage, x in maps.items()}
    twice = loss.parts(double, final_nd.repeat(2, 1), final_nk.repeat(2, 1), TARGETS.repeat(2))
    for part in ("total", "ce", "kl", "feature"):
        assert getattr(twice, part).item() == pytest.approx(getattr(once, part).item(), rel=1e-9)


def test_any_map_size() -> None:
    loss = build()
    for size in ((1, 1), (8, 4), (5, 3)):
        assert loss(*inputs(size), TARGETS).isfinite()


def test_hint() -> None:
    student, teacher = random(4, 6, seed=1), random(4, 6, seed=2)
    assert feature_hint(student, teacher).item() == pytest.approx(naive_hint(student, teacher), rel=1e-9)
    assert_student_only(feature_hint, student, teacher)
    assert_precise(feature_hint, student * 30, teacher * 30)
    assert_batch_mean(feature_hint, student, teacher)


def test_total_is_float32_under_autocast() -> None:
    loss = build().float()
    maps, final_nd, final_nk = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss({k: x.bfloat16() for k, x in maps.items()}, final_nd.bfloat16(), final_nk.bfloat16(), TARGETS)
    assert value.dtype == torch.float32


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"no stage 'layer5'. Did you mean 'layer\d'\? Known: layer1, layer2, layer3"):
        build("layer5")
    with pytest.raises(ConfigError, match=r"'layer2' teaches the stages before it .layer1., not layer3, layer2: set"):
        build("layer2", ("layer1", "layer3", "layer2"))
    with pytest.raises(ConfigError, match=r"'layer1' teaches the stages before it .none., not itself"):
        build("layer1")
    with pytest.raises(ConfigError, match=r"head of its own, which ce=0 leaves untrained: set self_kd.ce_weight=1.0"):
        build("layer3", ce=0.0)
    for name in ("ce", "kl", "feature", "smoothing"):
        assert_rejects(SelfKDWeights, name, [-0.1, None, *NOT_NUMBERS])
    assert_rejects(SelfKDWeights, "temperature", [0, None, *NOT_NUMBERS])


def test_what_counts_how_much_and_how_heads_start() -> None:
    weights = SelfKDWeights()
    assert (weights.ce, weights.kl, weights.feature, weights.temperature, weights.smoothing) == (1, 1, 0.03, 3, 0.1)
    torch.manual_seed(0)
    head = AuxiliaryHead(64, 400, 500)
    assert float(head.classifier.weight.std()) == pytest.approx(0.01, rel=0.02)
    assert float(head.bottleneck.weight.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)  # Kaiming, fan out
    assert not head.norm.bias.requires_grad
