"""Crops by a real Ray cluster of two processes: what the local engine gives, also when processes are killed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.search.crops.ray import plan as ray_plan
from kd_yolo.search.crops.ray.cluster import LOOPBACK, STORE_BYTES, require_ray
from kd_yolo.search.frames.crop_vectors import StoredVectors
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.settings import CropsConfig
from tests.search.crops_helpers import CONFIG, content, run, walk, write_images, write_video
from tests.search.gallery_helpers import save_network
from tests.search.ray_workers import MortalDetector, prepare_worker, write_weights

ROOT = Path(__file__).parents[2]  # the workers import `tests`, whatever else of that name they could find
pytestmark = pytest.mark.e2e  # a cluster starts in seconds, its processes import torch in as many


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Asked for here: the import takes seconds, which whoever only collects these tests does not need."""
    pytest.importorskip("ray.data", reason="the Ray engine needs pip install 'kd-yolo[ray]'")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = require_ray()
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, object_store_memory=STORE_BYTES, log_to_driver=False,
        logging_level=logging.ERROR, _node_ip_address=LOOPBACK,
        runtime_env={"worker_process_setup_hook": prepare_worker, "env_vars": {"PYTHONPATH": str(ROOT)}},
    )  # fmt: skip
    yield ray
    ray.shutdown()


@pytest.fixture(autouse=True)
def _mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = classmethod(lambda cls, settings, trust=False: MortalDetector(settings))
    monkeypatch.setattr(PersonDetector, "open", opened)
    monkeypatch.setattr(ray_plan, "LEAST_FRAMES", 8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two videos, images, and a file that is none."""
    folder = write_images(tmp_path / "in", walk(7))
    write_video(folder / "long.avi", walk(71))
    write_video(folder / "short.avi", walk(5))
    (folder / "no.mp4").write_bytes(b"no video")
    return folder


def with_weights(path: Path, engine: str, **changes: Any) -> CropsConfig:
    detector = CONFIG.detector.model_copy(update={"weights": str(path)})
    return CONFIG.model_copy(update={"detector": detector, "engine": engine, **changes})


def test_rows_images_and_vectors_are_those_of_one_process(ray: Any, tmp_path: Path, source: Path) -> None:
    weights, network = write_weights(tmp_path / "w.pt"), save_network(tmp_path / "reid.pt", backbone="resnet18")
    local, _ = run(source, tmp_path / "local", with_weights(weights, "local", embed=str(network)))
    report, text = run(source, tmp_path / "ray", with_weights(weights, "ray", embed=str(network), workers=2))
    rows, files = content(tmp_path / "ray")
    assert (rows, files) == content(tmp_path / "local")
    assert report.totals == local.totals
    assert "Ray: 8 tasks for 2 workers" in text
    assert len(report.skipped) == 1
    ours, theirs = (StoredVectors.open(tmp_path / name) for name in ("ray", "local"))
    assert ours is not None
    assert theirs is not None
    for row in rows:
        np.testing.assert_allclose(ours.find(row["file"]), theirs.find(row["file"]), atol=1e-5)  # type: ignore[arg-type]
    again, _ = run(source, tmp_path / "ray", with_weights(weights, "ray", embed=str(network)))
    assert again.frames == 0


@pytest.mark.parametrize("times", [1, 2])
def test_killed_workers_lose_and_double_nothing(ray: Any, tmp_path: Path, source: Path, times: int) -> None:
    weights = write_weights(tmp_path / "w.pt", die_at=11, times=times)
    local, _ = run(source, tmp_path / "local", with_weights(write_weights(tmp_path / "whole.pt"), "local"))
    report, _ = run(source, tmp_path / "ray", with_weights(weights, "ray"))
    assert len(list((tmp_path / "graves").iterdir())) == times, "processes were killed"
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert report.totals == local.totals


def test_a_file_that_kills_every_worker_ends_the_run(ray: Any, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", walk(6))
    weights = write_weights(tmp_path / "w.pt", die_at=0, times=99)
    with pytest.raises(KDYoloError, match=r"4 workers died at .*v\.avi from frame 0 on\. What is done is kept\. Fewer"):
        run(video, tmp_path / "out", with_weights(weights, "ray", workers=1))
    assert len(list((tmp_path / "graves").iterdir())) == 4
    report, _ = run(video, tmp_path / "out", with_weights(write_weights(weights), "ray"))
    assert report.frames == 6, "the cluster is well, and the run goes on"


def test_errors_of_workers_are_ours(ray: Any, tmp_path: Path, source: Path) -> None:
    weights = write_weights(tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="3 workers, but the Ray cluster has 2 CPU cores: --workers 2"):
        run(source, tmp_path / "out", with_weights(weights, "ray", workers=3))
    with pytest.raises(ConfigError, match="has joined a Ray cluster: leave out ray_address=auto"):
        run(source, tmp_path / "out", with_weights(weights, "ray", ray_address="auto"))
    (tmp_path / "unreadable").mkdir()
    (tmp_path / "unreadable" / "v.avi").write_bytes(b"none")
    with pytest.raises(InputError, match=r"nothing of .*unreadable can be read"):
        run(tmp_path / "unreadable", tmp_path / "out2", with_weights(weights, "ray"))
