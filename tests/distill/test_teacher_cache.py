"""Responses on disk: sparse and back, whole after a kill, never those of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.distill.teachers.cache import TeacherCache
from kd_yolo.distill.teachers.responses import OFF, SCORE_MIN, Responses, raw_responses, sparse_responses
from kd_yolo.losses.gate import balanced_confidence
from kd_yolo.yolo.heads import HeadFacts

FACTS = HeadFacts(layers=(1, 2), strides=(8, 16), num_classes=3, reg_max=4, end2end=False)
IMAGE = torch.zeros(2, 3, 32, 32)  # 16 + 4 anchors


def responses(count: int, seed: int = 0) -> Responses:
    rng = np.random.default_rng(seed)
    return Responses(np.arange(count, dtype=np.int32), rng.normal(size=(count, 19)).astype(np.float16))


def raw() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 20, generator=generator) * 5 - 5
    scores[0, :, 7], scores[1, :, 3:], scores[:, 2] = -9, -9, -12  # the second image is nearly empty
    scores[1, 2, 5] = -8.5
    return {"boxes": torch.randn(2, 16, 20, generator=generator), "scores": scores}


def opened(folder: Path, **options: Any) -> TeacherCache:
    return TeacherCache(folder, {"teacher": "a", "data": "b"}, **{"num_views": 10, "max_bytes": 1e6, **options})


def test_what_is_kept_is_what_the_teacher_said() -> None:
    live = raw()
    again = raw_responses(sparse_responses(live), FACTS, IMAGE)
    is_kept = live["scores"].sigmoid().amax(1) >= SCORE_MIN
    assert not is_kept[1, 3:].any()
    is_kept[1, 5] = True  # the best anchor of a class that no other anchor shows
    assert 1 < int(is_kept[1].sum()) <= 4 < int(is_kept[0].sum()) < 20
    for key, off in (("boxes", 0.0), ("scores", OFF)):
        kept = is_kept[:, None].expand_as(live[key])
        assert torch.equal(again[key][kept], live[key][kept].half().float())
        assert bool((again[key][~kept] == off).all())
    assert [tuple(f.shape) for f in again["feats"]] == [(2, 1, 4, 4), (2, 1, 2, 2)]


def test_the_balanced_gate_is_that_of_the_live_teacher() -> None:
    """It counts classes that only anchors of the background show."""
    live = raw()
    again = raw_responses(sparse_responses(live), FACTS, IMAGE)
    gates = [balanced_confidence(side["scores"]) for side in (live, again)]
    assert torch.allclose(*gates, rtol=2e-3, atol=10 * SCORE_MIN)
    assert float(gates[0].sum()) == pytest.approx(float(gates[1].sum()), rel=0.01)


@pytest.mark.parametrize("broken", [responses(21), Responses(np.zeros(1, np.int32), np.zeros((1, 20), np.float16))])
def test_responses_of_another_head_are_refused(broken: Responses) -> None:
    with pytest.raises(InputError, match="responses of another head"):
        raw_responses([broken, broken], FACTS, IMAGE)


def test_shards_are_found_by_other_processes(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.add(3, responses(4))
    assert 3 in first
    assert 3 not in second
    first.flush()
    second.refresh()
    second.add(9, responses(0))
    second.flush()
    again = opened(tmp_path)
    assert [view for view in range(10) if view in again] == [3, 9]
    assert len(again) == 2
    assert np.array_equal(again[3].values, responses(4).values)
    assert again[9].values.shape == (0, 19)
    assert again.num_bytes == responses(4).nbytes


def test_what_a_killed_process_did_not_finish_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = opened(tmp_path)
    cache.add(1, responses(2))
    cache.flush()
    cache.add(2, responses(2))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cache.flush()
    again = opened(tmp_path)
    assert (1 in again, 2 in again) == (True, False)


def test_a_cache_of_something_else_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(ConfigError, match="belongs to another data: name another folder with --teacher-cache-dir"):
        TeacherCache(tmp_path, {"teacher": "a", "data": "c"}, num_views=1, max_bytes=1)


def test_nothing_is_added_beyond_the_limit(tmp_path: Path) -> None:
    cache = opened(tmp_path, max_bytes=responses(4).nbytes)
    cache.add(0, responses(4))
    assert not cache.is_full
    cache.add(1, responses(1))
    assert cache.is_full
    assert 1 not in cache


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.add(0, responses(4))
    cache.flush()
    file = next(tmp_path.glob("shard-*/values.npy"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"cannot be read .*: remove it"):
        opened(tmp_path)
    np.save(file, np.zeros((3, 19), np.float16))
    with pytest.raises(InputError, match="is damaged: remove it"):
        opened(tmp_path)


def test_views_beyond_those_asked_for_are_left_alone(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.add(1, responses(1))
    cache.add(8, responses(2))
    cache.flush()
    fewer = opened(tmp_path, num_views=5)
    assert len(fewer) == 1
    assert 1 in fewer
