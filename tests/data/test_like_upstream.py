"""Ultralytics' own reader is the oracle: the same images, label files, boxes and classes, or a sentence why not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.data.check import check_detection_data
from kd_yolo.data.labels import LabelRules, read_label_file
from kd_yolo.data.resolve import resolved_yaml
from kd_yolo.data.spec import DataSpec, label_path, list_images, read_data_yaml
from tests.data.odd_sets import write_set

utils = pytest.importorskip("ultralytics.data.utils")
SETS = 90
# What ultralytics takes and we refuse, each with its reason in the docstring of check_detection_data.
STRICTER = ("bad label line", "has a label", "do not decode although")


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "datasets"
    for module in ("ultralytics.utils", "ultralytics.data.utils"):
        monkeypatch.setattr(f"{module}.DATASETS_DIR", folder)
    monkeypatch.setattr(utils, "check_font", lambda _: None)  # it would look for a font in the network
    return folder


def upstream_reads(file: Path, task: str) -> dict[str, Any]:
    """Data set by split as ultralytics trains on it; under "data" what it makes of the YAML."""
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.utils import DEFAULT_CFG

    check = getattr(utils.check_det_dataset, "__wrapped__", utils.check_det_dataset)
    data = check(str(file), autodownload=False)
    options: dict[str, Any] = {"imgsz": 32, "augment": False, "hyp": DEFAULT_CFG, "task": task, "data": data}
    return {"data": data, **{split: YOLODataset(img_path=data[split], **options) for split in ("train", "val")}}


def boxes_of(label: dict[str, Any]) -> list[tuple[float, ...]]:
    rows = np.concatenate([label["cls"], label["bboxes"]], 1) + 0.0
    return sorted(tuple(round(float(v), 5) for v in row) for row in rows)


def own_boxes(image: Path, spec: DataSpec, task: str) -> list[tuple[float, ...]]:
    rules = LabelRules(len(spec.names), tuple(spec.extras.get("kpt_shape", (0, 0))), pose=task == "pose")
    file = label_path(image)
    found = read_label_file(file, rules).labels if file.is_file() else []
    return sorted(tuple(round(float(v) + 0.0, 5) for v in (label.class_id, *label.cxcywh)) for label in found)


def place(file: str | Path) -> str:
    path = Path(file)
    return str(path.parent.resolve() / path.name)


@pytest.mark.parametrize("seed", range(SETS))
def test_the_check_equals_the_training(
    seed: int, tmp_path: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cwd, task = write_set(seed, tmp_path / "s" / "set", datasets)
    monkeypatch.chdir(cwd)
    report, used, expected, before = None, {}, {}, {}
    try:
        report = check_detection_data(file, task=task)
        spec = read_data_yaml(file)
        used = {
            split: [image for image in list_images(spec, split) if image not in set(report.unreadable)]
            for split in ("train", "val")
        }
        expected = {split: [(place(i), own_boxes(i, spec, task)) for i in files] for split, files in used.items()}
        images = {image for split in ("train", "val") for image in list_images(spec, split) if image.is_file()}
        before = {image: image.lstat().st_ino for image in images}
        copy = resolved_yaml(file, tmp_path / "run")
    except InputError as error:
        refusal = str(error)
    try:
        found = upstream_reads(file, task)
    except Exception as error:
        failure = str(error)
        found = None
    if found is None or report is None:
        assert report is None, f"taken here, but ultralytics fails: {failure}"
        assert found is None or any(words in refusal for words in STRICTER), refusal
        return
    assert report.names == found["data"]["names"]
    assert report.channels == found["data"]["channels"]
    for source in (found, upstream_reads(copy, task)):
        for split in ("train", "val"):
            theirs = [(place(label["im_file"]), boxes_of(label)) for label in source[split].labels]
            assert sorted(theirs) == sorted(expected[split])
            assert Counter(map(place, source[split].label_files)) >= Counter(
                place(label_path(image)) for image in used[split]
            )
            boxes = Counter(int(row[0]) for _, rows in theirs for row in rows)
            assert report.splits[split].boxes == by_name(report.names, boxes)
    written = {image for image, number in before.items() if image.lstat().st_ino != number}
    assert written == set(report.rewritten), "ultralytics puts a new file in the place of these"


def by_name(names: dict[int, str], boxes: Counter[int]) -> dict[str, int]:
    found = dict.fromkeys(names.values(), 0)
    for number, count in boxes.items():
        found[names[number]] += count
    return found


def test_the_sets_are_of_every_kind(tmp_path: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most sets are taken, some are refused, and images are left out for many reasons; else nothing is tested above."""
    taken, reasons = 0, Counter[str]()
    for seed in range(0, SETS, 2):
        file, cwd, task = write_set(seed, tmp_path / str(seed) / f"set{seed}", datasets)
        monkeypatch.chdir(cwd)
        try:
            report = check_detection_data(file, task=task)
        except InputError:
            continue
        taken += 1
        reasons.update(image.why.rpartition(": ")[2][:12] for image in report.left_out)
        reasons["rewritten"] += len(report.rewritten)
    assert taken > 0.6 * SETS / 2
    assert len(reasons) > 12, reasons
    assert reasons["rewritten"] > 1


@pytest.mark.parametrize(("suffix", "kind"), [(".bmp", "BMP"), (".webp", "WEBP"), (".tif", "TIFF")])
def test_what_would_end_a_training_is_refused(suffix: str, kind: str, tiny_set: Path, datasets: Path) -> None:
    """Ultralytics looks at the header only and fails when it draws the image."""
    import random

    from ultralytics.utils.patches import imread

    from tests.data.odd_sets import drawing, encoded

    image = tiny_set.parent / "images" / "train" / f"c{suffix}"
    image.write_bytes(encoded(drawing(random.Random(0), (64, 64)), kind)[:400])
    kept = [label["im_file"] for label in upstream_reads(tiny_set, "detect")["train"].labels]
    refusal = ""
    try:
        check_detection_data(tiny_set)
    except InputError as error:
        refusal = str(error)
    decoded = imread(str(image), cv2.IMREAD_COLOR)
    assert (str(image) in kept and decoded is None) == ("do not decode although" in refusal)
    assert kind != "BMP" or refusal, "a BMP is judged by its header"
