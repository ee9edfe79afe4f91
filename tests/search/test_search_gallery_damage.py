"""Galleries that are damaged or were tampered with: the file is named, and nothing outside is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.search.gallery import index as gallery_index
from kd_yolo.search.gallery.gallery import Gallery
from tests.search.gallery_helpers import DIM, HASH, add, vectors


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create(tmp_path / "gallery", HASH, DIM)


def test_no_image_outside_the_gallery_is_opened(gallery: Gallery, tmp_path: Path) -> None:
    add(gallery, 1)
    image = gallery.image_path(0)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"private")
    image.unlink()
    image.symlink_to(secret)
    with pytest.raises(InputError, match="leads out of the gallery"):
        gallery.image_path(0)


def change(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(bytes(data))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 5)


@pytest.mark.parametrize("name", ["vectors/000000.npy", "rows/000000.parquet", "gallery.json"])
@pytest.mark.parametrize("damage", [cut, Path.unlink, change], ids=["cut", "missing", "changed"])
def test_a_damaged_file_is_named(gallery: Gallery, name: str, damage: Callable[[Path], None]) -> None:
    add(gallery, 5)
    if name == "gallery.json" and damage is not Path.unlink:
        (gallery.folder / name).write_text("{broken")
    else:
        damage(gallery.folder / name)
    wanted = "is no gallery" if (name, damage) == ("gallery.json", Path.unlink) else f"{name} is damaged .*search index"
    with pytest.raises(InputError, match=wanted):
        Gallery.open(gallery.folder).query(vectors(1), 1)


def test_a_damaged_index_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_index, "SMALL", 100)
    gallery = Gallery.create(tmp_path / "g", HASH, DIM, "hnsw")
    add(gallery, 120)
    gallery.build()
    change(next((gallery.folder / "index").iterdir()))
    with pytest.raises(InputError, match=r"index/000001.faiss is damaged \(it has changed\)"):
        Gallery.open(gallery.folder).query(vectors(1), 1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "has version 2, this kd-yolo reads up to 1"),
        ("dim", -1, "is damaged"),
        ("kind", "tree", "is damaged"),
        ("more", 1, "unknown key 'more'"),
        ("shards", [{"name": "../../etc", "count": 1, "vectors_crc": 1, "rows_crc": 1}], "is damaged"),
    ],
)
def test_a_manifest_that_was_tampered_with(gallery: Gallery, key: str, value: object, message: str) -> None:
    file = gallery.folder / "gallery.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(InputError, match=message):
        Gallery.open(gallery.folder)
