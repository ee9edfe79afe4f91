"""A ranking to look at: who was looked for, a gap, and who was found, with camera, time and distance below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_image
from kd_yolo.base.palette import GREEN, VERMILION, Colour
from kd_yolo.reid.data.decode import read_rgb
from kd_yolo.search.frames.camera_numbers import camera_in_name
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.gallery.query import Match

A_LINE = 10  # matches
WRITTEN = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_WIDTH_PX, _HEIGHT_PX, _FRAME_PX, _TEXT_PX, _SPACE_PX = 96, 192, 4, 15, 6
# RGB; the captions say the same.
_SAME, _OTHER, _PLAIN, _QUERY_COLOUR, _GREY = GREEN, VERMILION, (150, 150, 150), (0, 0, 0), (200, 200, 200)
Tile = npt.NDArray[np.uint8]


def check_target(target: Path) -> None:
    """Checks that an image can be written under a name.

    Raises:
        ConfigError: an ending of no kind of image, or a folder of that name.
    """
    if target.suffix.lower() not in WRITTEN:
        raise ConfigError(f"--out {target}: expected a name that ends with {', '.join(WRITTEN)}.")
    if target.is_dir():
        raise ConfigError(f"--out {target} is a folder: name the image to write, {target / 'ranking.png'}.")


def draw_ranking(query_hw3: ImageHW3, matches: Sequence[Match], target: Path) -> Path:
    """Draws a ranking, ten matches a line.

    A match is framed green within the threshold and orange beyond it, grey without one.

    Args:
        query_hw3: the crop that is looked for, RGB.
        matches: what was found, nearest first.
        target: image to write, see :func:`check_target`; its folder is made if needed.
    """
    blank = np.full_like(_tile(None, _GREY, ()), 255)
    lines = []
    for start in range(0, max(len(matches), 1), A_LINE):
        first = _tile(_fitted(query_hw3), _QUERY_COLOUR, ("looked for",)) if start == 0 else blank
        tiles = [_match_tile(match) for match in matches[start : start + A_LINE]]
        tiles += [blank] * (min(A_LINE, len(matches)) - len(tiles))
        lines.append(np.hstack([first, _gap(4 * _SPACE_PX), *(part for tile in tiles for part in (tile, _gap()))]))
    margins = ((_SPACE_PX, 0), (_SPACE_PX, 0), (0, 0))
    sheet_hw3 = np.pad(np.vstack(lines), margins, constant_values=255)[:, :, ::-1]
    return write_image(target, sheet_hw3)


def time_of(seconds: float | None) -> str:
    """``1:02:03``, or ``2:03``; empty without a time."""
    if seconds is None:
        return ""
    hours, minutes, rest = int(seconds) // 3600, int(seconds) // 60 % 60, int(seconds) % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def verdict_of(match: Match) -> str:
    """What the threshold says about a match; empty without one."""
    return "" if match.is_same is None else "match" if match.is_same else "beyond"


def _camera_of(match: Match) -> str:
    """The number of the camera; a question mark where nobody said one (0 may be a camera's own number)."""
    camera = int(match.row["camera"])
    return str(camera) if camera or camera_in_name(str(match.row["source"])) == 0 else "?"


def _match_tile(match: Match) -> Tile:
    colour = _PLAIN if match.is_same is None else _SAME if match.is_same else _OTHER
    captions = (
        f"{match.rank}: {match.distance:.3f} {verdict_of(match)}",
        f"cam {_camera_of(match)} {time_of(match.row['seconds'])}",
        f"crop {match.place}",
    )
    try:
        return _tile(_fitted(np.asarray(read_rgb(match.image), np.uint8)), colour, captions)
    except InputError:
        return _tile(None, colour, captions)


def _tile(inner_hw3: ImageHW3 | None, colour: Colour, captions: Sequence[str]) -> Tile:
    """An image in its frame with captions below; a cross where the image cannot be read."""
    height = _HEIGHT_PX + 2 * _FRAME_PX
    tile = np.full((height + 3 * _TEXT_PX + _SPACE_PX, _WIDTH_PX + 2 * _FRAME_PX, 3), 255, np.uint8)
    tile[:height] = colour
    inside = tile[_FRAME_PX : _FRAME_PX + _HEIGHT_PX, _FRAME_PX : _FRAME_PX + _WIDTH_PX]
    inside[:] = _GREY if inner_hw3 is None else inner_hw3
    if inner_hw3 is None:
        cv2.line(tile, (_FRAME_PX, _FRAME_PX), (_WIDTH_PX, _HEIGHT_PX), _QUERY_COLOUR, 1, cv2.LINE_AA)
        cv2.line(tile, (_FRAME_PX, _HEIGHT_PX), (_WIDTH_PX, _FRAME_PX), _QUERY_COLOUR, 1, cv2.LINE_AA)
    for line, caption in enumerate(captions, 1):
        place = (2, height + line * _TEXT_PX - 3)
        cv2.putText(tile, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _QUERY_COLOUR, 1, cv2.LINE_AA)
    return tile


def _fitted(image_hw3: ImageHW3) -> ImageHW3:
    """The whole image in the size of a tile, its shape kept, grey around it."""
    height, width = image_hw3.shape[:2]
    scale = min(_HEIGHT_PX / height, _WIDTH_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(image_hw3).resize(size), np.uint8)
    canvas = np.full((_HEIGHT_PX, _WIDTH_PX, 3), _GREY, np.uint8)
    top, left = (_HEIGHT_PX - size[1]) // 2, (_WIDTH_PX - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return canvas


def _gap(width_px: int = _SPACE_PX) -> Tile:
    return np.full((_HEIGHT_PX + 2 * _FRAME_PX + 3 * _TEXT_PX + _SPACE_PX, width_px, 3), 255, np.uint8)
