"""A page to test: people are plain rectangles on grey, and whoever has the same colour is the same person."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
from PIL import Image

from kd_yolo.search.frames.frame_types import Floats, ImageHW3, People
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.page.finder import Finder
from kd_yolo.search.page.upload import Limits

GREY = 128
RED, GREEN, BLUE = (40, 40, 220), (40, 200, 40), (220, 60, 40)  # BGR
HEIGHT, WIDTH = 240, 320
SMALL = Limits(size_mb=0.5, megapixels=2)


def scene(*people: tuple[int, tuple[int, int, int]]) -> ImageHW3:
    """A BGR image with people of 40 x 120 pixels: their left edge and their colour."""
    image = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for left, colour in people:
        image[60:180, left : left + 40] = colour
    return image


def encoded(image: ImageHW3, ending: str = ".png") -> bytes:
    """An image as a file."""
    done, data = cv2.imencode(ending, image)
    assert done
    return data.tobytes()


class FakeDetector:
    """Finds everything that is not grey."""

    def detect(self, images_bgr: Sequence[ImageHW3], conf: float) -> list[People]:
        return [self._people(image) for image in images_bgr]

    def _people(self, image: ImageHW3) -> People:
        coloured = (np.ptp(image.astype(int), axis=2) > 60).astype(np.uint8)
        _, _, facts, _ = cv2.connectedComponentsWithStats(coloured)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, area in facts[1:] if area > 400]
        return People(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32))


@dataclass
class FakeEmbedder:
    """A crop's vector is its middle's colour, away from grey."""

    hash: str = "feedfacefeedface"
    dim: int = 3

    def embed(self, images_rgb: Sequence[ImageHW3], batch: int = 64) -> Floats:
        middles = [p[p.shape[0] // 2, p.shape[1] // 2].astype(np.float32) - GREY + 0.5 for p in images_rgb]
        found_nd = np.array(middles, np.float32).reshape(-1, 3)
        return found_nd / np.linalg.norm(found_nd, axis=1, keepdims=True)


def fill(finder: Finder, image: ImageHW3, **row: Any) -> int:
    """Adds everybody in a frame to the gallery; ``row`` says where it comes from."""
    crops = finder.people(image)
    rows = [
        {"file": "", "frame": 0, "seconds": None, "camera": 1, "track": -1, "score": 0.9,
         **dict(zip(("x1", "y1", "x2", "y2"), crop.box_xyxy, strict=True)), **row}
        for crop in crops
    ]  # fmt: skip
    images = [encoded(np.ascontiguousarray(crop.image_hw3[..., ::-1]), ".jpg") for crop in crops]
    vectors_nd = finder.embedder.embed([crop.image_hw3 for crop in crops])
    return finder.gallery.add(vectors_nd, rows, images)


def empty_finder(folder: Path) -> Finder:
    """A search in an empty gallery."""
    fake: Any = FakeEmbedder()
    detector: Any = FakeDetector()
    return Finder(detector, fake, Gallery.create(folder, fake.hash, fake.dim))


def filled_finder(folder: Path) -> Finder:
    """Red and green in an image of camera 1, red in frame 7 of a video of camera 2, blue in a file that is gone."""
    finder = empty_finder(folder / "gallery")
    image, video = folder / "hall 1.png", folder / "yard.avi"
    cv2.imwrite(str(image), scene((30, RED), (200, GREEN)))
    write_video(video, [scene((10 * k, RED)) for k in range(12)])
    fill(finder, scene((30, RED), (200, GREEN)), source=str(image), camera=1)
    fill(finder, scene((70, RED)), source=str(video), camera=2, frame=7, seconds=0.7)
    fill(finder, scene((100, BLUE)), source=str(folder / "gone.png"), camera=3)
    return finder


def write_video(file: Path, frames: Sequence[ImageHW3]) -> None:
    """Ten frames a second, each an image of its own."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()


def turned_jpeg(image: ImageHW3, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


@contextmanager
def running(app: Any, patience_s: float | None = None) -> Iterator[str]:
    """Serves an application beside the tests; the value is its address."""
    from kd_yolo.search.page.serve import PATIENCE_S, address, listen, make_server

    with listen("127.0.0.1", 0) as sock:
        server = make_server(app, PATIENCE_S if patience_s is None else patience_s)
        thread = Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            yield address(sock)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def served(finder: Finder, **site: Any) -> Iterator[str]:
    """The address of a running page; ``site`` are fields of :class:`kd_yolo.search.page.app.Site`."""
    from kd_yolo.search.page.app import Site, make_app, private_folder

    with private_folder() as cache:
        given = replace(Site(finder, limits=SMALL), **site)
        with running(make_app(given, cache)) as address:
            yield address
