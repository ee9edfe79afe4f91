"""BNNeck, pools, heads and the local branch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.heads import ArcFaceHead, CircleHead, CosFaceHead, Head, build_head, heads
from kd_yolo.reid.model.local import LocalBranch
from kd_yolo.reid.model.neck import BNNeck, GeM, unit_rows
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.train.distributed import World
from kd_yolo.reid.train.objective import Objective
from kd_yolo.reid.train.start import network_of

from .loss_helpers import NOT_NUMBERS, assert_rejects, random

TARGETS = torch.tensor([0, 3, 1, 2, 2])


def test_bnneck_bias_stays_0_and_the_norm_is_between_the_features() -> None:
    neck = BNNeck(5)
    x = random(4, 5, 3, 2).float()
    f_t, f_i = neck(x)
    assert torch.allclose(f_t, x.mean((2, 3)))
    assert torch.allclose(f_i, (f_t - f_t.mean(0)) / (f_t.var(0, unbiased=False) + neck.norm.eps).sqrt(), atol=1e-5)
    assert [name for name, p in neck.named_parameters() if not p.requires_grad] == ["norm.bias"]
    optimizer = torch.optim.SGD([p for p in neck.parameters() if p.requires_grad], lr=1.0)
    (f_i * random(4, 5, seed=2)).sum().backward()
    optimizer.step()
    assert torch.equal(neck.norm.bias, torch.zeros(5))
    assert not torch.equal(neck.norm.weight, torch.ones(5))


def test_projection() -> None:
    neck = BNNeck(5, dim=3)
    f_t, f_i = neck(random(4, 5, 3, 2).float())
    assert f_t.shape == f_i.shape == (4, 3)
    assert neck.dim == 3
    assert neck.project.bias is None


def test_pools() -> None:
    x = random(2, 3, 4, 5).abs()
    naive = [[(sum(v**3 for v in c.flatten().tolist()) / 20) ** (1 / 3) for c in image] for image in x]
    assert torch.allclose(GeM()(x), torch.tensor(naive, dtype=torch.float64))
    assert torch.allclose(GeM(p=1.0)(x), x.mean((2, 3)))
    assert torch.allclose(GeM(p=300.0)(x + 1), (x + 1).amax((2, 3)), rtol=0.02)
    assert torch.equal(BNNeck(3, pool="max").pool(x), x.amax((2, 3)))
    gem = GeM()
    negative = (-x).float().requires_grad_()
    gem(negative).sum().backward()
    assert gem.p.grad is not None
    assert gem.p.grad.isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        assert gem(x.half() * 300).isfinite().all()
    with pytest.raises(ConfigError, match=r"unknown pool 'gme'. Did you mean 'gem'"):
        BNNeck(3, pool="gme")


def test_unit_rows() -> None:
    assert torch.allclose(unit_rows(random(3, 4)).norm(dim=-1), torch.ones(3, dtype=torch.float64))
    assert unit_rows(random(3, 4).half()).dtype == torch.float32


def cosines(head: Head, f: Tensor) -> list[list[float]]:
    rows, weights = f.tolist(), head.weight.tolist()
    return [
        [sum(a * b for a, b in zip(r, w, strict=True)) / math.hypot(*r) / math.hypot(*w) for w in weights] for r in rows
    ]


def margin_logit(name: str, cosine: float, is_target: bool) -> float:
    if name == "arcface":
        if not is_target:
            return 30 * cosine
        angle = math.acos(cosine)
        return 30 * (math.cos(angle + 0.5) if angle + 0.5 <= math.pi else cosine - 0.5 * math.sin(0.5))
    if name == "cosface":
        return 30 * (cosine - 0.35 * is_target)
    if is_target:
        return 64 * max(0.0, 1.35 - cosine) * (cosine - 0.65)
    return 64 * max(0.0, cosine + 0.35) * (cosine - 0.35)


@pytest.mark.parametrize("name", ["arcface", "cosface", "circle"])
def test_margin_heads(name: str) -> None:
    head = build_head(name, 3, 4).double()
    f = torch.cat((random(4, 3), -head.weight[2:3].detach()))  # the last at angle pi from its target
    of_f = cosines(head, f)
    expected = [
        [margin_logit(name, max(-1.0, c), k == target) for k, c in enumerate(row)]
        for row, target in zip(of_f, TARGETS.tolist(), strict=True)
    ]
    assert torch.allclose(head(f, TARGETS), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-5)
    plain = torch.tensor(of_f, dtype=torch.float64) * (64 if name == "circle" else 30)
    assert torch.allclose(head.plain(f), plain, rtol=1e-9)


def test_linear_head_has_no_margin_and_no_bias() -> None:
    head = build_head("linear", 3, 4).double()
    f = random(5, 3)
    assert torch.equal(head(f, TARGETS), head.plain(f))
    assert torch.allclose(head.plain(f), f @ head.weight.T)
    assert [name for name, _ in head.named_parameters()] == ["weight"]


@pytest.mark.parametrize(("kind", "name"), [(ArcFaceHead, "arcface"), (CosFaceHead, "cosface")])
def test_margin_0_is_plain(kind: type[ArcFaceHead], name: str) -> None:
    head = kind(3, 4, margin=0.0).double()
    f = random(5, 3)
    assert torch.allclose(head(f, TARGETS), head.plain(f), rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "arcface", "cosface", "circle"])
def test_margins_make_the_target_harder_gradients_finite_and_float32(name: str) -> None:
    torch.manual_seed(0)
    head = build_head(name, 3, 4)
    f = torch.cat((random(3, 3).float(), head.weight[2:3].detach(), -head.weight[2:3].detach())).requires_grad_()
    logits = head(f, TARGETS)
    if name in ("arcface", "cosface"):
        rows = torch.arange(5)
        assert (logits[rows, TARGETS] < head.plain(f)[rows, TARGETS]).all()
    F.cross_entropy(logits, TARGETS).backward()
    assert f.grad is not None
    assert f.grad.isfinite().all()
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            half = f.detach().bfloat16()
            assert torch.equal(head(half, TARGETS), head(half.float(), TARGETS))
            assert head.plain(half).dtype == torch.float32


def test_circle_weights_carry_no_gradient() -> None:
    head = CircleHead(2, 2, scale=1.0, margin=0.25).double()
    head.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    cosine = torch.tensor([[0.6, 0.8]], dtype=torch.float64, requires_grad=True)
    head.with_margin(cosine, torch.tensor([[True, False]])).sum().backward()
    assert cosine.grad is not None
    assert cosine.grad.tolist()[0] == pytest.approx([1.25 - 0.6, 0.8 + 0.25])


def test_head_errors() -> None:
    with pytest.raises(ConfigError, match=r"unknown head 'arcfase'. Did you mean 'arcface'"):
        build_head("arcfase", 3, 4)
    with pytest.raises(ConfigError, match="head over 0 identities"):
        build_head("linear", 3, 0)
    assert_rejects(lambda scale: ArcFaceHead(3, 4, scale), "scale", [0, None, *NOT_NUMBERS])
    assert_rejects(lambda margin: CircleHead(3, 4, margin=margin), "margin", [-1, None, *NOT_NUMBERS])


def test_a_head_from_outside_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its registration is all: settings, network, objective and checkpoint know it by its name."""
    monkeypatch.setattr(heads, "_classes", {**heads._classes})

    @heads.register("mine")
    class Mine(Head):
        """Ten times the cosine, one less for the target."""

        def scaled(self, cosine_nk: Tensor) -> Tensor:
            return 10 * cosine_nk

        def with_margin(self, cosine_nk: Tensor, is_target_nk: Tensor) -> Tensor:
            return self.scaled(cosine_nk) - is_target_nk.to(cosine_nk.dtype)

    config = resolve_reid(
        None, {"backbone": "resnet18", "pretrained": "none", "height": 64, "width": 32, "head": "mine"}
    )
    model = ReIDModel(network_of(config.network, 3)).train()
    assert isinstance(model.head, Mine)
    objective = Objective(config, model, [], World())
    before = model.head.weight.detach().clone()
    optimizer = torch.optim.SGD([*model.parameters(), *objective.parameters()], lr=0.1)
    step = objective(model, torch.rand(6, 3, 64, 32), torch.tensor([0, 0, 1, 1, 2, 2]))
    step.total.backward()
    optimizer.step()
    assert not torch.equal(model.head.weight, before)
    with pytest.raises(ConfigError, match=r"unknown head 'mein'. Did you mean 'mine'\? Known: .*mine"):
        resolve_reid(None, {"head": "mein"})


def test_local_branch() -> None:
    branch = LocalBranch(3, 16)
    x = random(4, 3, 16, 5).float()
    out = branch(x)
    assert out.shape == (4, 8, 128)
    assert torch.allclose(out.norm(dim=-1), torch.ones(4, 8))
    stripes = torch.stack([x[:, :, 2 * i : 2 * i + 2].amax((2, 3)) for i in range(8)], dim=2)
    reduced = F.batch_norm(branch.reduce(stripes.unsqueeze(-1)), None, None, training=True).squeeze(-1)
    assert torch.allclose(out, F.normalize(reduced.transpose(1, 2), dim=-1), atol=1e-5)


def test_local_branch_is_the_same_in_training_and_test() -> None:
    branch = LocalBranch(3, 8)
    x = random(4, 3, 8, 4).float()
    branch.norm.momentum = 1.0
    trained = branch(x)
    branch.eval()
    assert torch.allclose(branch(x), trained, atol=0.02)
    with pytest.raises(ConfigError, match=r"8 equal stripes, but the map has 4 rows: use network.height=256"):
        LocalBranch(3, 4)
    with pytest.raises(ConfigError, match="but the map has 12 rows"):
        LocalBranch(3, 12)
