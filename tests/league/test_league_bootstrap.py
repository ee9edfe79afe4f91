"""mAP of resampled images equals ultralytics' on images that were really copied; what the bootstrap says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.metrics import ap_per_class

from kd_yolo.base.errors import InputError
from kd_yolo.league import images as league_images
from kd_yolo.league.bootstrap import draw, resample_images
from kd_yolo.league.images import ImageScores
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.image_statistics import ImageStatistics
from tests.yolo.test_evaluate import grid_model


def random_scores(seed: int, images: int = 9, skill: float = 0.5, classes: int = 3) -> ImageScores:
    """Labels and detections by dice; a detection that is right at some IoU is right at the lower ones."""
    rng = np.random.default_rng(seed)
    targets, found = rng.integers(0, 7, images), rng.integers(0, 30, images)
    num = int(found.sum())
    quality = rng.uniform(0, 1, num) * (rng.uniform(0, 1, num) < skill)
    return ImageScores(
        tp=quality[:, None] > np.linspace(0.0, 0.9, 10),
        conf=np.clip(rng.uniform(0, 1, num) * 0.6 + 0.4 * quality, 0, 1),
        pred_class=rng.integers(0, classes + 1, num),  # one class that has no label
        pred_image=np.repeat(np.arange(images), found),
        target_class=rng.integers(0, classes, int(targets.sum())),
        target_image=np.repeat(np.arange(images), targets),
        names=np.array([f"{i}.png" for i in range(images)]),
    )


def upstream(scores: ImageScores, counts: Any) -> float:
    """Ultralytics' mAP50-95 of a set in which image i is there ``counts[i]`` times."""
    rows = np.repeat(np.arange(len(scores.conf)), counts[scores.pred_image])
    targets = np.repeat(scores.target_class, counts[scores.target_image])
    ap = ap_per_class(scores.tp[rows], scores.conf[rows], scores.pred_class[rows], targets)[5]
    return float(ap.mean()) if len(ap) else 0.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 12), skill=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_equals_ultralytics_on_copied_images(seed: int, images: int, skill: float) -> None:
    scores = random_scores(seed, images, skill)
    counts = np.random.default_rng(seed).integers(0, 4, (5, images))
    assert scores.mean_ap(counts) == pytest.approx([upstream(scores, row) for row in counts], abs=1e-12)
    assert scores.mean_ap() == pytest.approx([upstream(scores, np.ones(images, int))], abs=1e-12)


def test_equals_a_real_validation(tiny_data: Path, tmp_path: Path) -> None:
    model, watch = grid_model(), ImageStatistics()
    found = validate(model, tiny_data, imgsz=64, batch=3, device="cpu", watch=watch)
    scores = ImageScores(**watch.arrays())
    assert found["metrics/mAP50-95(B)"] > 1e-4
    assert float(scores.mean_ap()[0]) == pytest.approx(found["metrics/mAP50-95(B)"], abs=1e-6)
    assert sorted(scores.names) == [f"{i}.png" for i in range(8)]
    assert np.bincount(scores.target_image).tolist() == [2] * 8
    (tmp_path / "images.npz").write_bytes(scores.to_bytes())
    read = ImageScores.read(tmp_path / "images.npz")
    assert all(np.array_equal(getattr(read, key), value) for key, value in watch.arrays().items())


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, counts = random_scores(1), draw(9, 50)
    whole = scores.mean_ap(counts)
    monkeypatch.setattr(league_images, "CHUNK", 200)
    assert np.array_equal(scores.mean_ap(counts), whole)


def test_images_without_anything() -> None:
    empty = random_scores(0, images=3, classes=1)
    nothing = {key: getattr(empty, key)[:0] for key in ("tp", "conf", "pred_class", "pred_image")}
    blind = ImageScores(**nothing, target_class=np.zeros(2, int), target_image=np.array([0, 2]), names=empty.names)
    assert blind.mean_ap(np.array([[1, 1, 1], [0, 3, 0]])).tolist() == [0, 0]
    unlabelled = ImageScores(**nothing, target_class=np.zeros(0, int), target_image=np.zeros(0, int), names=empty.names)
    assert unlabelled.mean_ap().tolist() == [0]


def test_resamples_are_the_same_in_every_call() -> None:
    counts = draw(20, 100)
    assert np.array_equal(counts, draw(20, 100))
    assert counts.shape == (100, 20)
    assert (counts.sum(1) == 20).all()
    assert len({tuple(row) for row in counts}) == 100


def test_a_bootstrap_against_brute_force() -> None:
    runs = {("good", seed): random_scores(seed, skill=0.8) for seed in (0, 1)} | {("teacher", 0): random_scores(9)}
    found = resample_images(runs, resamples=40)
    for run, scores in runs.items():
        assert found[run] == pytest.approx([upstream(scores, row) for row in draw(9, 40)], abs=1e-12)
    assert resample_images({}) == {}


def test_other_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b-s0 and a-s0 were not evaluated on the same images \(8 and 9\)"):
        resample_images({("a", 0): random_scores(0), ("b", 0): random_scores(0, images=8)})
    (tmp_path / "images.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="holds no statistics of images"):
        ImageScores.read(tmp_path / "images.npz")


def test_reports_need_no_ultralytics() -> None:
    script = "import sys; import kd_yolo.league.report; print('ultralytics' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
