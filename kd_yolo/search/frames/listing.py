"""What is in a folder: files by their suffix in the order of their numbers, and a line about what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.order import natural_key
from kd_yolo.base.reading import first_few, shown
from kd_yolo.data.spec import IMAGE_SUFFIXES

# What PIL reads besides: Windows saves .jfif, scanners .jpe.
IMAGES = IMAGE_SUFFIXES | {".dib", ".jfif", ".jpe", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"}
CROPS = IMAGES | {".gif"}  # of crops only: elsewhere a GIF is a video
_SHOWN = 6
MAX_NAME, MAX_PATH = 255, 4095  # bytes, as Linux has them


@dataclass
class Passed:
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


def list_folder(folder: Path, suffixes: Iterable[str], passed: Passed | None = None) -> list[Path]:
    """The regular files below a folder with one of the suffixes, in natural order (2.jpg before 10.jpg).

    Linked folders are followed, each real folder once. What is hidden does not count.

    Args:
        folder: where to look.
        suffixes: in lower case, with the dot.
        passed: counts the files that are not among them.

    Raises:
        InputError: the folder cannot be read.
    """
    return sorted((path for path in _walk(folder) if is_one(path, suffixes, passed)), key=natural_key)


def is_one(path: Path, suffixes: Iterable[str], passed: Passed | None = None) -> bool:
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


def check_names(flags: object) -> None:
    """Checks that every path that a user gave can be one.

    Args:
        flags: a data class; its paths, and its texts and tuples of them that look like paths.

    Raises:
        InputError: a NUL in it, or a name that is too long for any file.
    """
    for flag, value in vars(flags).items():
        for one in value if isinstance(value, tuple) else (value,):
            text = str(one)
            if not isinstance(one, str | Path) or "://" in text:
                continue
            longest = max(len(os.fsencode(part)) for part in text.split("/"))
            if "\0" in text or len(text) > MAX_PATH or longest > MAX_NAME:
                raise InputError(f"--{flag.replace('_', '-')} {shown(text)} cannot be a path: too long, or with a NUL.")


def check_folder(folder: Path | None) -> None:
    """Raises a ConfigError for a folder of results that is a file."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file: name a folder for the results.")
