"""A street of bright boxes: images and videos of them, and a detector that sees them without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars
import pytest

from kd_yolo.search.crops.run import CropsReport, write_crops
from kd_yolo.search.frames.frame_types import ImageHW3, People
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.settings import CropsConfig, DetectorSettings

SIZE_HW = (96, 128)
CONFIG = CropsConfig.parse({"rules": {"min_height": 8, "min_width": 4, "pad": 0}, "detector": {"batch": 3}}, "test")


@dataclass
class BrightDetector:
    """Every bright patch is a person."""

    settings: DetectorSettings = field(default_factory=lambda: CONFIG.detector)
    hash: str = "bright"
    num_seen: int = 0

    @property
    def file(self) -> Path:
        """It has none."""
        return Path(self.settings.weights)

    def detect(self, images_bgr: Sequence[ImageHW3], conf: float) -> list[People]:
        """Bounding boxes of connected bright pixels, left to right."""
        self.num_seen += len(images_bgr)
        return [self._people(image) for image in images_bgr]

    @staticmethod
    def _people(image_hw3: ImageHW3) -> People:
        bright = (image_hw3.max(2) > 128).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = sorted([x, y, x + w, y + h] for x, y, w, h, _ in stats[1:].tolist())
        return People(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


def image_of(*corners: tuple[int, int, int, int], size_hw: tuple[int, int] = SIZE_HW) -> ImageHW3:
    """A dark image with a bright box for each person."""
    image = np.zeros((*size_hw, 3), np.uint8)
    for x1, y1, x2, y2 in corners:
        image[y1:y2, x1:x2] = (250, 200, 160)
    return image


def walk(count: int) -> list[ImageHW3]:
    """One person walks to the right; every fifth frame is empty, every third has two people."""
    frames = []
    for index in range(count):
        people = [(8 + 2 * (index % 20), 10, 24 + 2 * (index % 20), 60)]
        if index % 3 == 0:
            people.append((90, 30, 110, 80))
        frames.append(image_of(*(people if index % 5 else [])))
    return frames


def write_video(path: Path, frames: Sequence[ImageHW3], rate: float = 10.0) -> Path:
    """A motion JPEG in AVI."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_images(folder: Path, frames: Sequence[ImageHW3]) -> Path:
    """PNG files ``000.png``, ...; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{index:03d}.png"), frame)
    return folder


def use_bright_detector(monkeypatch: pytest.MonkeyPatch) -> BrightDetector:
    """Lets :func:`write_crops` open the detector of this file."""
    detector = BrightDetector()
    monkeypatch.setattr(PersonDetector, "open", classmethod(lambda cls, settings, trust=False: detector))
    return detector


def run(source: Path | str, folder: Path, config: CropsConfig = CONFIG, **options: Any) -> tuple[CropsReport, str]:
    """Runs :func:`write_crops`; the report and all that was said."""
    said: list[str] = []
    report = write_crops(str(source), config, folder, said.append, **options)
    return report, "\n".join([*said, *report.lines()])


def content(folder: Path) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Rows and files of a folder of crops, which must fit."""
    rows = polars.read_parquet(folder / "crops.parquet").to_dicts()
    files = {str(file.relative_to(folder)): file.read_bytes() for file in (folder / "crops").iterdir()}
    assert sorted(files) == sorted(row["file"] for row in rows), "a file for each row and a row for each file"
    return rows, files
