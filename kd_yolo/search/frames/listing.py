"""What is in a folder: files by their suffix in the order of their numbers, and a line about what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.base.errors import InputError
from kd_yolo.base.order import natural_key
from kd_yolo.base.reading import first_few, shown
from kd_yolo.data.spec import IMAGE_SUFFIXES

# What PIL reads besides: Windows saves .jfif, scanners .jpe.
IMAGES = IMAGE_SUFFIXES | {".dib", ".jfif", ".jpe", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"}
CROPS = IMAGES | {".gif"}  # of crops only: elsewhere a GIF is a video
_SHOWN = 6


@dataclass
class PassedFiles:
    """Counts files that are passed over, by the reason.

    Attributes:
        counts: by what a user is told.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def line(self, folder: str | Path) -> str | None:
        """A line for the user; None where nothing was passed over."""
        if not self.counts:
            return None
        parts = [f"{count:,} {reason}" for reason, count in self.counts.most_common()]
        return f"{folder}: {self.counts.total():,} files passed over: {first_few(parts, _SHOWN)}"


def list_folder(folder: Path, suffixes: Iterable[str], passed: PassedFiles | None = None) -> list[Path]:
    """The regular files below a folder with one of the suffixes, in natural order (2.jpg before 10.jpg).

    Linked folders are followed, each real folder once. What is hidden does not count.

    Args:
        folder: where to look.
        suffixes: in lower case, with the dot.
        passed: counts the files that are not among them.

    Raises:
        InputError: the folder cannot be read.
    """
    return sorted((path for path in _walk(folder) if is_wanted_file(path, suffixes, passed)), key=natural_key)


def is_wanted_file(path: Path, suffixes: Iterable[str], passed: PassedFiles | None = None) -> bool:
    """Whether a path is a regular file with one of the suffixes; counts it as passed over where not."""
    why = _why_not(path, suffixes)
    if why is not None and passed is not None:
        passed.counts[why] += 1
    return why is None


def _why_not(path: Path, suffixes: Iterable[str]) -> str | None:
    suffix = path.suffix.lower()
    if not is_text(str(path)):
        return "with a name that is not UTF-8"
    if suffix not in suffixes:
        return f"of kind {shown(suffix, 12)}" if suffix else "without a suffix"
    return None if path.is_file() else "that are no files (pipes, devices, links to nothing)"


def is_text(name: str) -> bool:
    """Whether a name can be written down; Linux has names of any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(folder: Path) -> Iterable[Path]:
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse(folder)):
        stat = os.stat(place)  # noqa: PTH116  # of a text path
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in files if not name.startswith("."))


def _refuse(folder: Path) -> Callable[[OSError], None]:
    def raise_it(error: OSError) -> None:
        raise InputError(f"{folder} cannot be read: {error.strerror or error} ({shown(str(error.filename), 300)}).")

    return raise_it
