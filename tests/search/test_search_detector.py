"""The detector of people: ultralytics' own boxes, of a class found by name, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.networks.detector import PersonDetector, class_of_people
from kd_yolo.search.settings import DetectorSettings

RNG = np.random.default_rng(0)
NAMES = {0: "bicycle", 1: "Person", 2: "person", 3: "dog"}


def noise(height: int, width: int) -> np.ndarray:
    return cv2.resize(RNG.integers(0, 256, (height // 8, width // 8, 3), np.uint8), (width, height))


@pytest.fixture(scope="module")
def untrained(make_weights: Callable[..., str]) -> PersonDetector:
    weights = make_weights("tiny8", 2)
    return PersonDetector.open(DetectorSettings(weights=weights, person="1", imgsz=96, device="cpu"))


@pytest.fixture(scope="module")
def official(shared: Path) -> PersonDetector:
    return PersonDetector.open(
        DetectorSettings(weights=str(shared / "weights" / "yolov8n.pt"), imgsz=160, device="cpu")
    )


def test_the_class_by_its_name() -> None:
    def find(names: dict[int, str], person: str = "person") -> int:
        return class_of_people(names, DetectorSettings(weights="w.pt", person=person))

    assert find(NAMES) == 2
    assert find(NAMES, "Person") == 1
    assert find({0: "car", 7: "PERSON"}) == 7
    assert find({0: "head"}) == 0, "the only class"
    with pytest.raises(
        ConfigError, match=r"w.pt has no class 'persn'. Did you mean 'person'\?.*--person: bicycle, Person"
    ):
        find(NAMES, "persn")
    with pytest.raises(ConfigError, match="c19 and 60 more"):
        find({n: f"c{n}" for n in range(80)}, "x")


@pytest.mark.parametrize("person", ["person", "truck"])
def test_boxes_are_those_of_ultralytics(shared: Path, person: str) -> None:
    from ultralytics import YOLO

    weights = str(shared / "weights" / "yolov8n.pt")
    files = sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))[:6]
    images = [cv2.imread(str(file)) for file in files]
    detector = PersonDetector.open(DetectorSettings(weights=weights, person=person, imgsz=150, device="cpu"))
    model, num = YOLO(weights), 0
    for image, found in zip(images, detector.detect(images, 0.2), strict=True):
        (wanted,) = model.predict(
            image, imgsz=160, conf=0.2, iou=0.7, classes=[detector.class_id], device="cpu", verbose=False
        )
        assert np.allclose(found.boxes_xyxy_m4, wanted.boxes.xyxy.numpy(), atol=0.05)
        assert np.allclose(found.scores_m, wanted.boxes.conf.numpy(), atol=1e-3)
        num += len(found.scores_m)
    assert num > 0 or person == "truck"


def test_what_is_beside_a_image_changes_nothing(official: PersonDetector, shared: Path) -> None:
    files = sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))[:24]
    images = [cv2.imread(str(file)) for file in files]
    assert len({image.shape for image in images}) > 3
    together, num = official.detect(images, 0.3), 0
    for image, found in zip(images, together, strict=True):
        (alone,) = official.detect([image], 0.3)
        assert np.allclose(alone.boxes_xyxy_m4, found.boxes_xyxy_m4, atol=1e-2)
        assert np.allclose(alone.scores_m, found.scores_m, atol=1e-4)
        height, width = image.shape[:2]
        assert (found.boxes_xyxy_m4 >= 0).all()
        assert (found.boxes_xyxy_m4 <= [width, height, width, height]).all()
        num += len(found.scores_m)
    assert num > 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 3), (2, 90)])
def test_images_that_can_hold_nobody(untrained: PersonDetector, shape: tuple[int, int]) -> None:
    (found,) = untrained.detect([np.zeros((*shape, 3), np.uint8)], 0.3)
    assert found.boxes_xyxy_m4.shape == (0, 4)
    assert found.scores_m.shape == (0,)


def test_nothing_asked_nothing_found(untrained: PersonDetector) -> None:
    assert untrained.detect([], 0.5) == []


def test_people_in_a_large_image(official: PersonDetector, shared: Path) -> None:
    video = cv2.VideoCapture(str(shared / "data" / "video" / "one-by-one-person-detection.mp4"))
    for _ in range(301):
        _, image = video.read()
    (small,) = official.detect([image], 0.5)
    assert len(small.scores_m) == 1
    large = cv2.resize(image, None, fx=6, fy=6)
    (found,) = official.detect([large], 0.5)
    assert np.allclose(found.boxes_xyxy_m4, small.boxes_xyxy_m4 * 6, atol=60)
    assert not len(found.tracks_m)
    assert found.track_of(0) == -1


def test_end_to_end_and_segment_heads_find_the_same_class(tiny_yaml: Callable[..., str], tmp_path: Path) -> None:
    from ultralytics import YOLO

    torch.manual_seed(0)
    for yaml, task in ((tiny_yaml(8, 3, "v10Detect"), "detect"), ("yolov8n-seg.yaml", "segment")):
        weights = str(tmp_path / f"{task}.pt")
        YOLO(yaml, task=task).save(weights)
        detector = PersonDetector.open(DetectorSettings(weights=weights, person="2", imgsz=96, device="cpu"))
        image = noise(96, 96)
        (found,) = detector.detect([image], 0.001)
        (wanted,) = YOLO(weights, task=task).predict(
            image, imgsz=96, conf=0.001, classes=[2], device="cpu", verbose=False, max_det=300
        )
        assert found.boxes_xyxy_m4.shape == wanted.boxes.xyxy.shape
        assert np.allclose(found.boxes_xyxy_m4, wanted.boxes.xyxy.numpy(), atol=0.1)


def test_the_hash_is_that_of_the_file(untrained: PersonDetector) -> None:
    import hashlib

    assert untrained.hash == hashlib.sha256(Path(untrained.settings.weights).read_bytes()).hexdigest()[:16]


def test_what_is_no_detector_of_people(
    make_weights: Callable[..., str], tiny_yaml: Callable[..., str], tmp_path: Path
) -> None:
    from ultralytics import YOLO

    YOLO(tiny_yaml(8, 2, "OBB"), task="obb").save(str(tmp_path / "obb.pt"))
    YOLO("yolov8n-cls.yaml").save(str(tmp_path / "cls.pt"))
    with pytest.raises(InputError, match="is for turned boxes"):
        PersonDetector.open(DetectorSettings(weights=str(tmp_path / "obb.pt")))
    with pytest.raises(InputError, match="Classify, not in a YOLO Detect head"):
        PersonDetector.open(DetectorSettings(weights=str(tmp_path / "cls.pt")))
    with pytest.raises(InputError, match="do not exist"):
        PersonDetector.open(DetectorSettings(weights=str(tmp_path / "gone.pt")))
    weights = make_weights("tiny8", 2)
    with pytest.raises(ConfigError, match="unknown device 'gpu': expected cpu"):
        PersonDetector.open(DetectorSettings(weights=weights, device="gpu"))
    assert DetectorSettings.parse({"device": 1}, "test").device == DetectorSettings(device="1").device == "cuda:1"
