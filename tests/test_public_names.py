"""The names that users' programs import: they stay where they are."""

from __future__ import annotations

import importlib

import pytest

NAMES = {
    "kd_yolo": "DistillationTrainer PruneModel",
    "kd_yolo.losses": "build_loss loss_names",
    "kd_yolo.geometry.relation": "draw_relations find_parent_nodes relation_metrics",
    "kd_yolo.reid": "ReIDModel evaluate local_distance rerank",
    "kd_yolo.base.errors": "ConfigError GateError InputError KDYoloError MissingDependencyError",
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()])
def test_it_is_there(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))
