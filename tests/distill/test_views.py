"""Fixed views are made again bit for bit, and each epoch shows the next one."""

from __future__ import annotations

import pickle
import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from ultralytics.cfg import get_cfg
from ultralytics.data.dataset import YOLODataset
from ultralytics.utils import DEFAULT_CFG

from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill.teachers.views import VIEW, Turns, Views


@pytest.fixture
def make(tiny_data: Path) -> Any:
    spec = read_data_yaml(tiny_data)

    def build(**arguments: Any) -> Views:
        hyp = get_cfg(DEFAULT_CFG, {"imgsz": 64, "degrees": 5.0, "mixup": 0.5, **arguments})
        data = {"channels": 3, "names": spec.names, "nc": len(spec.names)}
        images = [str(path) for path in spec.splits["train"]]
        return Views(YOLODataset(img_path=images, imgsz=64, hyp=hyp, batch_size=2, data=data), hyp)

    return build


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in ("img", "bboxes", "cls"))


def test_a_view_is_made_again_whatever_came_before(make: Any) -> None:
    first, second = make(), make()
    forward = {i: first[i] for i in range(2 * 2 * len(first))}
    random.seed(7)
    for i in reversed(range(2 * 2 * len(second))):
        assert same(second[i], forward[i])
        assert second[i][VIEW] == i
    assert not same(forward[0], forward[2 * len(first)])  # another view of the same image


def test_worker_processes_make_the_same_views(make: Any) -> None:
    views = make()
    numbers = list(range(2 * len(views)))
    loaders = [DataLoader(views, 4, sampler=numbers, num_workers=n, collate_fn=views.collate_fn) for n in (0, 2)]
    for alone, shared in zip(*loaders, strict=True):
        assert torch.equal(alone["img"], shared["img"])
        assert alone[VIEW] == shared[VIEW]


def test_the_callers_random_states_are_left_alone(make: Any) -> None:
    views = make()
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    views[3]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states


def test_partners_of_mosaic_come_from_the_whole_set(make: Any) -> None:
    views, seen = make(mixup=0.0), set()
    whole = views.dataset.get_image_and_label
    views.dataset.get_image_and_label = lambda i: (seen.add(i), whole(i))[1]
    for view in range(30):
        views[views.number(0, view)]
    assert seen == set(range(len(views)))
    assert views.dataset.cache is None


def test_closed_mosaic_has_views_of_its_own(make: Any) -> None:
    views = make()
    opened = views[views.number(1, 0)]
    views.close_mosaic(get_cfg(DEFAULT_CFG))
    number = views.number(1, 0)
    assert number == len(views) + 1
    assert not same(views[number], opened)
    still = make(mosaic=0.0, mixup=0.0)
    still.close_mosaic(get_cfg(DEFAULT_CFG, {"mosaic": 0.0}))
    assert still.number(1, 0) == 1  # nothing was mixed before either


def test_views_survive_a_pickle(make: Any) -> None:
    views = make()
    assert same(pickle.loads(pickle.dumps(views))[5], views[5])


def test_each_epoch_shows_the_next_view(make: Any) -> None:
    views = make()
    turns = Turns([[0, 1], [2]], views, 2)
    n = len(views)
    turns.epoch = 1
    assert list(islice(turns, 4)) == [[2 * n, 2 * n + 1], [2 * n + 2], [0, 1], [2]]
