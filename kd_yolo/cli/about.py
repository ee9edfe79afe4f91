"""What the help of a command says beside its flags: what it does, its ``key=value`` words, an example."""

from __future__ import annotations

import shutil
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kd_yolo.base.extras import installed_file

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
        keys: the ``key=value`` words that it takes and the help of each, see :func:`setting_keys` and
            :func:`argument_keys`; None for a command that takes none.
    """

    text: str
    example: str
    keys: Callable[[], Mapping[str, str]] | None = None


def closing_lines(about: About) -> Iterator[str]:
    """What stands below the flags."""
    keys = {} if about.keys is None else about.keys()
    if any(keys.values()):
        column = min(max(map(len, keys)) + 4, MAX_COLUMN)
        yield "\n".join(["key=value:", *(_entry(f"{key}=", text, column) for key, text in keys.items())])
    elif keys:
        yield "key=value, as ultralytics' training takes them, with its defaults (docs.ultralytics.com/usage/cfg):"
        defaults = _ultralytics_defaults()
        yield filled(" ".join(f"{key}={'' if defaults.get(key) is None else defaults[key]}" for key in keys), "  ")
    yield f"\nexample: {about.example}"


def setting_keys(model: type[BaseModel], names: Sequence[str] = (), **own: str) -> dict[str, str]:
    """The ``key=value`` words that are settings of a model, each with docstring and default.

    Args:
        model: the model; fields of models inside it are written ``section.key``.
        names: fields of the model, or of the models inside it as they are written; all without.
        **own: further keys of the command, with their help.
    """
    found = {key: text for key, text in _settings(model) if not names or {key, key.partition(".")[0]} & {*names}}
    return {**found, **own}


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


def argument_keys(command: Command, *own: str) -> dict[str, str]:
    """The ``key=value`` words that go to ultralytics, whose documentation says what they do.

    Args:
        command: the command, as the table of arguments calls it.
        *own: those of them that the command does not take, or has a flag for.
    """
    from kd_yolo.yolo.arguments.table import TABLE

    keys = (key for key in dict.fromkeys((*COMMON, *sorted(TABLE))) if command not in TABLE[key].refused)
    return dict.fromkeys((key for key in keys if key not in own), "")


def _ultralytics_defaults() -> dict[str, Any]:
    """The defaults of the installed ultralytics, which is not imported for a help text."""
    import yaml

    file = installed_file("ultralytics", "cfg/default.yaml")
    found: dict[str, Any] = {} if file is None else yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


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
