"""What is forgotten is in no file of the gallery any more, and the rest is as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.gallery import index as gallery_index
from kd_yolo.search.gallery.forget import CropFilter, find_crops, forget
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.shards import image_name
from tests.search.gallery_helpers import DIM, HASH, add, jpeg, row, vectors


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """Places 0-3: person 0018 in cam1; 4-6: nobody known, track 5, in cam2; 7: an image of Anna."""
    made = Gallery.create(tmp_path / "gallery", HASH, DIM)
    add(made, 4, identity="0018", seed=1)
    add(made, 3, source="cam2.mp4", track=5, seed=2)
    made.add(vectors(1, 3), [row(0, "/album/anna.jpg", identity="Anna", seconds=None)], [jpeg(77)])
    return made


def holds(folder: Path, piece: bytes) -> bool:
    return any(piece in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        (CropFilter(person="0018"), [0, 1, 2, 3]),
        (CropFilter(person="18"), [0, 1, 2, 3]),
        (CropFilter(person="Anna"), [7]),
        (CropFilter(places=[2, 5]), [2, 5]),
        (CropFilter(source="cam2.mp4"), [4, 5, 6]),
        (CropFilter(source="/album"), [7]),
        (CropFilter(source="/album/"), [7]),
        (CropFilter(track=5, source="cam2.mp4"), [4, 5, 6]),
        (CropFilter(between=(1, 2)), [1, 2, 5, 6]),
        (CropFilter(between=(0, float("inf"))), [0, 1, 2, 3, 4, 5, 6]),
        (CropFilter(person="18", between=(2, 9)), [2, 3]),
        (CropFilter(source="cam2.mp4", between=(0, 0)), [4]),
    ],
)
def test_who_is_meant(gallery: Gallery, which: CropFilter, gone: list[int]) -> None:
    kept = [place for place in range(8) if place not in gone]
    before, lines = gallery.vectors(kept), gallery.rows(kept)
    removed = [(gallery.vectors([place])[0].tobytes(), gallery.image_path(place)) for place in gone]
    assert all(holds(gallery.folder, piece) and path.is_file() for piece, path in removed)
    assert find_crops(gallery.folder, which).places == tuple(gone)
    assert len(Gallery.open(gallery.folder)) == 8
    found = forget(gallery.folder, which)
    assert (found.places, found.left) == (tuple(gone), len(kept))
    for piece, path in removed:
        assert not holds(gallery.folder, piece)
        assert not holds(gallery.folder, path.stem.encode())
        assert not path.exists()
    for again in (gallery, Gallery.open(gallery.folder)):
        again.refresh()
        assert len(again) == len(kept)
        np.testing.assert_array_equal(again.vectors(kept), before)
        assert again.rows(kept) == lines
        with pytest.raises(InputError, match=f"has no crop {gone[0]}"):
            again.rows(gone)
    images = {path.relative_to(gallery.folder).as_posix() for path in gallery.folder.glob("pictures/*/*")}
    assert images == {line["file"] for line in lines}


def test_a_query_in_another_process_does_not_find_them(gallery: Gallery) -> None:
    open_already = Gallery.open(gallery.folder)
    asked = gallery.vectors([2])
    assert open_already.query(asked, 1)[0].tolist() == [[2]]
    forget(gallery.folder, CropFilter(person="18"))
    places, _ = open_already.query(asked, 8)
    assert sorted(places[0].tolist()) == [-1, -1, -1, -1, 4, 5, 6, 7]


def test_all_may_go_and_others_come(gallery: Gallery) -> None:
    assert forget(gallery.folder, CropFilter(places=range(8))).left == 0
    assert not list(gallery.folder.glob("vectors/*"))
    assert (gallery.query(vectors(1), 2)[0] == -1).all()
    made_nd = add(gallery, 2, seed=1, identity="18")
    assert gallery.query(made_nd, 1)[0][:, 0].tolist() == [8, 9]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_the_index_forgets_too(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_index, "SMALL", 64)
    gallery = Gallery.create(tmp_path / kind, HASH, DIM, kind)
    made_nd = add(gallery, 150)
    gallery.build()
    piece = gallery.vectors([7])[0].tobytes()
    assert any(piece in path.read_bytes() for path in gallery.folder.glob("index/*"))
    forget(gallery.folder, CropFilter(places=[7]))
    assert not holds(gallery.folder, piece)
    Gallery.open(gallery.folder).build()
    assert not holds(gallery.folder, piece)
    assert 7 not in gallery.query(made_nd[[7]], 20)[0]
    assert gallery.query(made_nd[[8]], 1)[0].tolist() == [[8]]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sets(st.integers(0, 40), min_size=1, max_size=9), max_size=5))
def test_any_order_of_adding_and_forgetting(tmp_path_factory: pytest.TempPathFactory, rounds: list[set[int]]) -> None:
    gallery = Gallery.create(tmp_path_factory.mktemp("any") / "g", HASH, DIM)
    known: dict[int, np.ndarray] = {}
    count = 0
    for number, unwanted in enumerate(rounds):
        made_nd = add(gallery, 6, first=100 * number, seed=number)
        known |= {count + place: vector for place, vector in enumerate(made_nd)}
        count += 6
        if unwanted & known.keys():
            forget(gallery.folder, CropFilter(places=sorted(unwanted)))
            known = {place: vector for place, vector in known.items() if place not in unwanted}
        gallery.refresh()
        places = list(known)
        assert len(gallery) == len(known)
        np.testing.assert_allclose(gallery.vectors(places), np.array(list(known.values())).reshape(-1, DIM), atol=1e-6)
        keys = {path.name for path in gallery.folder.glob("pictures/*/*")}
        assert keys == {Path(image_name(key)).name for key in gallery.table()["key"]}


def test_nobody_is_meant(gallery: Gallery) -> None:
    for which, message in [
        (CropFilter(), "forget whom"),
        (CropFilter(track=5), "--track 5 needs --source"),
        (CropFilter(between=(3, 1)), "--from 3 is after --to 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            forget(gallery.folder, which)
    for which, message in [
        (CropFilter(person="Ana"), r"Did you mean 'Anna'\? Known \(identity\): 0018, Anna"),
        (CropFilter(source="cam3.mp4"), r"Known \(source\): /album/anna.jpg, cam1.mp4, cam2.mp4"),
        (CropFilter(source="cam"), "nothing was forgotten"),
        (CropFilter(places=[99]), "nothing was forgotten"),
    ]:
        with pytest.raises(InputError, match=message):
            forget(gallery.folder, which)
    assert len(Gallery.open(gallery.folder)) == 8
    with pytest.raises(InputError, match="is no gallery"):
        forget(gallery.folder / "other", CropFilter(person="18"))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"person": ""},
        {"person": " \t"},
        {"source": ""},
        {"source": "  "},
        {"source": "/"},
        {"source": "//"},
        {"source": "."},
        {"source": "./"},
        {"source": ".."},
        {"source": "x/.."},
        {"places": ()},
        {"person": "1", "source": ""},
        {"person": "", "source": "/in"},
        {"track": 1},
        {"between": (float("nan"), 5.0)},
        {"between": (5.0, float("nan"))},
        {"between": (9.0, 5.0)},
    ],
)
def test_an_empty_filter_never_means_everybody(given: dict[str, object], tmp_path: Path) -> None:
    """An unset variable of the shell emptied a gallery: an absolute source lies in "" too."""
    gallery = Gallery.create(tmp_path / "g", HASH, DIM)
    add(gallery, 3, source="/in/cam1.mp4", identity="1", track=1)
    which = CropFilter(**given)  # type: ignore[arg-type]
    for work in (find_crops, forget):
        with pytest.raises(ConfigError):
            work(tmp_path / "g", which)
    assert len(Gallery.open(tmp_path / "g")) == 3
