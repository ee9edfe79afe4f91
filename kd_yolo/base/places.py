"""Where things lie: the project's folders, weights by their name, new folders for runs."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.reading import shown

ROOT = Path(__file__).resolve().parents[2]
"""What holds the package: a checkout, or where wheels are installed (:func:`is_checkout`)."""


def is_checkout() -> bool:
    """Whether the package runs from a checkout, not from an installed wheel: :data:`ROOT` is the project's then."""
    return (ROOT / "pyproject.toml").is_file() and (ROOT / "cfg").is_dir()


def shipped_folder(name: str) -> Path:
    """A folder of files that belong to the package: inside it in a wheel, at the top level of a checkout.

    Args:
        name: ``cfg``.
    """
    inside = Path(str(resources.files("kd_yolo"))) / name
    return inside if inside.is_dir() else ROOT / name


def project_folders(name: str) -> list[Path]:
    """Where files of a user are looked for, best first: the folder ``name`` here, then that of the checkout.

    Args:
        name: ``datasets`` or ``weights``.
    """
    return [Path(name), ROOT / name] if is_checkout() else [Path(name)]


def project_folder(name: str) -> Path:
    """``datasets`` or ``weights`` of the project: here if it is here, else in the checkout, else made here."""
    here, *checkout = project_folders(name)
    return (checkout[0] if checkout and not here.is_dir() else here).resolve()


def find_weights(name: str | Path) -> str:
    """``name`` itself, or the file of that name in ``weights/`` here or in the checkout."""
    found = find_in_project("weights", name)
    return str(name) if found is None or not found.is_file() else str(found)


def find_in_project(folder: str, name: str | Path) -> Path | None:
    """What a bare name names in a folder of the project; None where the name is a path, or there is nothing.

    Args:
        folder: ``datasets`` or ``weights``.
        name: what the user typed; what is here goes before what is there.
    """
    path = Path(name)
    try:
        if path.exists() or path.name != str(name):
            return None
        return next((place / path for place in project_folders(folder) if (place / path).exists()), None)
    except (OSError, ValueError):  # too long, or a NUL in it: whoever opens it says so
        return None


def new_folder(first: Path) -> Path:
    """Makes ``first``, or the first of ``first-2``, ``first-3``, ... that is free, and returns it.

    A name is reserved by making its folder: of two processes that ask at once, each gets a folder of its own.

    Raises:
        InputError: a file is in the way.
        ConfigError: the name is none that a folder can have.
    """
    folder, count = first, 1
    while True:
        try:
            first.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"{shown(str(first), 300)} cannot be made: a file is where a folder should be.") from None
        try:
            folder.mkdir()
        except FileExistsError:
            count += 1
            folder = first.with_name(f"{first.name}-{count}")
        except FileNotFoundError:  # a process that failed has just removed the empty parent
            continue
        except (ValueError, OSError) as error:
            if isinstance(error, PermissionError) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EROFS):
                raise
            raise ConfigError(f"{shown(str(first), 300)} cannot be made: {error}"[:500]) from None
        else:
            return folder


@contextmanager
def reserved(first: Path) -> Iterator[Path]:
    """A new folder, see :func:`new_folder`; work that fails before it wrote anything leaves none behind."""
    missing = [parent for parent in first.parents if not parent.exists()]
    folder = new_folder(first)
    try:
        yield folder
    except BaseException:
        remove_if_empty(folder, *missing)
        raise


def remove_if_empty(*folders: Path) -> None:
    """Removes folders, inner ones first, but only those without anything in them."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
