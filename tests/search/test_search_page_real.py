"""The page with real networks: YOLO finds the people of a photograph, a ReID network compares them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("faiss", reason="needs the extra search")
pytest.importorskip("polars", reason="needs the extra search")

from kd_yolo.search.frames.images import read_bgr
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.networks.embedder import Embedder
from kd_yolo.search.page.comparison import Comparison
from kd_yolo.search.page.finder import Finder
from kd_yolo.search.settings import CropRules, DetectorSettings
from tests.search.gallery_helpers import save_network
from tests.search.page_browser import chromium, crops, opened, say, send
from tests.search.page_helpers import fill, served

# looked for, not imported: that takes seconds in every process that collects the tests
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra ui")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from chromium()


@pytest.mark.e2e
def test_real_networks_find_the_same_person(browser: Any, shared: Path, tmp_path: Path) -> None:
    embedder = Embedder.open(save_network(tmp_path / "reid.pt"), "cpu")
    settings = DetectorSettings(weights=str(shared / "weights" / "yolov8n.pt"), imgsz=320, device="cpu")
    gallery = Gallery.create(tmp_path / "gallery", embedder.hash, embedder.dim)
    finder = Finder(PersonDetector.open(settings), embedder, gallery, CropRules())
    image = shared / "data" / "coco128" / "images" / "train2017" / "000000000113.jpg"
    assert fill(finder, read_bgr(image), source=str(image)) == 3
    weights = [str(shared / "weights" / name) for name in ("yolov8s.pt", "yolov8n.pt")]
    with served(finder, comparison=Comparison.open(weights, 320, "cpu")) as address:
        for page in opened(browser, address):
            send(page, image)
            say(page, "#state", "3 people found")
            page.click("#person label:has-text('Person 2')")
            say(page, "#found", "3 matches")
            assert crops(page, 3).first.inner_text().startswith("1 · 0.0")
            crops(page, 3).first.click()
            say(page, "#frame-text", "Match 1: 000000000113.jpg")
            page.click("button[role=tab]:has-text('Compare')")
            send(page, image, "#compare-image")
            say(page, "#legend", "Left: yolov8s, ")
            assert "11,166,560" in page.inner_text("#compare-table")
