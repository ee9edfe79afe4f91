"""Images one after the other, whatever they are in: files, folders, lists, videos, streams, webcams."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kd_yolo.base.errors import InputError
from kd_yolo.base.order import natural_key
from kd_yolo.base.reading import printable, read_text, regular_file, shown
from kd_yolo.data.frames import VIDEO_SUFFIXES
from kd_yolo.reid.data.decode import is_readable
from kd_yolo.search.frames.camera_numbers import InputNumber, number_inputs
from kd_yolo.search.frames.frame_types import Frame
from kd_yolo.search.frames.images import read_bgr
from kd_yolo.search.frames.listing import IMAGES, PassedFiles, is_text, is_wanted_file, list_folder
from kd_yolo.search.frames.video import read_video

Say = Callable[[str], None]
Kind = Literal["image", "video", "live"]
VIDEOS = VIDEO_SUFFIXES | {".asf", ".gif", ".mpeg", ".mpg", ".ts", ".wmv"}  # the others are ultralytics'
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
KINDS = (
    "an image, a folder (with all that is under it), a glob such as 'images/*.jpg', a .txt list, a video,"
    " the address of a stream (rtsp://, http://, ...), or the number of a webcam"
)


@dataclass(frozen=True)
class Input:
    """One file, stream or webcam of a source.

    Attributes:
        name: absolute path, address, or number of the webcam; :attr:`Frame.source` of its frames.
        kind: what it is.
        number: of camera and sequence.
    """

    name: str
    kind: Kind
    number: InputNumber


def open_source(source: str, *, camera: int | None = None, stride: int = 1, say: Say = print) -> Iterator[Frame]:
    """The frames of a source, in order.

    Args:
        source: see :data:`KINDS`.
        camera: number of the camera; None: see :func:`kd_yolo.search.frames.camera_numbers.number_inputs`.
        stride: every n-th frame of a video or stream.
        say: takes lines for the user: what is skipped, a stream that stopped.

    Raises:
        InputError: nothing there; or, at the end, nothing of it could be read.
    """
    return Reader(stride, say).read_all(source, find_inputs(source, camera=camera, say=say))


def find_inputs(
    source: str,
    *,
    camera: int | None = None,
    known: Mapping[str, InputNumber] | None = None,
    leave_out: Path | None = None,
    say: Say | None = None,
) -> list[Input]:
    """All inputs of a source, those of a folder in natural order (2.jpg before 10.jpg), each once.

    Args:
        source: see :data:`KINDS`.
        camera: number of the camera.
        known: numbers of inputs from an earlier run.
        leave_out: a folder in which nothing is looked for, that of the results.
        say: takes a line about files of a folder that are passed over.

    Raises:
        InputError: nothing there.
    """
    passed = PassedFiles()
    kinds = {name: kind for name, kind in _find(source, passed) if not _lies_in(name, kind, leave_out)}
    line = None if say is None else passed.line(source)
    if say is not None and line is not None:
        say(line)
    if not kinds:
        raise InputError(f"{source}: no images and no videos there. A source is {KINDS}.")
    groups = {name: str(Path(name).parent) if kind == "image" else name for name, kind in kinds.items()}
    numbers = number_inputs(groups, camera, known)
    return [Input(name, kind, numbers[name]) for name, kind in kinds.items()]


@dataclass
class Reader:
    """Decodes inputs; what cannot be read is said and skipped.

    Attributes:
        stride: every n-th frame of a video or stream.
        say: takes lines for the user.
        skipped: why inputs were skipped, a line each.
        ended: names of the files that have been read to their end, or to where they should be.
    """

    stride: int = 1
    say: Say = print
    skipped: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def read_all(self, source: str, inputs: Iterable[Input]) -> Iterator[Frame]:
        """The frames of all inputs.

        Raises:
            InputError: at the end, when there was not a single one.
        """
        is_any = False
        for frame in self.read(inputs):
            is_any = True
            yield frame
        if not is_any:
            raise InputError(f"{source}: nothing there can be read. {self.skipped[0] if self.skipped else ''}".rstrip())

    def read(
        self, inputs: Iterable[Input], starts: Mapping[str, int] | None = None, end: int | None = None
    ) -> Iterator[Frame]:
        """The frames of all inputs, those of a video from the frame that ``starts`` names, and those before ``end``."""
        for source_input in inputs:
            try:
                yield from self._frames(source_input, (starts or {}).get(source_input.name, 0), end)
                if source_input.kind != "live":
                    self.ended.append(source_input.name)
            except InputError as error:
                self.skipped.append(str(error))
                self.say(f"warning: skipped: {error}")

    def _frames(self, source_input: Input, start: int, end: int | None) -> Iterator[Frame]:
        if source_input.kind != "live":
            regular_file(source_input.name, source_input.kind)
        if source_input.kind == "image":
            yield Frame(source_input.name, 0, None, source_input.number.camera, read_bgr(Path(source_input.name)))
            return
        is_live = source_input.kind == "live"
        for video_frame in read_video(
            source_input.name, start=start, end=end, stride=self.stride, live=is_live, say=self.say
        ):
            yield Frame(
                source_input.name,
                video_frame.index,
                video_frame.seconds,
                source_input.number.camera,
                video_frame.image_hw3,
            )


def _find(source: str, passed: PassedFiles) -> Iterator[tuple[str, Kind]]:
    """Names and kinds."""
    if (source.isascii() and source.isdigit()) or ADDRESS.match(source):
        yield source, "live"
        return
    if not is_text(source):
        raise InputError(f"{shown(source, 300)}: its name is not UTF-8; rename it.")
    path = Path(source).expanduser()
    try:
        is_there = path.stat() is not None
    except FileNotFoundError:
        is_there = False
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise InputError(
            f"{shown(source, 300)} cannot be opened: {getattr(error, 'strerror', None) or error}."
        ) from None
    if path.is_dir():
        yield from ((_absolute(file), _kind(file)) for file in list_folder(path, IMAGES | VIDEOS, passed))
    elif is_there:
        regular_file(path, "source")
        yield from _listed(path, passed) if path.suffix.lower() == ".txt" else [(_absolute(path), _kind(path))]
    elif found := glob.glob(str(path), recursive=True):  # noqa: PTH207  # absolute ones as well
        yield from _known((Path(name) for name in sorted(found, key=natural_key)), passed)
    else:
        raise InputError(f"{printable(source)[:300]}: no such file ({path.absolute()}). A source is {KINDS}.")


def _listed(list_file: Path, passed: PassedFiles) -> Iterator[tuple[str, Kind]]:
    """The files of a list; relative paths count from its folder."""
    try:
        lines = read_text(list_file, what="list").splitlines()
    except InputError as error:
        raise InputError(f"{list_file} is no list of files: {error}") from None
    for number, line in enumerate(lines, 1):
        if ADDRESS.match(line.strip()):
            address = printable(line.strip())[:300]
            raise InputError(f"{list_file}, line {number}: a list names files; run a stream by itself: {address}")
        if line.strip():
            file = Path(os.path.normpath(list_file.absolute().parent / Path(line.strip()).expanduser()))
            yield from _of_line(file, f"{list_file}, line {number}", passed)


def _of_line(file: Path, where: str, passed: PassedFiles) -> list[tuple[str, Kind]]:
    """What one line of a list names; a missing file is found out when it is read."""
    try:
        if file.is_dir():
            return list(_find(str(file), passed))
    except (OSError, ValueError) as error:
        raise InputError(f"{where} cannot be used: {getattr(error, 'strerror', None) or error}.") from None
    if file.suffix.lower() == ".txt":
        raise InputError(f"{where}: {shown(str(file), 300)} is a list itself; a list names images, videos and folders.")
    return [(str(file), _kind(file))]


def _known(files: Iterable[Path], passed: PassedFiles) -> Iterator[tuple[str, Kind]]:
    for file in files:
        if not file.is_dir() and is_wanted_file(file, IMAGES | VIDEOS, passed):
            yield _absolute(file), _kind(file)


def _kind(file: Path) -> Kind:
    """By the suffix; by the header where that is of neither kind."""
    suffix = file.suffix.lower()
    if suffix in IMAGES:
        return "image"
    return "video" if suffix in VIDEOS or not (file.is_file() and is_readable(file, whole=False)) else "image"


def _absolute(file: Path) -> str:
    return os.path.abspath(file)  # noqa: PTH100  # links stay what they are called


def _lies_in(name: str, kind: Kind, folder: Path | None) -> bool:
    return folder is not None and kind != "live" and folder.absolute() in Path(name).parents
