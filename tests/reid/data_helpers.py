"""Tiny images in folders, for the tests of ReID data."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from kd_yolo.reid.data.sample import Sample


def write_image(path: Path, value: int = 0, size_hw: tuple[int, int] = (16, 8)) -> Path:
    """Noise that depends on ``value``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (*size_hw, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_market(folder: Path, **subsets: Iterable[str]) -> Path:
    """Writes images by subset name: ``train=["1_c1", ...]``, with Market's folders and names as given."""
    names = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    for subset, stems in subsets.items():
        (folder / names[subset]).mkdir(parents=True, exist_ok=True)
        for number, stem in enumerate(stems):
            value = zlib.crc32(f"{subset} {number}".encode())  # no image is in two subsets
            write_image(folder / names[subset] / f"{stem}s1_{number:06d}_00.jpg", value)
    return folder


def good_set(folder: Path, **changed: Iterable[str]) -> Path:
    """A set with nothing odd but its short gallery, apart from what is changed."""
    subsets: dict[str, Iterable[str]] = {
        "train": [f"{i:04d}_c{c}" for i in (1, 2) for c in (1, 2)],
        "query": [f"{i:04d}_c1" for i in (11, 12)],
        "gallery": [f"{i:04d}_c2" for i in (11, 12)],
    }
    return write_market(folder, **(subsets | changed))


def made_up(*views: tuple[int, int, int]) -> list[Sample]:
    """Samples without files: (identity, camera, how many) each."""
    return [
        Sample(Path(f"{identity:04d}_c{camera}_{shot}.jpg"), identity, camera)
        for identity, camera, shots in views
        for shot in range(shots)
    ]
