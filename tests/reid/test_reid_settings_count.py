"""Every ReID setting counts: another value changes something that can be seen, or is refused where it would not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.data.dataset import Crops
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.sampler import PKSampler
from kd_yolo.reid.data.split import hold_out
from kd_yolo.reid.data.transforms import Augment
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import SECTIONS, resolve_reid
from kd_yolo.reid.rules import RULES, useless_settings
from kd_yolo.reid.settings import ReIDConfig, TestSettings
from kd_yolo.reid.testing import Embedded, distances, score, score_embedded
from kd_yolo.reid.train.distributed import World
from kd_yolo.reid.train.objective import Objective
from kd_yolo.reid.train.optimizer import learning_rate, make_optimizer
from kd_yolo.reid.train.start import network_of
from kd_yolo.reid.train.teachers import Teacher
from tests.reid.data_helpers import made_up, write_image

NUM_IDS = 4
SMALL = {"network.backbone": "tiny_resnet", "network.pretrained": "none", "network.height": 128, "network.width": 32}
# The other value of each setting, and what it needs beside it.
OTHER: dict[str, tuple[Any, dict[str, Any]]] = {
    "network.backbone": ("resnet18", {}), "network.last_stride": (2, {}), "network.pool": ("max", {}),
    "network.embedding": (32, {}), "network.head": ("arcface", {}), "network.local": (True, {}),
    "network.height": (256, {}), "network.width": (64, {}),
    "loss.id_weight": (2.0, {}), "loss.smoothing": (0.3, {}), "loss.triplet_weight": (2.0, {}),
    "loss.margin": (None, {}), "loss.center_weight": (0.1, {}), "loss.circle_weight": (0.1, {}),
    "loss.local_weight": (2.0, {"network.local": True}),
    "train.epochs": (30, {}), "train.ids": (3, {}), "train.images": (3, {}), "train.optimizer": ("sgd", {}),
    "train.lr": (1e-3, {}), "train.weight_decay": (1e-2, {}), "train.warmup": (3, {}),
    "train.schedule": ("cosine", {}), "train.milestones": ((0.5,), {}), "train.flip": (1.0, {}), "train.pad": (40, {}),
    "train.erase": (1.0, {}), "train.jitter": (0.5, {}), "train.holdout": (0.5, {}), "train.seed": (7, {}),
    "self_kd.enabled": (True, {}), "self_kd.teacher_stage": ("layer3", {"self_kd.enabled": True}),
    "self_kd.student_stages": (("layer2",), {"self_kd.enabled": True}),
    "self_kd.ce_weight": (2.0, {"self_kd.enabled": True}), "self_kd.kl_weight": (2.0, {"self_kd.enabled": True}),
    "self_kd.feature_weight": (0.5, {"self_kd.enabled": True}),
    "self_kd.temperature": (1.0, {"self_kd.enabled": True}),
    "distill.logit": ("kl", {"distill.teacher": ("t.pt",)}),
    "distill.logit_weight": (2.0, {"distill.teacher": ("t.pt",)}),
    "distill.temperature": (1.0, {"distill.teacher": ("t.pt",)}),
    "distill.overhaul_weight": (1.0, {"distill.teacher": ("t.pt",)}),
    "distill.relation_weight": (1.0, {"distill.teacher": ("t.pt",)}), "distill.teacher": (("t.pt",), {}),
    "test.feature": ("local", {"network.local": True}),
    "test.local_share": (2.0, {"test.feature": "both", "network.local": True}),
    "test.cameras": (False, {}), "test.ap": ("trapezoid", {}), "test.rerank": (True, {}),
    "test.k1": (3, {"test.rerank": True}), "test.k2": (2, {"test.rerank": True}),
    "test.lambda_value": (0.9, {"test.rerank": True}), "test.expand": (2, {}), "test.max_rank": (3, {}),
}  # fmt: skip
# How fast, where or from which file it is done, and when it stops: the tests of the run look at these.
ELSEWHERE = {
    "network.pretrained",
    "train.patience",
    "train.amp",
    "train.device",
    "train.workers",
    "train.cache",
    "test.batch",
}


def all_settings() -> set[str]:
    return {f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields}


def test_no_setting_is_left_out() -> None:
    assert set(OTHER) | ELSEWHERE == all_settings()
    assert not set(OTHER) & ELSEWHERE
    assert {name for names, _, _ in RULES for name in names} <= all_settings()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    folder = tmp_path_factory.mktemp("crops")
    return [Sample(write_image(folder / f"{i}.png", i, (128, 32)), i // 4, i % 2) for i in range(4 * NUM_IDS)]


def config_of(name: str, value: Any, more: dict[str, Any]) -> ReIDConfig:
    return resolve_reid(None, {**SMALL, **more, name: value})


def network_facts(config: ReIDConfig) -> Any:
    with torch.device("meta"):
        model = ReIDModel(network_of(config.network, NUM_IDS))
        stage = model.backbone.layer4[0].conv1.stride, model.backbone.layer4[0].conv2.stride
        return [(k, tuple(v.shape)) for k, v in model.state_dict().items()], model.config, stage, type(model.head)


def loss_facts(config: ReIDConfig) -> Any:
    torch.manual_seed(0)
    model = ReIDModel(network_of(config.network, NUM_IDS)).train()
    teachers = [Teacher(ReIDModel(network_of(config.network, NUM_IDS)))] if config.distill.teacher else []
    torch.manual_seed(1)
    objective = Objective(config, model, teachers, World())
    for module in (model, objective, *(teacher.model for teacher in teachers)):
        for key, weights in module.named_parameters():
            if "head" in key and weights.ndim == 2:  # of logits near zero every temperature gives the same
                weights.data *= 30
    torch.manual_seed(2)
    step = objective(model, torch.rand(4, 3, 128, 32), torch.arange(4) // 2)
    return {key: round(float(value), 6) for key, value in step.parts.items()}


def train_facts(config: ReIDConfig, images: list[Sample]) -> Any:
    train = config.train
    augment = Augment(flip=train.flip, pad=train.pad, erase=train.erase, jitter=train.jitter, seed=train.seed)
    crops = Crops(images, [sample.identity for sample in images], (128, 32), augment=augment)
    sampler = PKSampler(crops.targets, min(train.ids, NUM_IDS), train.images, seed=train.seed)
    batch = next(iter(DataLoader(crops, batch_sampler=sampler)))
    group = make_optimizer(torch.nn.Linear(2, 2), train)
    rates = [learning_rate(train, epoch) for epoch in np.linspace(0, 30, 40)]
    decays = [each["weight_decay"] for each in group.param_groups]
    held = {sample.identity for sample in hold_out(made_up(*[(i, c, 2) for i in range(40) for c in (1, 2)]),
                                                   train.holdout, 0).query}  # fmt: skip
    return batch[0].shape, float(batch[0].sum()), type(group), rates, decays, train.epochs, held


def ranking_facts(settings: TestSettings) -> Any:
    rng = np.random.default_rng(0)
    people = [Sample(Path(f"{i}"), i // 6, i % 3) for i in range(36)]
    base = rng.normal(size=(6, 16))[[sample.identity for sample in people]] + rng.normal(size=(36, 16)) * 1.2
    global_nd = (base / np.linalg.norm(base, axis=1, keepdims=True)).astype(np.float32)
    local = rng.normal(size=(36, 8, 128))
    local_nhd = (local / np.linalg.norm(local, axis=2, keepdims=True)).astype(np.float32)
    query, gallery = (Embedded(global_nd[part], local_nhd[part]) for part in (slice(0, 36, 3), slice(None)))
    found = distances(query, gallery, settings)
    result = score(found, people[::3], people, settings)
    return found.round(5).tolist(), result.cmc.tolist(), round(result.map, 6), result.num_valid_queries


def facts(section: str, config: ReIDConfig, images: list[Sample]) -> Any:
    if section == "network":
        return network_facts(config)
    if section in ("loss", "self_kd", "distill"):
        return loss_facts(config)
    return train_facts(config, images) if section == "train" else ranking_facts(config.test)


@pytest.mark.parametrize("name", OTHER)
def test_another_value_changes_something(name: str, images: list[Sample]) -> None:
    value, more = OTHER[name]
    section, _, key = name.partition(".")
    before, after = resolve_reid(None, {**SMALL, **more}), config_of(name, value, more)
    assert getattr(getattr(after, section), key) != getattr(getattr(before, section), key)
    assert facts(section, before, images) != facts(section, after, images)


@pytest.mark.parametrize(("names", "needed"), [(names, needed) for names, _, needed in RULES])
def test_what_would_do_nothing_is_refused(names: tuple[str, ...], needed: str) -> None:
    """Each rule is met by the other values of its settings without what they need."""
    spoilt = {
        "loss.smoothing": {"loss.id_weight": 0}, "loss.margin": {"loss.triplet_weight": 0},
        "network.head": {"loss.id_weight": 0}, "train.milestones": {"train.schedule": "cosine"},
        "train.patience": {"train.holdout": 0},
        "self_kd.temperature": {"self_kd.kl_weight": 0, "self_kd.enabled": needed != "self-distillation: --kd"},
        "test.rerank": {"test.feature": "local", "network.local": True},
        "test.expand": {"test.feature": "local", "network.local": True},
    }  # fmt: skip
    logit_off = {"distill.teacher": ("t.pt",), "distill.logit_weight": 0, "distill.relation_weight": 1}
    for name in names:
        more = logit_off if needed.startswith("distill.logit_weight") else spoilt.get(name, {})
        value = 5 if name == "train.patience" else OTHER[name][0]
        with pytest.raises(ConfigError, match=rf"{name}=.* does nothing here: it needs ") as error:
            resolve_reid(None, {**SMALL, **more, name: value})
        assert needed in str(error.value)


@pytest.mark.parametrize("changes", [{}, {"ap": "trapezoid", "max_rank": 3}, {"cameras": False}, {"expand": 2}])
def test_training_scores_what_a_test_scores(changes: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    people = [Sample(Path(f"{i}"), i // 6, i % 3) for i in range(36)]
    x_nd = rng.normal(size=(36, 8)).astype(np.float32)
    query, gallery, settings = Embedded(x_nd[::3]), Embedded(x_nd), TestSettings(**changes)
    expected = score(distances(query, gallery, settings), people[::3], people, settings)
    found = score_embedded(query, gallery, (people[::3], people), settings)
    assert (found.map, found.minp, found.num_skipped) == (expected.map, expected.minp, expected.num_skipped)
    assert found.cmc.tolist() == expected.cmc.tolist()


@pytest.mark.parametrize("feature", ["local", "both"])
def test_reranking_is_of_global_embeddings(feature: str) -> None:
    with pytest.raises(ConfigError, match=r"test.rerank=True does nothing here"):
        resolve_reid(None, {"local": True, "feature": feature, "rerank": True})


def test_a_run_that_is_all_warm_up() -> None:
    with pytest.raises(ConfigError, match=r"train.warmup=10 is longer than the run of 5 epochs.*set train.warmup=0"):
        resolve_reid(None, {"epochs": 5, "warmup": 10})
    assert [resolve_reid(None, {"epochs": epochs}).train.warmup for epochs in (1, 6, 30, 60, 300)] == [0, 1, 5, 10, 10]
    with pytest.raises(ConfigError, match=r"train.patience=9 does nothing in a run of 8 epochs"):
        resolve_reid(None, {"epochs": 8, "patience": 9})


NUMBERS = [name for name, (value, _) in OTHER.items() if type(value) in (int, float)]
BAD = [float("nan"), float("inf"), -float("inf"), -1, 10**400, "many", [1], {"a": 1}]


@pytest.mark.parametrize("name", [*NUMBERS, "train.workers", "train.patience", "test.batch", "loss.margin"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    for value in BAD:
        with pytest.raises(ConfigError, match=name.split(".")[1]):
            config_of(name, value, OTHER.get(name, (0, {}))[1])


def test_the_defaults_are_all_of_use() -> None:
    for local, teacher in itertools.product((False, True), ((), ("t.pt",))):
        assert not list(useless_settings(resolve_reid(None, {"local": local, "teacher": teacher})))
