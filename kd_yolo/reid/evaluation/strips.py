"""Rankings to look at: a query, a gap, and what it found, framed green where right and red where wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_image
from kd_yolo.reid.evaluation.distance import to_numpy
from kd_yolo.reid.evaluation.matches import JUNK_ID
from kd_yolo.reid.evaluation.rank import evaluate

Image = npt.NDArray[np.uint8]
TOP = 10
_WIDTH_PX, _HEIGHT_PX, _FRAME_PX, _CAPTION_PX, _SPACE_PX, _GAP_PX = 64, 128, 4, 16, 4, 24
# Blue, green, red: the captions say the same for those who see no difference between green and red.
_GREEN, _RED, _BLACK, _GREY, _WHITE = (60, 160, 0), (40, 40, 215), (0, 0, 0), (190, 190, 190), (255, 255, 255)


class CropFile(Protocol):
    """A person crop."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def identity(self) -> int:
        """Who it shows; -1 is junk."""

    @property
    def camera(self) -> int:
        """Which camera took it."""


def write_strips(
    dist_qg: Any,
    queries: Sequence[CropFile],
    gallery: Sequence[CropFile],
    folder: Path,
    num_strips: int = 20,
    with_cameras: bool = True,
) -> list[Path]:
    """Draws the queries with the worst average precision, one file a query.

    Images that are missing or do not decode are grey tiles with a cross and a note.

    Args:
        dist_qg: distances (Nq,Ng).
        queries: the query images (Nq).
        gallery: the gallery images (Ng).
        folder: where the files go; made if needed.
        num_strips: how many queries; fewer where there are fewer.
        with_cameras: the protocol, as in :func:`evaluate`.

    Returns:
        The files, the worst query first; their names begin with 001, 002, ...

    Raises:
        InputError: see :func:`evaluate`.
    """
    dist_qg = to_numpy(dist_qg)
    q_ids, g_ids = ([image.identity for image in side] for side in (queries, gallery))
    q_cams, g_cams = ([image.camera for image in side] if with_cameras else None for side in (queries, gallery))
    ap_q = evaluate(dist_qg, q_ids, g_ids, q_cams, g_cams, max_rank=1).ap
    written = []
    for number, query in enumerate(np.argsort(ap_q, kind="stable")[: max(num_strips, 0)], 1):
        if np.isnan(ap_q[query]):  # skipped queries sort last
            break
        shown = queries[query]
        found = _found(dist_qg[query], shown, gallery, with_cameras)
        path = Path(folder) / f"{number:03d}_ap{ap_q[query]:.3f}_id{shown.identity}_c{shown.camera}.png"
        write_image(path, draw_strip(shown, found, f"AP {ap_q[query]:.2f}"))
        written.append(path)
    return written


def draw_strip(query: CropFile, found: Sequence[CropFile], note: str) -> Image:
    """One ranking.

    Args:
        query: what was asked.
        found: what was found, nearest first.
        note: caption of the query.

    Returns:
        Image (H,W,3), blue, green, red.

    Raises:
        InputError: nothing was found.
    """
    if not found:
        raise InputError(f"nothing was found for {query.path}: there is no ranking to draw.")
    tiles = [_tile(query, _BLACK, note), np.full((_tile_height(), _GAP_PX, 3), 255, np.uint8)]
    for rank, image in enumerate(found, 1):
        colour = _GREEN if image.identity == query.identity else _RED
        tiles.append(_tile(image, colour, f"{rank}: id {image.identity}"))
        tiles.append(np.full((_tile_height(), _SPACE_PX, 3), 255, np.uint8))
    return np.hstack(tiles[:-1])


def _found(
    dist_g: npt.NDArray[Any], query: CropFile, gallery: Sequence[CropFile], with_cameras: bool
) -> list[CropFile]:
    """The nearest images that count."""
    found: list[CropFile] = []
    for item in np.argsort(dist_g, kind="stable"):
        image = gallery[item]
        is_own = with_cameras and (image.identity, image.camera) == (query.identity, query.camera)
        if image.identity != JUNK_ID and not is_own:
            found.append(image)
        if len(found) == TOP:
            break
    return found


def _tile_height() -> int:
    return _HEIGHT_PX + 2 * _FRAME_PX + _CAPTION_PX


def _tile(image: CropFile, colour: tuple[int, int, int], caption: str) -> Image:
    """An image in its frame, with a caption below."""
    tile = np.full((_tile_height(), _WIDTH_PX + 2 * _FRAME_PX, 3), 255, np.uint8)
    tile[: _HEIGHT_PX + 2 * _FRAME_PX] = colour
    inner = tile[_FRAME_PX : _FRAME_PX + _HEIGHT_PX, _FRAME_PX : _FRAME_PX + _WIDTH_PX]
    inner[:] = _read(image.path)
    _write(tile, caption, (1, _tile_height() - 5))
    return tile


def _read(path: Path) -> Image:
    """The image at the size of a tile, or a tile that says why there is none."""
    image = cv2.imread(str(path)) if Path(path).is_file() else None
    if image is not None:
        return np.asarray(cv2.resize(image, (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)
    tile = np.full((_HEIGHT_PX, _WIDTH_PX, 3), _GREY, np.uint8)
    cv2.line(tile, (0, 0), (_WIDTH_PX - 1, _HEIGHT_PX - 1), _BLACK, 1, cv2.LINE_AA)
    cv2.line(tile, (0, _HEIGHT_PX - 1), (_WIDTH_PX - 1, 0), _BLACK, 1, cv2.LINE_AA)
    cv2.rectangle(tile, (0, 54), (_WIDTH_PX - 1, 74), _WHITE, -1)
    _write(tile, "unreadable" if Path(path).is_file() else "missing", (2, 68))
    return tile


def _write(image: Image, text: str, place: tuple[int, int]) -> None:
    scale = min(0.36, 0.36 * _WIDTH_PX / max(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.36, 1)[0][0], 1))
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, _BLACK, 1, cv2.LINE_AA)
