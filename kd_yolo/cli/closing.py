"""The last lines of every command: where the results are, the network, and what to type next.

Only what is there is named: with ``plots=False`` there is no ``results.png``, without box labels no side by side.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from kd_yolo.base.reading import printable


def shell_path(path: str | Path) -> str:
    """A path as it can be pasted into a shell: relative where it lies in the working directory, quoted where needed."""
    return shlex.quote(_relative(Path(path)))


def _relative(path: Path) -> str:
    for candidate in (path, path.absolute(), path.resolve()):
        if not candidate.is_absolute():
            text = str(candidate)
        elif candidate.is_relative_to(Path.cwd()):
            text = str(candidate.relative_to(Path.cwd()))
        else:
            continue
        return f"./{text}" if text.startswith("-") else text  # else it would be read as a flag
    return str(path)


def print_results(folder: str | Path, names: Sequence[str] = (), *, note: str = "") -> None:
    """``results:``, a folder or a file, to be read; what is typed (:func:`print_next`) is quoted.

    Args:
        folder: where everything is.
        names: files in it that a user looks at; those that are not there are left out.
        note: what else there is to know about it.
    """
    there = [name for name in names if (Path(folder) / name).exists()] + [note] * bool(note)
    print(f"\nresults: {_relative(Path(folder))}" + (f" ({', '.join(there)})" if there else ""))


def print_network(path: str | Path, *, label: str = "network", plain: bool = True) -> None:
    """The weights that were made.

    Args:
        path: the file.
        label: what it is called.
        plain: ``YOLO()`` opens it.
    """
    print(
        f"{label + ':':8} {shell_path(path)}" + (f", a plain model: YOLO({_relative(Path(path))!r})" if plain else "")
    )


def print_next(command: str) -> None:
    """What to type next; paths in it come from :func:`shell_path`, what only the user knows is ``...``."""
    print(f"next:    {command}")


def say(line: str) -> None:
    """One line of progress."""
    print(printable(line), flush=True)
