"""Reads files that a user names: what they are and how large they are is checked before any of it is read.

A pipe or a device waits for ever, a small YAML can stand for a billion values, a deep one ends the interpreter's stack.
All of that is refused here, so that the readers above meet plain, bounded content.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.errors import InputError

MAX_TEXT_BYTES = 64 << 20  # lists of millions of images fit
MAX_YAML_BYTES = 4 << 20
MAX_DEPTH = 64  # levels of lists and mappings inside each other
MAX_VALUES = 1_000_000  # of a YAML with its aliases written out
_SHOWN = 120
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _SettingsLoader(_Loader):  # type: ignore[misc]
    """As YAML 1.2 has it: 5e-4 is a number (to YAML 1.1, as ultralytics reads data YAMLs, it is text)."""


_SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def shown(value: object, limit: int = _SHOWN) -> str:
    """``repr`` of a value for a message, never longer than ``limit`` and never the work of writing all of it out."""
    if isinstance(value, str | bytes):
        text = repr(value[: limit + 1])
        return text if len(value) <= limit else f"{text[:limit]}... ({len(value)} characters)"
    if isinstance(value, dict | list | tuple | set | frozenset):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 4 * limit:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def printable(text: object) -> str:
    """Text for a terminal: control characters, invisible ones and half characters are written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))


def first_few(items: Collection[object], count: int = 5, *, separator: str = ", ") -> str:
    """The first items for a message and how many more there are: ``a, b and 3 more``; nothing for none.

    Args:
        items: names that somebody else chose too: they are made :func:`printable`.
        count: how many are written out.
        separator: between them.
    """
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return separator.join(printable(item) for item in islice(items, count)) + more


def regular_file(path: str | Path, what: str = "file") -> Path:
    """Checks that a path is a regular file (or a link to one) and returns it.

    Args:
        path: as the user gave it.
        what: what it should be, for the message ("data YAML").

    Raises:
        InputError: no such file, or a folder, a pipe, a device.
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{what} {shown(str(path), 300)} cannot be opened: {reason}.") from None
    if not stat.S_ISREG(mode):
        kind = next((text for test, text in _KINDS.items() if test(mode)), "not a regular file")
        raise InputError(f"{what} {shown(str(path), 300)} is {kind}, expected a file.")
    return file


def read_bytes(path: str | Path, *, limit: int, what: str = "file") -> bytes:
    """The whole content of a regular file of at most ``limit`` bytes.

    Raises:
        InputError: not a regular file, too large, or unreadable.
    """
    file = regular_file(path, what)
    try:
        size = file.stat().st_size
        if size > limit:
            raise InputError(f"{what} {file} has {size} bytes, expected at most {limit}.")
        with file.open("rb") as stream:
            data = stream.read(size + 1)  # no more room than it needs
    except OSError as error:
        raise InputError(f"{what} {file} cannot be read: {error.strerror or error}.") from None
    if len(data) > size:
        raise InputError(f"{what} {file} grows while it is read, or does not tell its size.")
    return data


def read_text(path: str | Path, *, limit: int = MAX_TEXT_BYTES, what: str = "file") -> str:
    """The text of a regular file, UTF-8 with or without a byte order mark.

    Raises:
        InputError: see :func:`read_bytes`; or it is not UTF-8.
    """
    data = read_bytes(path, limit=limit, what=what)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is not a text file: byte {error.start} is not UTF-8.") from None


def read_yaml_value(path: str | Path, what: str = "YAML", *, settings: bool = False) -> Any:
    """The value in a YAML file, whatever type it has; see :func:`parse_yaml`.

    Raises:
        InputError: see :func:`read_text` and :func:`parse_yaml`.
    """
    return parse_yaml(read_text(path, limit=MAX_YAML_BYTES, what=what), f"{what} {path}", settings=settings)


def parse_yaml(text: str, where: str, *, settings: bool = False) -> Any:
    """Parses a YAML text of bounded depth and size, its aliases written out; tags make no objects.

    Args:
        text: the YAML.
        where: what it is, for error messages.
        settings: numbers are those of YAML 1.2 (``5e-4``); else those that ultralytics reads.

    Raises:
        InputError: it is no YAML, is nested too deeply, or stands for too many values.
    """
    try:
        _check_events(text, where)
        return yaml.load(text, Loader=_SettingsLoader if settings else _Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:  # a date of month 13, a list as a key
        raise InputError(f"{where} is not valid YAML: {shown(str(error))}") from None


def _check_events(text: str, where: str) -> None:
    """Counts what the text stands for by its events, which are read without recursion."""
    sizes: dict[str, int] = {}
    open_values: list[tuple[str | None, int]] = []  # anchor, values so far
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_values.append((anchor, 1))
            if len(open_values) > MAX_DEPTH:
                raise InputError(f"{where} is nested more than {MAX_DEPTH} levels deep.")
            continue
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == name for name, _ in open_values):
                raise InputError(f"{where} has a value that contains itself (*{anchor}).")
            count = sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            count = 1
            sizes[str(anchor)] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            name, count = open_values.pop()
            sizes[str(name)] = count
        else:
            continue
        if open_values:
            outer, so_far = open_values[-1]
            open_values[-1] = (outer, so_far + count)
        total = max(total, count, open_values[-1][1] if open_values else 0)
        if total > MAX_VALUES:
            raise InputError(f"{where} stands for more than {MAX_VALUES} values with its aliases written out.")


def read_json_value(path: str | Path, *, limit: int = MAX_TEXT_BYTES, what: str = "JSON file") -> Any:
    """The value in a JSON file.

    Raises:
        InputError: see :func:`read_text`; or it is no JSON, or nested too deeply.
    """
    text = read_text(path, limit=limit, what=what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not valid JSON: {shown(str(error))}") from None
