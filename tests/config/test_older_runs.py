"""Settings in unfinished runs of versions before: they mean what they meant."""

from __future__ import annotations

from typing import Any

import pytest

from kd_yolo.config.distill import DistillConfig
from kd_yolo.prune.sparse.trainer import SparseSettings

# In train_args of a last.pt of version 0.1 (before `--loss auto`): distil runs.
FEATURE = {"gate": None, "taps": "head", "adapter": "auto", "standardize": False}
RESPONSE = {"gate": "confidence", "taps": None, "adapter": None, "standardize": None}
TERM = {"share": None, "teacher": None, "params": {}, "schedule": None}
OLD: dict[str, Any] = {
    "teacher": "teacher.pt",
    "terms": [{"loss": "mgd", "weight": 3.0, **TERM, **FEATURE}, {"loss": "bkd", "weight": 1.0, **TERM, **RESPONSE}],
    "schedule": {"kind": "cosine", "end": 0.1, "stop_at": None},
    "unlabelled": None,
    "unlabelled_ratio": 1.0,
    "trust_weights": False,
}


def test_a_distil_run_of_before_keeps_its_settings() -> None:
    found = DistillConfig.parse(OLD, "kd")
    values = found.model_dump()
    assert {key: values[key] for key in OLD} == OLD
    assert found.term_names() == ["kd_mgd", "kd_bkd"]


@pytest.mark.parametrize("saved", [{"sparsity": 0.5, "norms": None}, {"sparsity": 0.2, "norms": ["model.0.bn"]}])
def test_a_sparse_run_of_before_keeps_its_settings(saved: dict[str, Any]) -> None:
    found = SparseSettings.parse(saved, "sparse training").model_dump()
    assert {key: found[key] for key in saved} == saved
