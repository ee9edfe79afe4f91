"""A hand-made set to spoil."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml


@pytest.fixture
def tiny_set(tmp_path: Path) -> Path:
    """Two images in train and in val, two classes; returns the data YAML."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for name in ("a", "b"):
            image = rng.integers(0, 255, (24, 32, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "images" / split / f"{name}.png"), image)
            (tmp_path / "set" / "labels" / split / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.1 0.1\n")
    file = tmp_path / "set" / "data.yaml"
    file.write_text(yaml.safe_dump({"train": "images/train", "val": "images/val", "names": ["cat", "cup"]}))
    return file
