"""The Ray engine with its tasks done here, in any order: what one process gives, and errors of workers are told."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.search.crops import ledger
from kd_yolo.search.crops.ledger import FrameRecord
from kd_yolo.search.crops.ray import engine as ray_engine
from kd_yolo.search.crops.ray import plan as ray_plan
from kd_yolo.search.crops.ray import worker as ray_worker
from kd_yolo.search.crops.ray.cluster import Share
from kd_yolo.search.crops.ray.engine import RayEngine
from kd_yolo.search.crops.ray.plan import Task
from kd_yolo.search.crops.ray.worker import Job, Worker
from tests.search.crops_helpers import CONFIG, content, run, use_bright_detector, walk, write_images, write_video
from tests.search.gallery_helpers import save_network

RAY = CONFIG.model_copy(update={"engine": "ray"})


def without_ray(monkeypatch: pytest.MonkeyPatch, workers: int = 2) -> list[Task]:
    """Lets the engine do its tasks here, in an order of its own; returns a list that is filled with them."""
    dealt: list[Task] = []

    class Cluster:
        """Connected to nothing."""

        class exceptions:  # noqa: N801  # as Ray has it
            """Its errors."""

            RayError = ZeroDivisionError

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            return None

    def deal(ray: Any, tasks: list[Task], job: Job, share: Share) -> Any:
        dealt.extend(tasks)
        worker = Worker(pickle.loads(pickle.dumps(job)))
        flows = [worker({"task": [pickle.dumps(task)]}) for task in random.Random(0).sample(tasks, len(tasks))]
        while flows:
            for flow in list(flows):
                table = next(flow, None)
                if table is None:
                    flows.remove(flow)
                else:
                    yield pickle.loads(table["chunk"][0])

    monkeypatch.setattr("kd_yolo.search.crops.run.require_ray", lambda **options: None)
    monkeypatch.setattr(ray_engine, "cluster", lambda config: Cluster())
    monkeypatch.setattr(ray_engine, "share_of", lambda ray, config: Share(workers, 0.0, 1))
    monkeypatch.setattr(ray_engine, "_deal", deal)
    monkeypatch.setattr(ray_plan, "LEAST_FRAMES", 4)
    monkeypatch.setattr(ray_worker, "GROUP_FRAMES", 3)
    monkeypatch.setattr(ray_worker, "_prepare", lambda threads: None)
    return dealt


@pytest.fixture
def dealt(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    monkeypatch.setattr(ledger, "PART_FRAMES", 4)
    use_bright_detector(monkeypatch)
    return without_ray(monkeypatch)


def mixed(folder: Path) -> Path:
    """Videos, one that is cut off, and images, one of them damaged."""
    write_images(folder / "a", walk(7))
    (folder / "a" / "bad.png").write_bytes(b"\x89PNG no more")
    write_video(folder / "long.avi", walk(53))
    write_video(folder / "z.avi", walk(5))
    whole = write_video(folder / "cut.avi", walk(40)).read_bytes()
    (folder / "cut.avi").write_bytes(whole[: len(whole) // 2])
    (folder / "no.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.parametrize("stride", [1, 3])
def test_tasks_in_any_order_give_what_one_process_gives(tmp_path: Path, dealt: list[Task], stride: int) -> None:
    source, update = mixed(tmp_path / "in"), {"stride": stride}
    local, told = run(source, tmp_path / "local", CONFIG.model_copy(update=update))
    report, text = run(source, tmp_path / "ray", RAY.model_copy(update=update))
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert report.totals == local.totals
    assert sorted(report.skipped) == sorted(local.skipped)
    assert len(report.skipped) == 2
    warnings = [sorted(line for line in each.splitlines() if "warning" in line) for each in (told, text)]
    assert warnings[0] == warnings[1], "each line once, though several ranges have it"
    assert len(dealt) > len({task.chain for task in dealt}) == 5
    for first, second in ((CONFIG, "local"), (RAY, "ray")):
        again, text = run(source, tmp_path / ("ray" if second == "local" else "local"),
                          first.model_copy(update=update))  # fmt: skip
        assert again.frames == 0, "either engine goes on with what the other did"


@pytest.mark.parametrize("stop_at", [1, 9, 30])
def test_stopped_and_continued_equals_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task], stop_at: int
) -> None:
    source = write_video(tmp_path / "v.avi", walk(41))
    whole, _ = run(source, tmp_path / "whole")
    add, count = ledger.Ledger.add, [0]

    def interrupted(self: ledger.Ledger, note: FrameRecord) -> None:
        add(self, note)
        count[0] += 1
        if count[0] == stop_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", RAY)
    report, text = run(source, tmp_path / "out", RAY)
    assert f"going on: {stop_at} frames are done" in text
    assert (content(tmp_path / "out"), report.totals) == (content(tmp_path / "whole"), whole.totals)


def test_what_later_ranges_of_an_unreadable_one_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task]
) -> None:
    source = write_video(tmp_path / "v.avi", walk(40))
    notes = Worker._records

    def unreadable(self: Worker, task: Task, reader: Any) -> Any:
        found = list(notes(self, task, reader))
        if task.place == 1:
            reader.skipped, reader.ended = ["the disk has a hole"], []
        return iter(found[:2] if task.place == 1 else found)

    monkeypatch.setattr(Worker, "_records", unreadable)
    report, _ = run(source, tmp_path / "out", RAY)
    rows, _ = content(tmp_path / "out")
    edge = dealt[1].start
    assert report.totals.frames == edge + 2
    assert max(row["frame"] for row in rows) < edge + 2
    monkeypatch.setattr(Worker, "_records", notes)
    run(source, tmp_path / "out", RAY)
    run(source, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_other_weights_or_no_shared_folder_on_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task]
) -> None:
    source = write_video(tmp_path / "v.avi", walk(5))
    job_of = RayEngine._job
    config = RAY.model_copy(update={"embed": str(save_network(tmp_path / "reid.pt"))})
    for change, message in (
        ({"hashes": ("0" * 16, None)}, "yolov8n.pt is 0000000000000000 where the run was started and bright on"),
        (
            {"hashes": ("bright", "1" * 16)},
            r"reid.pt is 1111111111111111 where the run was started and [0-9a-f]{16} on",
        ),
        ({"folder": tmp_path / "not here"}, "name a folder that all machines share"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(RayEngine, "_job", lambda self, share, to=change: replace(job_of(self, share), **to))
            with pytest.raises(InputError, match=message):
                run(source, tmp_path / "out", config)


def test_a_full_disk_on_a_worker_is_an_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task]
) -> None:
    def full(*args: Any) -> FrameRecord:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ray_worker, "write_images", full)
    with pytest.raises(OSError, match="No space left"):
        run(write_video(tmp_path / "v.avi", walk(5)), tmp_path / "out", RAY)


def test_a_stream_is_for_one_process(tmp_path: Path, dealt: list[Task]) -> None:
    with pytest.raises(ConfigError, match=r"rtsp://h/1 is read by one process: --engine local"):
        run("rtsp://h/1", tmp_path / "out", RAY)
    assert not (tmp_path / "out").exists()


def test_an_error_that_nobody_thought_of_is_told_and_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task]
) -> None:
    def broken(*args: Any) -> Any:
        raise ZeroDivisionError("first\nValueError: 3")

    monkeypatch.setattr(ray_engine, "_deal", broken)
    with pytest.raises(
        KDYoloError, match=r"a worker of Ray failed: ValueError: 3\. What is done is kept; --engine local"
    ):
        run(write_video(tmp_path / "v.avi", walk(5)), tmp_path / "out", RAY)


def test_a_task_that_ends_one_worker_after_the_other_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dealt: list[Task]
) -> None:
    source = write_images(tmp_path / "in", walk(3))
    monkeypatch.setattr(ray_worker, "TRIES_MAX", 0)
    with pytest.raises(KDYoloError, match=r"0 workers died at .*000\.png and 3 files\. .*--engine local says which"):
        run(source, tmp_path / "out", RAY)
    monkeypatch.setattr(ray_worker, "TRIES_MAX", 1)
    assert run(source, tmp_path / "out", RAY)[0].frames == 3
    assert not (tmp_path / "out" / ray_worker.TRIES).exists()
