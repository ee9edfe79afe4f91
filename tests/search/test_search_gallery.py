"""Galleries hold what was added and find what a naive search finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.gallery import index as gallery_index
from kd_yolo.search.gallery import shards as gallery_shards
from kd_yolo.search.gallery.files import Threshold
from kd_yolo.search.gallery.gallery import Gallery
from tests.search.gallery_helpers import DIM, HASH, add, files, jpeg, row, vectors


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create(tmp_path / "gallery", HASH, DIM)


def naive(query_qd: Any, gallery_nd: Any, top: int) -> tuple[Any, Any]:
    """Places and cosine distances by sorting everything in float64."""
    distances = 1 - np.asarray(query_qd, np.float64) @ np.asarray(gallery_nd, np.float64).T
    order = np.argsort(distances, axis=1, kind="stable")[:, :top]
    return order, np.take_along_axis(distances, order, 1)


def test_finds_what_sorting_finds(gallery: Gallery) -> None:
    parts = [add(gallery, 7, first=10 * n, seed=n) for n in range(4)]
    asked_qd = vectors(3, 99)
    places, distances = gallery.query(asked_qd, 5)
    expected = naive(asked_qd, np.concatenate(parts), 5)
    assert places.dtype == np.int64
    assert distances.dtype == np.float32
    assert np.array_equal(places, expected[0])
    np.testing.assert_allclose(distances, expected[1], atol=1e-6)


def test_more_than_there_are_is_filled_up(gallery: Gallery) -> None:
    add(gallery, 2)
    places, distances = gallery.query(vectors(1), 4)
    assert places[0, 2:].tolist() == [-1, -1]
    assert np.isinf(distances[0, 2:]).all()
    assert np.isfinite(distances[0, :2]).all()


def test_an_empty_gallery_finds_nothing(gallery: Gallery) -> None:
    places, distances = gallery.query(vectors(2), 3)
    assert (places == -1).all()
    assert np.isinf(distances).all()
    assert len(gallery) == 0
    assert gallery.rows([]) == []


def test_rows_images_and_vectors_come_back(gallery: Gallery) -> None:
    made_nd = add(gallery, 3, first=5, identity="18")
    again = Gallery.open(gallery.folder)
    (line,) = again.rows([1])
    assert {key: value for key, value in line.items() if key not in ("place", "file")} == {
        key: value for key, value in row(6, identity="18").items() if key != "file"
    }
    assert line["place"] == 1
    assert gallery.folder / line["file"] == again.image_path(1)
    assert again.image_path(1).read_bytes() == jpeg(6)
    np.testing.assert_allclose(again.vectors([2, 0]), made_nd[[2, 0]], atol=1e-7)


def test_crops_without_time_and_name(gallery: Gallery) -> None:
    gallery.add(vectors(1), [row(0, seconds=None)], [jpeg()])
    (line,) = gallery.rows([0])
    assert line["seconds"] is None
    assert line["identity"] is None


def test_vectors_are_brought_to_unit_length(gallery: Gallery) -> None:
    made_nd = vectors(2)
    gallery.add(made_nd * 7, [row(0), row(1)], [jpeg(), jpeg()])
    np.testing.assert_allclose(gallery.vectors([0, 1]), made_nd, atol=1e-6)
    np.testing.assert_allclose(gallery.query(made_nd * 3, 1)[1], 0, atol=1e-6)


def test_the_same_crops_again_add_nothing(gallery: Gallery) -> None:
    add(gallery, 3)
    before = files(gallery.folder)
    again = Gallery.open(gallery.folder)
    assert again.has([row(2), row(3)]) == [True, False]
    assert again.add(vectors(3, 1), [row(0), row(1), row(2)], [jpeg()] * 3) == 0
    assert files(gallery.folder) == before
    mixed = [row(2), row(3), row(3), row(3, x1=0), row(3, source="other.mp4")]
    assert again.add(vectors(5, 2), mixed, [jpeg()] * 5) == 3
    assert len(again) == 6
    np.testing.assert_allclose(again.vectors([3]), vectors(5, 2)[[1]], atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=9), min_size=1, max_size=6), st.booleans())
def test_any_order_of_adding_is_a_list_without_repeats(
    tmp_path_factory: pytest.TempPathFactory, portions: list[list[int]], reopen: bool
) -> None:
    gallery = Gallery.create(tmp_path_factory.mktemp("any") / "g", HASH, DIM)
    known = vectors(31)
    kept: list[int] = []
    for portion in portions:
        gallery.add(known[portion], [row(frame) for frame in portion], [jpeg()] * len(portion))
        kept += [frame for frame in dict.fromkeys(portion) if frame not in kept]
        gallery = Gallery.open(gallery.folder) if reopen else gallery
        found = gallery.query(known[kept], 1)[0][:, 0]
        assert [line["frame"] for line in gallery.rows(found)] == kept
    assert [line["frame"] for line in gallery.rows(range(len(kept)))] == kept
    assert len(list((gallery.folder / "pictures").glob("*/*.jpg"))) == len(kept)


def test_many_small_shards_become_one(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_shards, "MAX_SMALL", 3)
    other = Gallery.open(gallery.folder)
    parts = []
    for number in range(6):
        parts.append(add(gallery, 2, first=2 * number, seed=number))
        assert np.array_equal(other.query(parts[-1], 1)[0][:, 0], [2 * number, 2 * number + 1])
    shards = json.loads((gallery.folder / "gallery.json").read_text())["shards"]
    assert [shard["count"] for shard in shards] == [8, 2, 2]
    assert len(list((gallery.folder / "vectors").iterdir())) == 3
    every = Gallery.open(gallery.folder)
    np.testing.assert_allclose(every.vectors(range(12)), np.concatenate(parts), atol=1e-7)
    assert [line["frame"] for line in every.rows(range(12))] == list(range(12))


def test_an_open_gallery_takes_over_what_others_add(gallery: Gallery) -> None:
    add(gallery, 2)
    other = Gallery.open(gallery.folder)
    other.query(vectors(1), 1)
    made_nd = add(gallery, 3, first=2, seed=5)
    assert len(other) == 2
    assert other.query(made_nd, 1)[0][:, 0].tolist() == [2, 3, 4]
    assert len(other) == 5


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_other_kinds_find_nearly_the_same(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_index, "SMALL", 100)
    gallery = Gallery.create(tmp_path / kind, HASH, DIM, kind)
    made_nd = add(gallery, 400)
    gallery.build()
    assert len(list((gallery.folder / "index").iterdir())) == 1
    more_nd = add(gallery, 50, first=400, seed=1)
    again = Gallery.open(gallery.folder)
    every_nd = np.concatenate([made_nd, more_nd])
    places, distances = again.query(every_nd, 1)
    assert not isinstance(again._state.index.engine, faiss.IndexFlat)  # type: ignore[union-attr]
    assert np.array_equal(places[:, 0], np.arange(450))
    np.testing.assert_allclose(distances, 0, atol=1e-6)
    np.testing.assert_allclose(again.vectors([420, 3]), every_nd[[420, 3]], atol=1e-6)
    asked_qd = vectors(40, 7)
    exact = naive(asked_qd, every_nd, 10)[0]
    found = again.query(asked_qd, 10)[0]
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert share > (0.95 if kind == "hnsw" else 0.5)
    assert np.array_equal(gallery.query(asked_qd, 10)[0], found)


def test_cells_are_found_again_when_a_gallery_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_index, "SMALL", 100)
    gallery = Gallery.create(tmp_path / "g", HASH, DIM, "ivf")
    add(gallery, 130)
    gallery.build()
    add(gallery, 600, first=130, seed=1)
    gallery.build()
    index = json.loads((gallery.folder / "gallery.json").read_text())["index"]
    assert (index["count"], index["trained"]) == (730, 730)
    assert len(list((gallery.folder / "index").iterdir())) == 1


def test_small_galleries_are_searched_exactly_whatever_their_kind(tmp_path: Path) -> None:
    gallery = Gallery.create(tmp_path / "g", HASH, DIM, "ivf")
    made_nd = add(gallery, 20)
    gallery.build()
    assert not (gallery.folder / "index").exists()
    asked_qd = vectors(5, 3)
    assert np.array_equal(gallery.query(asked_qd, 20)[0], naive(asked_qd, made_nd, 20)[0])


def test_the_index_has_the_only_copy_of_the_vectors(gallery: Gallery) -> None:
    add(gallery, 33)
    add(gallery, 5, first=33)
    again = Gallery.open(gallery.folder)
    again.query(vectors(1), 1)
    engine = again._state.index.engine  # type: ignore[union-attr]
    assert engine.codes.size() == 38 * DIM * 4


def test_another_network_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    gallery.check_model(SimpleNamespace(hash=HASH, dim=DIM))
    with pytest.raises(InputError, match=f"made by the network {HASH}.*the network feedfeed with 8"):
        gallery.check_model(SimpleNamespace(hash="feedfeed", dim=DIM))
    with pytest.raises(InputError, match="cannot be compared"):
        Gallery.create(gallery.folder, "feedfeed", DIM)
    assert len(Gallery.create(gallery.folder, HASH, DIM)) == 0
    with pytest.raises(ConfigError, match="has an index of kind flat"):
        Gallery.create(gallery.folder, HASH, DIM, "hnsw")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_vectors_without_a_direction_are_refused(gallery: Gallery, value: float) -> None:
    wrong_nd = vectors(3)
    wrong_nd[1] = value
    with pytest.raises(InputError, match=r"1 of 3 embeddings hold NaN.*first rows: 1"):
        gallery.add(wrong_nd, [row(0), row(1), row(2)], [jpeg()] * 3)
    with pytest.raises(InputError, match="first rows: 1"):
        gallery.query(wrong_nd, 1)
    assert len(Gallery.open(gallery.folder)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: (vectors(1, dim=4), [row(0)], [jpeg()]), r"shape \(1, 4\), expected \(N,8\)"),
        (lambda: (vectors(2), [row(0)], [jpeg()]), "2 vectors, 1 rows, 1 images"),
        (lambda: (vectors(1), [row(0)], [b"\x89PNG...."]), "is no JPEG"),
        (lambda: (vectors(1), [{"source": "a"}], [jpeg()]), "lacks frame, seconds"),
        (lambda: (vectors(1), [row(0, clothes="red")], [jpeg()]), "unknown clothes"),
        (lambda: (vectors(1), [row(0, camera="one")], [jpeg()]), "camera is 'one', expected int"),
        (lambda: (vectors(1), [row(0, camera=None)], [jpeg()]), "camera is None, expected int"),
    ],
)
def test_wrong_crops_are_refused(gallery: Gallery, change: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gallery.add(*change())
    assert files(gallery.folder) == {"gallery.json"}


def test_a_place_that_is_not_there(gallery: Gallery) -> None:
    add(gallery, 2)
    for place in (-1, 2):
        with pytest.raises(InputError, match=f"has no crop {place}"):
            gallery.rows([0, place])
        with pytest.raises(InputError, match=f"has no crop {place}"):
            gallery.image_path(place)
    with pytest.raises(ConfigError, match="top=0"):
        gallery.query(vectors(1), 0)


def test_what_lies_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty and no gallery \(it has notes.txt\)"):
        Gallery.create(tmp_path, HASH, DIM)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match=r"no gallery \(it has notes.txt\)"):
        Gallery.create(tmp_path / "notes.txt", HASH, DIM)
    with pytest.raises(ConfigError, match="Did you mean 'hnsw'"):
        Gallery.create(tmp_path / "g", HASH, DIM, "hnws")
    with pytest.raises(InputError, match="is no gallery"):
        Gallery.open(tmp_path / "nothing")
    assert not (tmp_path / "g").exists()


def test_a_beginning_that_was_killed_is_begun_again(tmp_path: Path) -> None:
    for name in (".lock", ".gallery.json.123.part"):
        (tmp_path / name).write_text("")
    assert len(Gallery.create(tmp_path, HASH, DIM)) == 0


def test_a_threshold_is_kept(gallery: Gallery) -> None:
    assert gallery.threshold is None
    kept = Threshold(distance=0.3, far=0.009, frr=0.1, wanted=0.01, positives=10, negatives=1000)
    gallery.set_threshold(kept)
    add(gallery, 1)
    assert Gallery.open(gallery.folder).threshold == kept


def test_a_copy_that_cannot_be_written_is_read(gallery: Gallery, tmp_path: Path) -> None:
    add(gallery, 3)
    (gallery.folder / ".lock").unlink()
    assert Gallery.open(gallery.folder).query(vectors(1), 1)[0].tolist() == [[0]]
    assert not (gallery.folder / ".lock").exists()
    assert len(Gallery.create(gallery.folder, HASH, DIM)) == 3
