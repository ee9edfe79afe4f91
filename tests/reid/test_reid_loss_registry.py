"""The registry of the ReID losses: what each promises, and one that is added from outside."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.losses import ReIDLoss, base, build_loss, check_loss, losses
from kd_yolo.reid.losses.self_kd import SelfKDWeights
from kd_yolo.reid.losses.triplet import mine_hardest
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.model.settings import MAX_WEIGHT
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.settings import LossSettings, ReIDConfig, SelfKDSettings, TeacherSettings
from kd_yolo.reid.train.batch import Batch
from kd_yolo.reid.train.distributed import World
from kd_yolo.reid.train.objective import Objective, _of_the_networks
from kd_yolo.reid.train.start import network_of

from .loss_helpers import random

NUM_IDS, DIM = 3, 6
TARGETS = torch.tensor([0, 0, 1, 1, 2, 2])
CHANNELS = {stage: 2 + i for i, stage in enumerate(base.STAGES)}
SMALL = {"backbone": "tiny_resnet", "pretrained": "none", "height": 64, "width": 32}
NETWORKS: dict[str, Any] = {
    "num_identities": lambda: NUM_IDS,
    "dim": lambda: DIM,
    "channels": lambda: CHANNELS,
    "teacher_norms": lambda: [{stage: nn.BatchNorm2d(3) for stage in base.STAGES} for _ in range(2)],
}


def maps(seed: int, channels: dict[str, int]) -> dict[str, Tensor]:
    return {stage: random(6, count, 4, 2, seed=seed + i) for i, (stage, count) in enumerate(channels.items())}


def inputs() -> dict[str, Any]:
    """Something of every kind that a loss may read, in float64."""
    features = random(6, DIM, seed=1)
    threes = dict.fromkeys(base.STAGES, 3)
    return {
        "features_nd": features,
        "logits_nk": random(6, NUM_IDS, seed=2),
        "targets_n": TARGETS,
        "local_nhd": F.normalize(random(6, 8, 4, seed=3), dim=-1),
        "triplets": mine_hardest(features, TARGETS),
        "own_features_nd": random(6, DIM, seed=4),
        "own_logits_nk": random(6, NUM_IDS, seed=5),
        "own_targets_n": TARGETS,
        "own_stages": maps(10, CHANNELS),
        "own_pre_relu": maps(20, CHANNELS),
        "teacher_features": [random(6, 5, seed=6), random(6, 7, seed=7)],
        "teacher_logits": [random(6, NUM_IDS, seed=8), random(6, NUM_IDS, seed=9)],
        "teacher_pre_relu": [maps(30, threes), maps(40, threes)],
    }


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    items = value.values() if isinstance(value, dict) else value
    return [x for item in items for x in tensors_of(item)]


def with_type(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: with_type(x, dtype) for key, x in value.items()}
    return [with_type(x, dtype) for x in value] if isinstance(value, list) else value


def build(name: str, **params: Any) -> ReIDLoss:
    torch.manual_seed(0)
    return build_loss(name, NETWORKS, params).eval()


def read_by(loss: ReIDLoss, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    return {key: with_type(value, dtype) for key, value in inputs().items() if key in loss.reads()}


@pytest.mark.parametrize("name", losses.names())
def test_one_loss_one_file_one_name_one_test_file(name: str) -> None:
    cls = losses.get(name)
    assert cls.__module__ == f"kd_yolo.reid.losses.{name}"
    assert (Path(__file__).parent / f"test_reid_{name}.py").is_file()
    assert cls.paper
    assert (inspect.getdoc(cls) or "").split("\n", 1)[0].endswith(".")
    assert cls.reads()
    assert all(key in base.OF_THE_NETWORKS or x.default is not x.empty for key, x in losses.parameters(name).items())


def test_the_inputs_are_those_of_a_batch_and_of_the_legend() -> None:
    assert set(inputs()) == set(base.INPUTS)
    for name in base.INPUTS:
        assert f"\n{name} " in (base.__doc__ or "")
        assert hasattr(Batch, name) or name in Batch.__dataclass_fields__


@pytest.mark.parametrize("name", losses.names())
def test_a_scalar_whose_gradient_reaches_the_student_only(name: str) -> None:
    loss = build(name).double()
    given = read_by(loss)
    leaves = {key: [x.requires_grad_() for x in tensors_of(value)] for key, value in given.items() if key != "triplets"}
    value = loss(**given)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value.item() > 0
    value.backward()
    own = [x for key, xs in leaves.items() if not key.startswith("teacher_") for x in xs]
    assert any(x.grad is not None and x.grad.isfinite().all() and x.grad.abs().sum() > 0 for x in own)
    assert all(x.grad is None for key, xs in leaves.items() if key.startswith("teacher_") for x in xs)


@pytest.mark.parametrize("name", losses.names())
def test_half_inputs_and_autocast_give_float32(name: str) -> None:
    loss = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(**read_by(loss, torch.bfloat16))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(**read_by(loss, torch.float32)).item(), rel=0.05)


@pytest.mark.parametrize("name", losses.names())
def test_parameters_are_checked_by_name_and_leave_the_random_state_alone(name: str) -> None:
    before = torch.get_rng_state()
    check_loss(name, {})
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ConfigError, match=f"loss '{name}' has no parameter 'nonsense'\\..* It takes: "):
        check_loss(name, {"nonsense": 1})
    for key in losses.parameters(name):
        bad = {} if key in base.OF_THE_NETWORKS else object()
        with pytest.raises(ConfigError):
            check_loss(name, {key: bad})


def test_what_the_networks_decide_is_what_the_objective_gives() -> None:
    model = ReIDModel(network_of(resolve_reid(None, SMALL).network, NUM_IDS))
    decided = _of_the_networks(model, [])
    assert set(decided) == set(base.OF_THE_NETWORKS)
    with pytest.raises(
        ConfigError, match=r"loss 'center' has no parameter 'dim'. The networks decide it. It takes: rate"
    ):
        check_loss("center", {"dim": 3})


def test_weights_and_losses_have_the_same_defaults() -> None:
    def default(name: str, key: str) -> Any:
        return losses.parameters(name)[key].default

    kd, under = SelfKDSettings(), TeacherSettings()
    assert LossSettings().smoothing == default("id", "smoothing") == SelfKDWeights().smoothing
    assert LossSettings().margin == default("triplet", "margin") == default("local", "margin")
    assert SelfKDWeights() == SelfKDWeights(kd.ce_weight, kd.kl_weight, kd.feature_weight, kd.temperature)
    assert (under.logit, under.temperature) == (default("logit", "divergence"), default("logit", "temperature"))


def small(**changes: Any) -> ReIDConfig:
    return resolve_reid(None, {**SMALL, **changes})


def one_step(config: ReIDConfig) -> tuple[dict[str, float], bool]:
    """The parts of a step, and whether it moved the network."""
    torch.manual_seed(0)
    model = ReIDModel(network_of(config.network, NUM_IDS)).train()
    objective = Objective(config, model, [], World())
    optimizer = torch.optim.SGD([*model.parameters(), *objective.parameters()], lr=0.1)
    before = model.backbone.state_dict()["conv1.weight"].clone()
    step = objective(model, torch.rand(6, 3, 64, 32), TARGETS)
    step.total.backward()
    optimizer.step()
    return {k: float(v) for k, v in step.parts.items()}, not torch.equal(
        model.backbone.state_dict()["conv1.weight"], before
    )


def test_a_loss_from_outside_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_classes", {**losses._classes})

    @losses.register("mine")
    class Mine(ReIDLoss):
        """``scale * mean |f|^2``."""

        paper = "this test"

        def __init__(self, scale: float = 2.0) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, features_nd: Tensor) -> Tensor:
            return self.scale * features_nd.square().mean()

    parts, moved = one_step(small(terms=[{"loss": "mine", "weight": 1}]))
    assert list(parts) == ["mine"]
    assert parts["mine"] > 0
    assert moved
    half, _ = one_step(small(terms=[{"loss": "mine", "weight": 0.5, "params": {"scale": 8.0}}, {"loss": "id"}]))
    assert half["mine"] == pytest.approx(2 * parts["mine"])
    assert list(half) == ["mine", "id"]


def test_a_loss_that_reads_what_no_batch_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Wrong.forward reads 'featurs_nd', which no batch has. Did you mean 'feat"):

        class Wrong(ReIDLoss):
            def forward(self, featurs_nd: Tensor) -> Tensor:
                return featurs_nd.sum()


def test_circle_and_center_parameters_are_reached_and_a_loss_may_come_twice() -> None:
    terms = [{"loss": "circle"}, {"loss": "circle", "params": {"margin": 0.4, "gamma": 8.0}}]
    terms += [{"loss": "center", "params": {"rate": 1.0}}, {"loss": "id", "weight": 0}]
    config = small(terms=terms)
    parts, _ = one_step(config)
    assert list(parts) == ["circle", "circle2", "center"]
    assert parts["circle"] != parts["circle2"]
    model = ReIDModel(network_of(config.network, NUM_IDS))
    objective = Objective(config, model, [], World())
    assert objective.terms["center"].rate == 1.0
    assert (objective.terms["circle2"].margin, objective.terms["circle2"].gamma) == (0.4, 8.0)


def test_terms_say_what_the_weights_say() -> None:
    by_weights = small(smoothing=0.2, margin=None, circle_weight=0.5, center_weight=0.01, **{"self_kd.enabled": True})
    terms = [term.model_dump() for term in by_weights.active_terms.values()]
    assert one_step(small(terms=terms)) == one_step(by_weights)


@pytest.mark.parametrize("terms", ["id+circle", ["id", "circle"], [{"loss": "id"}, "circle"]])
def test_names_alone_are_enough(terms: Any) -> None:
    config = small(terms=terms)
    assert list(config.active_terms) == ["id", "circle"]
    shown = config.to_show()
    assert "loss" not in shown
    assert shown["distill"] == {"teacher": []}
    assert ReIDConfig.parse(shown, "args.yaml") == config
    assert "loss" in small().to_show()


def test_numbers_with_an_exponent_are_numbers(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "terms:\n- {loss: center, weight: 5e-4, params: {rate: 3e-1}}\n"
        "- {loss: self_kd, params: {weights: {feature: 3e-2}, student_stages: [layer2]}}\n"
    )
    center, self_kd = resolve_reid(str(recipe), SMALL).active_terms.values()
    assert (center.weight, center.params) == (5e-4, {"rate": 0.3})
    assert self_kd.params == {"weights": {"feature": 0.03}, "student_stages": ["layer2"]}
    with pytest.raises(ConfigError, match=r"rate is '0\.3', expected a share"):
        small(terms=[{"loss": "center", "params": {"rate": "0.3"}}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": [{"loss": "centre"}]}, "unknown loss 'centre'. Did you mean 'center'?"),
        ({"terms": [{"loss": "center", "params": {"rat": 1}}]}, "no parameter 'rat'. Did you mean 'rate'?"),
        ({"terms": [{"loss": "center", "params": {"rate": 2}}]}, "rate is 2, expected a share > 0 and <= 1"),
        ({"terms": [{"loss": "center", "params": {"rate": 10**400}}]}, "rate is a number of 1329 bits, expected"),
        ({"terms": [{"loss": "id", "weight": 2 * MAX_WEIGHT}]}, "terms.0.weight"),
        ({"terms": [{"loss": "id", "weight": -1}]}, "terms.0.weight"),
        ({"terms": [{"los": "id"}]}, "unknown key 'terms.0.los'. Did you mean 'loss'?"),
        ({"terms": []}, "terms: List should have at least 1 item"),
        ({"terms": [{"loss": "id", "weight": 0}]}, "no loss is left: give one of them a weight above 0"),
        ({"terms": [{"loss": "id"}, {"loss": "id", "weight": 2}]}, "loss 'id' is listed twice with the same params"),
        ({"terms": [{"loss": "relation"}]}, "'relation' needs a teacher: kd-yolo reid distill --teacher best.pt"),
        ({"terms": [{"loss": "id"}], "teacher": "t.pt"}, "no term looks at distill.teacher: add one"),
        ({"terms": [{"loss": "local"}]}, "loss 'local' needs the local branch: network.local=true"),
        ({"terms": [{"loss": "id"}], "margin": 0.5}, "loss.margin=0.5 does nothing here: terms lists all losses"),
        ({"terms": [{"loss": "id"}], "self_kd.enabled": True}, "self_kd.enabled=True does nothing here: terms lists"),
        ({"terms": [{"loss": "triplet"}], "head": "arcface"}, "network.head='arcface' does nothing here"),
        ({"terms": [{"loss": "self_kd", "params": {"student_stages": 5}}]}, "student_stages is 5, expected a list"),
        ({"terms": [{"loss": "self_kd", "params": {"weights": {"k": 1}}}]}, "no weight 'k'. Did you mean 'kl'?"),
        ({"logit": "jss", "teacher": "t.pt"}, "unknown divergence 'jss'. Did you mean 'js'?"),
        ({"term": [{"loss": "id"}]}, "unknown key 'term'. Did you mean 'terms'?"),
        ({"self_kd.enabled": True, "teacher_stage": "layer3", "ce_weight": 0}, "which ce=0 leaves untrained"),
    ],
)
def test_what_is_wrong_with_terms_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        small(**changes)
    assert message in str(error.value)
