"""What the Ray engine's parts do without Ray: tasks cover each frame once, order is restored, devices are shared."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base import extras
from kd_yolo.base.errors import ConfigError, InputError, MissingDependencyError
from kd_yolo.search.crops import frame_steps
from kd_yolo.search.crops.frame_steps import Progress
from kd_yolo.search.crops.ledger import FrameRecord
from kd_yolo.search.crops.ray import cluster as ray_cluster
from kd_yolo.search.crops.ray import plan as ray_plan
from kd_yolo.search.crops.ray.cluster import Share, share_of
from kd_yolo.search.crops.ray.engine import in_order
from kd_yolo.search.crops.ray.plan import plan
from kd_yolo.search.crops.ray.worker import Chunk
from kd_yolo.search.frames.camera_numbers import InputNumber
from kd_yolo.search.frames.sources import Input
from kd_yolo.search.settings import CropsConfig
from tests.search.crops_helpers import CONFIG

RAY = CONFIG.model_copy(update={"engine": "ray"})


class FakeRay:
    """A cluster with some devices."""

    def __init__(self, **resources: float) -> None:
        self.resources = resources

    def cluster_resources(self) -> dict[str, float]:
        """What there is."""
        return self.resources


def video(name: str) -> Input:
    """A video that is never opened."""
    return Input(name, "video", InputNumber(1, 1, 0))


@given(
    counts=st.lists(st.integers(0, 5000), min_size=1, max_size=6),
    workers=st.integers(1, 9),
    stride=st.integers(1, 4),
    done=st.integers(0, 3000),
)
def test_ranges_cover_each_frame_once_and_begin_where_batches_do(
    counts: list[int], workers: int, stride: int, done: int
) -> None:
    inputs = [video(f"{place}.mp4") for place in range(len(counts))]
    config = CONFIG.model_copy(update={"stride": stride})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_plan, "count_frames", lambda name: counts[int(name.partition(".")[0])])
        tasks = plan(inputs, {"0.mp4": done}, config, workers)
    for chain, found in enumerate(inputs):
        own = [task for task in tasks if task.chain == chain]
        start = done if chain == 0 else 0
        assert [task.place for task in own] == list(range(len(own)))
        assert own[0].start == start
        assert own[-1].end is None
        assert all(one.end == other.start for one, other in pairwise(own))
        assert all((task.start - start) % (CONFIG.detector.batch * stride) == 0 for task in own)
        assert all(task.inputs == (found,) for task in own)
    assert len(tasks) <= ray_plan.RANGES_EACH * workers + len(inputs)


def test_images_go_by_whole_batches_and_videos_alone() -> None:
    images = [Input(f"{place}.png", "image", InputNumber(1, 1, place)) for place in range(70)]
    tasks = plan([*images, video("none.mp4"), *images[:2]], {}, CONFIG, 4)
    assert [len(task.inputs) for task in tasks] == [66, 4, 1, 2]
    assert [task.chain for task in tasks] == [0, 1, 2, 3]


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=4), st.randoms())
def test_order_is_restored_within_a_chain(chains: list[list[int]], chance: random.Random) -> None:
    chunks = [
        Chunk(chain, place, step, is_end=step == count - 1)
        for chain, counts in enumerate(chains)
        for place, count in enumerate(counts)
        for step in range(count)
    ]
    shuffled = chance.sample(chunks, len(chunks))
    found = list(in_order(shuffled))
    assert sorted(found, key=lambda one: one.chain) == chunks
    assert len(found) == len(chunks)


def test_nothing_after_a_range_that_cannot_be_read_and_errors_at_once() -> None:
    bad = Chunk(0, 1, 0, is_end=True, skipped=["gone"])
    first, later = Chunk(0, 0, 0, is_end=True), Chunk(0, 2, 0, is_end=True)
    assert list(in_order([later, bad, first, later])) == [first, bad]
    error = Chunk(1, 7, 3, error=InputError("no"))
    assert next(iter(in_order([error]))) is error


@pytest.mark.parametrize(
    ("resources", "changes", "share"),
    [
        ({"CPU": 8.0}, {}, Share(8, 0.0, 1)),
        ({"CPU": 8.0}, {"workers": 3}, Share(3, 0.0, 2)),
        ({"CPU": 8.0, "GPU": 2.0}, {}, Share(2, 1.0, 4)),
        ({"CPU": 8.0, "GPU": 2.0}, {"workers": 8}, Share(8, 0.25, 1)),
        ({"CPU": 8.0, "GPU": 2.0}, {"device": "cpu"}, Share(8, 0.0, 1)),
        ({"CPU": 8.0, "GPU": 2.0}, {"device": "cuda", "workers": 1}, Share(1, 1.0, 8)),
    ],
)
def test_the_share_of_a_worker(resources: dict[str, float], changes: dict[str, Any], share: Share) -> None:
    detector = CONFIG.detector.model_copy(update={"device": changes.pop("device", None)})
    assert share_of(FakeRay(**resources), RAY.model_copy(update={"detector": detector, **changes})) == share


def test_no_cluster_at_the_address() -> None:
    class Fake:
        """Never asked."""

    with pytest.raises(InputError, match=r"no Ray cluster at localhost:1 can be joined: .* ray start --head"):
        ray_cluster._join(Fake(), "localhost:1", {})


def test_a_cluster_without_what_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"5 workers, but the Ray cluster has 2 CPU cores: --workers 2"):
        share_of(FakeRay(CPU=2.0), RAY.model_copy(update={"workers": 5}))
    cuda = RAY.model_copy(update={"detector": CONFIG.detector.model_copy(update={"device": "cuda"})})
    with pytest.raises(ConfigError, match="device=cuda, but the Ray cluster has no GPU"):
        share_of(FakeRay(CPU=2.0), cuda)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": 2}, "workers is of the Ray engine: add --engine ray"),
        ({"ray_address": "auto"}, "ray_address is of the Ray engine: add --engine ray"),
        ({"engine": "ray", "detector": {"device": "1"}}, "Ray hands out the GPUs"),
        ({"engine": "spark"}, "engine"),
        ({"engine": "ray", "ray_address": "ray://h:10001"}, r"ray_address ray://h:10001: auto, on a machine"),
    ],
)
def test_settings_that_do_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CropsConfig.parse(values, "test")


def test_without_ray_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ImportError(module)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"needs ray, .* pip install 'kd-yolo\[ray\]'"):
        ray_cluster.require_ray()


def test_progress_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(frame_steps, "SAY_S", -1.0)
    progress = Progress(said.append)
    progress.add(FrameRecord("v.mp4", 8, [{}, {}]))
    assert said[0].startswith("1 frames, ")
    assert said[0].endswith(", 2 crops; at v.mp4 7")
