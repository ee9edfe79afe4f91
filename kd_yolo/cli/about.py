"""What the help of a command says beside its flags: what it does, its ``key=value`` words, an example."""

from __future__ import annotations

import shutil
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from kd_yolo.yolo.arguments.table import Command

WIDTH = 100  # columns of a help text, at most
COMMON = ("data", "epochs", "imgsz", "batch", "workers", "optimizer", "lr0", "patience", "project")  # come first
MAX_COLUMN = 30  # where the text on a key begins at the latest


@dataclass(frozen=True)
class About:
    """What the help of a command says beside its flags.

    Attributes:
        text: what the command does; paragraphs are filled.
        example: a command line as it can be typed.
        keys: makes the text on the ``key=value`` words that it takes: :func:`setting_keys`, :func:`argument_keys`.
    """

    text: str
    example: str
    keys: Callable[[], str] | None = None


def closing_lines(about: About) -> Iterator[str]:
    """What stands below the flags."""
    if about.keys is not None:
        yield about.keys()
    yield f"\nexample: {about.example}"


def setting_keys(model: type[BaseModel], names: Sequence[str] = (), **own: str) -> str:
    """The ``key=value`` words that are settings of a model, a line each, with default and docstring.

    Args:
        model: the model; fields of models inside it are written ``section.key``.
        names: fields of the model, or of the models inside it as they are written; all without.
        **own: further keys of the command, with their help.
    """
    found = {key: text for key, text in _settings(model) if not names or {key, key.partition(".")[0]} & {*names}}
    found |= own
    column = min(max(map(len, found)) + 4, MAX_COLUMN)
    return "\n".join(["key=value:", *(_entry(f"{key}=", text, column) for key, text in found.items())])


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        inner = [kind for kind in kinds(info.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from _settings(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", text_of(info, info.get_default(call_default_factory=True, validated_data={}), ",")


def text_of(info: FieldInfo, default: Any = ..., separator: str = " ") -> str:
    """The docstring of a field, with the default, but for ``...``, where the docstring does not say it."""
    text = " ".join((info.description or "").replace("``", "").split())
    if default is ... or "(default:" in text:
        return text
    if isinstance(default, list | tuple):
        default = separator.join(map(str, default))
    words = str(default).lower() if isinstance(default, bool) else "" if default is None else str(default)
    return f"{text} (default: {words or 'none'})"


def argument_keys(command: Command, *own: str) -> str:
    """The ``key=value`` words that go to ultralytics.

    Args:
        command: the command, as the table of arguments calls it.
        *own: those of them that are flags of ours too.
    """
    from kd_yolo.yolo.arguments.table import TABLE

    keys = [key for key in dict.fromkeys((*COMMON, *sorted(TABLE))) if command not in TABLE[key].refused]
    text = " ".join(f"{key}=" for key in keys if key not in own)
    return f"key=value, as ultralytics' training takes them (docs.ultralytics.com/usage/cfg):\n{filled(text, '  ')}"


def _entry(name: str, text: str, column: int) -> str:
    """A line of help: name, then the text beside it or below."""
    first = f"  {name:{column - 3}} " if len(name) < column - 2 else f"  {name}\n{'':{column}}"
    return first + filled(text, " " * column).lstrip()


def kinds(annotation: Any) -> Iterator[Any]:
    """The types of a union without None, else the type itself."""
    if get_origin(annotation) is Annotated:
        yield from kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from kinds(one)
    elif annotation is not type(None):
        yield annotation


def filled(text: str, indent: str = "") -> str:
    """Paragraphs, filled to the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, WIDTH)
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(
        textwrap.fill(part, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        for part in parts
    )
