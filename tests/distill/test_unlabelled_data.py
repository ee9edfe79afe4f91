"""Unlabelled images in training batches: empty labels, own mosaic, the ratio, and nothing written beside them."""

from __future__ import annotations

import pickle
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_dataloader, build_yolo_dataset
from ultralytics.utils import DEFAULT_CFG

from kd_yolo.base.errors import ConfigError
from kd_yolo.data.unlabelled import UnlabelledImages
from kd_yolo.distill.split import split_batch
from kd_yolo.distill.unlabelled import mix_unlabelled

TASKS = ("detect", "segment", "pose", "obb")
ALL_ON = dict(mosaic=1.0, mixup=0.5, cutmix=0.5, copy_paste=0.5, degrees=10.0, shear=5.0, flipud=0.5)
STILL = dict(mosaic=0.0, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, scale=0.0, translate=0.0, fliplr=0.0, erasing=0.0)
SIZE_PX = 64
Mixed = Callable[..., Any]


def label(task: str, x: float) -> str:
    """A label line of an object in the middle third: box, polygon, box with two key points, or corners."""
    corners = [x - 0.2, 0.3, x + 0.2, 0.3, x + 0.2, 0.7, x - 0.2, 0.7]
    rows = {"detect": [x, 0.5, 0.4, 0.4], "pose": [x, 0.5, 0.4, 0.4, x, 0.4, 2, x, 0.6, 2]}
    return "1 " + " ".join(str(value) for value in rows.get(task, corners)) + "\n"


@pytest.fixture
def pool(tmp_path: Path) -> UnlabelledImages:
    """Six pure green images; each has a label file, and a ``.npy`` that upstream would take for its cache."""
    for kind in ("images", "labels"):
        (tmp_path / "pool" / kind).mkdir(parents=True)
    files = []
    for i in range(6):
        file = tmp_path / "pool" / "images" / f"u{i}.png"
        image = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        image[..., 1] = 250
        cv2.imwrite(str(file), image)
        np.save(file.with_suffix(".npy"), np.zeros((3, 3, 1), np.float32))
        (tmp_path / "pool" / "labels" / f"u{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        files.append(file)
    return UnlabelledImages(tuple(files))


@pytest.fixture
def mixed(tmp_path: Path, pool: UnlabelledImages) -> Mixed:
    """Builds a labelled set of five pure red images, two of them without objects, and mixes the pool in."""

    def build(task: str = "detect", *, ratio: float = 1.0, batch: int = 4, **arguments: Any) -> Any:
        folder = tmp_path / task
        shutil.rmtree(folder, ignore_errors=True)
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True)
        for i in range(5):
            image = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
            image[..., 2] = 250
            cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
            rows = label(task, 0.3) + label(task, 0.6) if i < 3 else ""
            (folder / "labels" / f"{i}.txt").write_text(rows)
        data = {"names": {0: "a", 1: "b"}, "channels": 3, "kpt_shape": (2, 3), "flip_idx": [1, 0]}
        args = get_cfg(DEFAULT_CFG, {"task": task, "imgsz": SIZE_PX, **arguments})
        dataset = build_yolo_dataset(args, str(folder / "images"), batch, data)
        mix_unlabelled(dataset, pool, ratio, batch, args)
        return dataset

    return build


def batch_of(dataset: Any, count: int = 4) -> dict[str, Any]:
    return dataset.collate_fn([dataset[i] for i in range(count)])  # type: ignore[no-any-return]


def channel_max(images_nchw: torch.Tensor, channel: int) -> list[int]:
    return images_nchw[:, channel].flatten(1).amax(1).tolist()


@pytest.mark.parametrize("overlap_mask", [True, False])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("augment", [STILL, {}, ALL_ON])
def test_unlabelled_images_come_last_and_have_no_objects(
    mixed: Mixed, task: str, augment: dict[str, Any], overlap_mask: bool
) -> None:
    batch = batch_of(mixed(task, overlap_mask=overlap_mask, **augment))
    assert batch["num_labelled"] == 4
    assert batch["img"].shape == (8, 3, SIZE_PX, SIZE_PX)
    assert [Path(file).name[0] == "u" for file in batch["im_file"]] == [False] * 4 + [True] * 4
    assert batch["batch_idx"].numel() == 0 or batch["batch_idx"].max() < 4
    assert len(batch["cls"]) == len(batch["bboxes"]) == len(batch["batch_idx"])
    assert batch["cls"].shape[1:] == (1,)
    assert batch["bboxes"].shape[1:] == ((5,) if task == "obb" else (4,))
    if task == "pose":
        assert batch["keypoints"].shape == (len(batch["cls"]), 2, 3)
    if task == "segment":
        assert batch["sem_masks"].shape[0] == 8
        assert batch["masks"].shape[0] == (8 if overlap_mask else len(batch["cls"]))
        assert batch["num_labelled_masks"] == (4 if overlap_mask else len(batch["cls"]))


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_without_any_object(mixed: Mixed, task: str) -> None:
    dataset = mixed(task, **STILL)
    batch = dataset.collate_fn([dataset[3], dataset[4]])
    assert batch["num_labelled"] == 2
    assert len(batch["img"]) == 6
    assert batch["cls"].shape == (0, 1)
    assert batch["bboxes"].shape == (0, 5 if task == "obb" else 4)


@pytest.mark.parametrize("overlap_mask", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_the_labelled_part_is_the_batch_without_mixing(mixed: Mixed, task: str, overlap_mask: bool) -> None:
    dataset = mixed(task, overlap_mask=overlap_mask)
    samples = [dataset[i] for i in range(4)]
    plain = dataset.collate_fn.collate(deepcopy(samples))  # it counts up their batch_idx in place
    mixed_batch = dataset.collate_fn(samples)
    split = split_batch(mixed_batch)
    assert split.keys() == plain.keys()
    for key, value in plain.items():
        same = torch.equal(value, split[key]) if isinstance(value, torch.Tensor) else value == split[key]
        assert same, key
    assert mixed_batch["num_labelled"] == 4  # as it was
    assert len(mixed_batch["img"]) == 8


def test_masks_of_objects_stay_when_there_are_as_many_as_images(mixed: Mixed) -> None:
    dataset = mixed("segment", overlap_mask=False, ratio=0.5, **STILL)
    batch = batch_of(dataset)
    assert len(batch["masks"]) == len(batch["img"]) == 6
    assert len(split_batch(batch)["masks"]) == 6


@pytest.mark.parametrize(
    ("ratio", "batch", "count"), [(1.0, 4, 4), (0.5, 4, 2), (0.01, 4, 1), (1.5, 4, 6), (3.0, 4, 12), (1.0, 99, 5)]
)
def test_the_ratio(mixed: Mixed, ratio: float, batch: int, count: int) -> None:
    """Of the images that a batch has: a set of five never fills one of 99."""
    drawn = batch_of(mixed(ratio=ratio, batch=batch))["im_file"][4:]
    assert len(drawn) == count
    if count <= 6:
        assert len(set(drawn)) == count


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_a_ratio_of_nothing_is_refused(mixed: Mixed, ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"--unlabelled-ratio .*: expected more than 0"):
        mixed(ratio=ratio)


def test_rectangular_batches_are_refused(mixed: Mixed) -> None:
    with pytest.raises(ConfigError, match="rect=True gives every batch a shape of its own"):
        mixed(rect=True)


def test_mosaic_never_mixes_the_two(mixed: Mixed) -> None:
    dataset = mixed(**{**STILL, "mosaic": 1.0, "mixup": 1.0, "scale": 0.5})
    for _ in range(4):
        images = batch_of(dataset)["img"]
        assert max(channel_max(images[:4], 1)) <= 114  # the filling; green is 250
        assert max(channel_max(images[4:], 0)) <= 114
        assert min(channel_max(images[:4], 0)) > 114
        assert min(channel_max(images[4:], 1)) > 114
    (unlabelled,) = dataset.mixed_in
    assert unlabelled.buffer
    assert unlabelled.buffer is not dataset.buffer
    assert unlabelled.max_buffer_length == 6


def test_augmentation_is_that_of_the_labelled_set(mixed: Mixed) -> None:
    dataset = mixed(**ALL_ON)
    (unlabelled,) = dataset.mixed_in

    def described(transforms: Any) -> list[Any]:
        listed = getattr(transforms, "transforms", None)
        if isinstance(listed, list):
            return [described(transform) for transform in listed]
        numbers = {k: v for k, v in vars(transforms).items() if isinstance(v, (int, float, str, tuple))}
        return [type(transforms).__name__, numbers]

    assert described(unlabelled.transforms) == described(dataset.transforms)


def test_without_augmentation_the_images_are_as_on_disk(mixed: Mixed) -> None:
    images = batch_of(mixed(**STILL))["img"]
    assert images[4:, 1].unique().tolist() == [250]
    assert images[4:, [0, 2]].unique().tolist() == [0]


@pytest.mark.parametrize("cache", [False, True, "ram", "disk"])
def test_nothing_is_written_or_read_beside_the_images(mixed: Mixed, tmp_path: Path, cache: bool | str) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = (file for file in (tmp_path / "pool").rglob("*") if file.is_file())
        return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    before = state()
    dataset = mixed(cache=cache)
    assert min(channel_max(batch_of(dataset)["img"][4:], 1)) > 114  # the images, not the arrays beside them
    assert state() == before
    assert dataset.mixed_in[0].cache == ("ram" if cache in (True, "ram") else None)


def test_a_seed_gives_the_same_batch(mixed: Mixed) -> None:
    batches = []
    for seed in (0, 0, 1):
        dataset = mixed()
        random.seed(seed)
        np.random.seed(seed)
        batches.append(batch_of(dataset))
    first, same, other = batches
    assert first["im_file"] == same["im_file"] != other["im_file"]
    assert torch.equal(first["img"], same["img"])


@pytest.mark.parametrize("workers", [0, 2])
def test_through_a_loader(mixed: Mixed, workers: int) -> None:
    """Every labelled image once an epoch, in as many batches as without; workers draw different images."""
    loader = build_dataloader(mixed("segment", batch=1, ratio=2.0), batch=1, workers=workers, device="cpu")
    assert loader.num_workers == workers
    batches = list(loader)
    loader.close()
    assert [batch["num_labelled"] for batch in batches] == [1] * 5
    assert [len(batch["img"]) for batch in batches] == [3] * 5
    assert sorted(Path(batch["im_file"][0]).name for batch in batches) == [f"{i}.png" for i in range(5)]
    assert len({batch["im_file"][1:] for batch in batches}) > 1


def test_pickled_together_they_stay_together(mixed: Mixed) -> None:
    """As worker processes get them where they are not forked."""
    dataset = pickle.loads(pickle.dumps(mixed("pose")))
    assert dataset.collate_fn.unlabelled is dataset.mixed_in[0]
    assert batch_of(dataset)["num_labelled"] == 4
