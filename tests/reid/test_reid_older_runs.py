"""Settings and unfinished runs of versions before the terms: they mean what they meant."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.train.distributed import World
from kd_yolo.reid.train.objective import Objective
from kd_yolo.reid.train.start import network_of
from kd_yolo.reid.train.state import under_terms
from kd_yolo.reid.train.teachers import Teacher

# args.yaml as version 0.4 wrote it.
ARGS = """
data: /crops
network: {backbone: resnet18, last_stride: 1, pool: avg, embedding: 0, head: arcface, local: true, height: 128,
  width: 32, pretrained: none}
loss: {id_weight: 1.0, smoothing: 0.1, triplet_weight: 2.0, margin: null, center_weight: 0.01, circle_weight: 0.1,
  local_weight: 0.5}
train: {epochs: 2, ids: 3, images: 3, optimizer: adamw, lr: 0.00035, weight_decay: 0.0005, warmup: 0, schedule: step,
  milestones: [0.33, 0.58], flip: 0.5, pad: 10, erase: 0.5, jitter: 0.0, holdout: 0.25, patience: 0, seed: 0, amp: true,
  device: cpu, workers: 0, cache: false}
self_kd: {enabled: true, teacher_stage: layer3, student_stages: [layer2], ce_weight: 1.0, kl_weight: 1.0,
  feature_weight: 0.03, temperature: 2.0}
distill: {teacher: [a.pt, b.pt], logit: sym_kl, logit_weight: 1.0, temperature: 3.0, overhaul_weight: 0.5,
  relation_weight: 0.3}
test: {feature: global, local_share: 0.3, cameras: null, ap: rectangle, rerank: false, k1: 20, k2: 6,
  lambda_value: 0.3, expand: 0, max_rank: 50, batch: 64}
"""


def old_config() -> ReIDConfig:
    return ReIDConfig.parse(yaml.safe_load(ARGS), "args.yaml")


def test_settings_of_an_older_run_name_their_terms(tmp_path: Path) -> None:
    terms = old_config().active_terms
    parts = {"ce": 1.0, "kl": 1.0, "feature": 0.03, "temperature": 2.0, "smoothing": 0.1}
    stages = {"teacher_stage": "layer3", "student_stages": ["layer2"]}
    assert {name: (term.loss, term.weight, term.params) for name, term in terms.items()} == {
        "id": ("id", 1.0, {"smoothing": 0.1}),
        "triplet": ("triplet", 2.0, {"margin": None}),
        "local": ("local", 0.5, {"margin": None}),
        "circle": ("circle", 0.1, {}),
        "center": ("center", 0.01, {}),
        "self_kd": ("self_kd", 1.0, {**stages, "weights": parts}),
        "kd_logit": ("logit", 1.0, {"divergence": "sym_kl", "temperature": 3.0}),
        "kd_overhaul": ("overhaul", 0.5, {}),
        "kd_relation": ("relation", 0.3, {}),
    }
    assert list(terms)[0:2] == ["id", "triplet"]  # the order of the sum and of the columns
    recipe = tmp_path / "args.yaml"
    recipe.write_text(ARGS)
    assert resolve_reid(str(recipe), {}) == old_config()
    assert ReIDConfig.parse(old_config().model_dump(mode="json"), "again") == old_config()


def test_the_state_of_an_older_unfinished_run_fits() -> None:
    config = old_config()
    with torch.device("meta"):
        model = ReIDModel(network_of(config.network, 4))
        teachers = [Teacher(ReIDModel(network_of(config.network, 4))) for _ in range(2)]
    state = Objective(config, model, teachers, World()).state_dict()
    former = {
        key.replace("terms.kd_overhaul.each.", "overhaul.").removeprefix("terms."): value
        for key, value in state.items()
    }
    assert "center.centers_kd" in former
    assert "self_kd.heads.layer2.norm.weight" in former
    assert "overhaul.1.connectors.layer4.0.weight" in former
    assert "overhaul.0.margin_layer1" in former
    assert list(under_terms(former)) == list(state)
    assert list(under_terms(dict(state))) == list(state)
