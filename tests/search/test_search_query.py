"""A query's answer is the naive one, re-ranked as the whole would be, and drawn so that one can see it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.evaluation.rerank import rerank
from kd_yolo.search.gallery.files import Threshold
from kd_yolo.search.gallery.gallery import Gallery
from kd_yolo.search.gallery.query import nearest_crops
from kd_yolo.search.gallery.ranking_image import draw_ranking, time_of
from tests.search.gallery_helpers import DIM, HASH, add, vectors


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create(tmp_path / "gallery", HASH, DIM)


def test_the_nearest_in_their_order(gallery: Gallery) -> None:
    made_nd, asked_d = add(gallery, 20), vectors(1, 9)[0]
    matches = nearest_crops(gallery, asked_d, 6)
    order = np.argsort(1 - made_nd @ asked_d)[:6]
    assert [match.place for match in matches] == order.tolist()
    assert [match.rank for match in matches] == [1, 2, 3, 4, 5, 6]
    assert [match.distance for match in matches] == pytest.approx((1 - made_nd @ asked_d)[order], abs=1e-6)
    assert all(match.image == gallery.image_path(match.place) for match in matches)
    assert all(match.row["frame"] == match.place and match.is_same is None for match in matches)


def test_fewer_than_asked_for(gallery: Gallery) -> None:
    add(gallery, 3)
    assert len(nearest_crops(gallery, vectors(1)[0], 10)) == 3
    assert len(nearest_crops(gallery, vectors(1)[0], 10, rerank=True)) == 3


def test_reranking_is_that_of_the_whole_where_all_are_candidates(gallery: Gallery) -> None:
    made_nd, asked_d = add(gallery, 60), vectors(1, 4)[0]
    expected = np.argsort(rerank(asked_d[None], made_nd)[0], kind="stable")[:8]
    matches = nearest_crops(gallery, asked_d, 8, rerank=True)
    assert [match.place for match in matches] == expected.tolist()
    assert [match.distance for match in matches] == pytest.approx((1 - made_nd @ asked_d)[expected], abs=1e-6)
    assert [match.place for match in nearest_crops(gallery, asked_d, 8)] != expected.tolist()


def test_the_threshold_says_who_is_the_same(gallery: Gallery) -> None:
    add(gallery, 10)
    distances = [match.distance for match in nearest_crops(gallery, vectors(1, 9)[0], 10)]
    gallery.set_threshold(Threshold(distance=distances[3], far=0, frr=0, wanted=0.1, positives=1, negatives=9))
    kept = [match.is_same for match in nearest_crops(gallery, vectors(1, 9)[0], 10)]
    assert kept == [True] * 4 + [False] * 6
    given = [match.is_same for match in nearest_crops(gallery, vectors(1, 9)[0], 10, threshold=distances[1])]
    assert given == [True] * 2 + [False] * 8


def test_bad_questions(gallery: Gallery) -> None:
    with pytest.raises(InputError, match="is empty: kd-yolo search index"):
        nearest_crops(gallery, vectors(1)[0])
    add(gallery, 3)
    for reranked in (True, False):
        with pytest.raises(ConfigError, match="top=0"):
            nearest_crops(gallery, vectors(1)[0], 0, rerank=reranked)
    with pytest.raises(InputError, match=r"shape \(1, 5\)"):
        nearest_crops(gallery, vectors(1, dim=5)[0])


def test_the_drawing_shows_images_and_verdicts(gallery: Gallery, tmp_path: Path) -> None:
    red = np.zeros((40, 20, 3), np.uint8)
    red[..., 0] = 255
    add(gallery, 12)
    distances = [match.distance for match in nearest_crops(gallery, vectors(1)[0], 12)]
    matches = nearest_crops(gallery, vectors(1)[0], 12, threshold=distances[0])
    Image.fromarray(red).save(matches[0].image, "PNG")
    matches[1].image.unlink()
    drawn = cv2.imread(str(draw_ranking(red, matches, tmp_path / "new" / "ranking.png")))
    assert drawn is not None
    height, width = drawn.shape[:2]
    assert (height, width) == (6 + 2 * 251, 6 + 104 + 24 + 10 * 110)
    asked, first, lost = drawn[100, 50], drawn[100, 180], drawn[25, 185 + 110]
    assert asked.tolist() == first.tolist() == [0, 0, 255]
    assert lost.tolist() == [200, 200, 200]
    frames = [drawn[100, 6 + 104 + 24 + place * 110 + 1].tolist() for place in (0, 1)]
    assert frames == [[115, 158, 0], [0, 94, 213]]
    assert (drawn[6 + 251 : 6 + 251 + 200, 6:100] == 255).all()


def test_no_matches_are_drawn_too(tmp_path: Path) -> None:
    assert draw_ranking(np.zeros((9, 1, 3), np.uint8), [], tmp_path / "r.png").is_file()


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723.5, "1:02:03")]
)
def test_times(seconds: float | None, text: str) -> None:
    assert time_of(seconds) == text
