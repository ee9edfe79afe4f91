"""Strips, histograms and CMC curves: right frames in the right order, bad files drawn and not raised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.reid.evaluation import strips
from kd_yolo.reid.evaluation.curves import draw_cmc, draw_pair_histogram, pair_histogram
from kd_yolo.reid.evaluation.strips import draw_strip, write_strips


@dataclass(frozen=True)
class Crop:
    path: Path
    identity: int
    camera: int


def crop(folder: Path, identity: int, camera: int = 1, name: str = "") -> Crop:
    path = folder / f"{name or identity}_{camera}.png"
    cv2.imwrite(str(path), np.full((40, 20, 3), 20 * identity % 256, np.uint8))
    return Crop(path, identity, camera)


def frames(strip: np.ndarray) -> str:
    """One letter a tile: the colour of the upper left corner; a tile is 72 px wide, the gap 24, the space 4."""
    letters = {strips._GREEN: "g", strips._RED: "r", strips._BLACK: "q"}
    columns = [0, *range(96, strip.shape[1], 76)]
    return "".join(letters[tuple(int(value) for value in strip[0, column])] for column in columns)


def test_strip_shows_hits_green_and_misses_red(tmp_path: Path) -> None:
    found = [crop(tmp_path, identity, name=f"{rank}-{identity}") for rank, identity in enumerate((2, 1, 1, 3))]
    strip = draw_strip(crop(tmp_path, 1), found, "AP 0.50")
    assert frames(strip) == "qrggr"
    assert strip.shape == (152, 96 + 4 * 76 - 4, 3)
    assert (strip[:, 72:96] == 255).all()  # the gap
    assert (strip[68, 36] == 20).all()  # the query's own image


def test_bad_images_are_crossed_tiles(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    bad, missing = Crop(tmp_path / "bad.png", 1, 1), Crop(tmp_path / "none.png", 1, 1)
    strip = draw_strip(missing, [bad, crop(tmp_path, 1)], "")
    assert frames(strip) == "qgg"
    for left in (0, 96):
        assert (strip[10, left + 36] == strips._GREY[0]).all()
        assert (strip[4 + 64 + 14, left + 4 + 6] == strips._GREY[0]).all()
        assert strip[4, left + 4].max() < 100  # the end of the cross
    assert not np.array_equal(strip[:, :72][60:80], strip[:, 96:168][60:80])  # "missing" and "unreadable"


def test_worst_query_first_and_only_what_counts(tmp_path: Path) -> None:
    queries = [crop(tmp_path, 1), crop(tmp_path, 2), crop(tmp_path, 9)]  # nobody is 9
    gallery = [crop(tmp_path, *who) for who in ((1, 1), (-1, 2), (1, 2), (2, 2), (3, 2))]
    dist_qg = np.array([[0, 0, 1, 2, 3], [0, 0, 1, 2, 3], [0, 0, 0, 0, 0]], np.float32)
    files = write_strips(dist_qg, queries, gallery, tmp_path / "strips")
    assert [file.name for file in files] == ["001_ap0.333_id2_c1.png", "002_ap1.000_id1_c1.png"]
    assert frames(cv2.imread(str(files[0]))) == "qrrgr"
    assert frames(cv2.imread(str(files[1]))) == "qgrr"  # its own camera is left out, junk too
    without = write_strips(dist_qg, queries, gallery, tmp_path / "all", num_strips=5, with_cameras=False)
    assert frames(cv2.imread(str(without[1]))) == "qggrr"
    assert len(write_strips(dist_qg, queries, gallery, tmp_path / "one", num_strips=1)) == 1


def test_ten_at_most(tmp_path: Path) -> None:
    gallery = [crop(tmp_path, 1, name=str(n)) for n in range(14)]
    file = write_strips(np.arange(14)[None], [crop(tmp_path, 1)], gallery, tmp_path, with_cameras=False)[0]
    assert frames(cv2.imread(str(file))) == "q" + "g" * 10


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no ranking to draw"):
        draw_strip(crop(tmp_path, 1), [], "")


def test_histogram_counts_every_pair_that_counts_once() -> None:
    rng = np.random.default_rng(0)
    dist_qg = rng.random((300, 40), np.float32)
    q_ids, g_ids = rng.integers(1, 5, 300), rng.integers(-1, 5, 40)
    q_cams, g_cams = rng.integers(1, 3, 300), rng.integers(1, 3, 40)
    histogram = pair_histogram(dist_qg, (q_ids, q_cams), (g_ids, g_cams), num_bins=7)
    expected = np.zeros((2, 7), int)
    for i in range(300):
        for j in range(40):
            if g_ids[j] == -1 or (q_ids[i] == g_ids[j] and q_cams[i] == g_cams[j]):
                continue
            level = min(int(np.searchsorted(histogram.edges, dist_qg[i, j], "right")) - 1, 6)
            expected[int(q_ids[i] != g_ids[j]), level] += 1
    np.testing.assert_array_equal([histogram.same, histogram.different], expected)
    without = pair_histogram(dist_qg, (q_ids, None), (g_ids, None))
    assert without.same.sum() + without.different.sum() == 300 * (g_ids != -1).sum()


def test_curves_are_images(tmp_path: Path) -> None:
    backend = mpl.get_backend()
    histogram = pair_histogram(np.array([[0.0, 1.0]]), ([1], None), ([1, 2], None))
    files = [draw_pair_histogram(histogram, tmp_path / "new" / "histogram.png")]
    files.append(draw_cmc({"global": np.array([0.5, 1.0]), "re-ranked": np.array([0.75, 1.0])}, tmp_path / "cmc.png"))
    for file in files:
        image = cv2.imread(str(file))
        assert image.shape[0] > 400
        assert image.std() > 5
    assert mpl.get_backend() == backend


def test_bad_curves_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CMC curve"):
        draw_cmc({}, tmp_path / "cmc.png")
    with pytest.raises(InputError, match=r"distances have shape \(1, 2\) or NaN"):
        pair_histogram(np.array([[0.0, np.nan]]), ([1], None), ([1, 2], None))
