"""Flags of the commands, taken from the pydantic models that also read the YAML.

A command's flags are a :class:`Flags` model. What is a setting of a configuration model is not written again, it is
named: ``settings: Annotated[Given, FlagsOf(PruneSettings, ("factor", "seed"))]`` gives ``--factor`` and ``--seed`` with
the type, the default and the docstring of ``PruneSettings``. ``flags.settings`` then holds those that were typed, for
``PruneSettings.parse`` or to go over a recipe. tyro finds the flags and prints the help, pydantic reads the values.
"""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kd_yolo.config.base import StrictModel

if TYPE_CHECKING:
    from kd_yolo.yolo.arguments.table import Command

F = TypeVar("F", bound="Flags")
Given = dict[str, Any]
"""Settings of a model that were typed, by the name of their field; values are text until the model reads them."""
METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
WIDTH = 100  # columns of a help text, at most
COLUMN = 22  # where the text on a key begins


class Flags(StrictModel):
    """Base of a command's flags. A field is a flag with its docstring as help, ``model_fields_set`` are those typed."""


@dataclasses.dataclass(frozen=True)
class FlagsOf:
    """Makes fields of a configuration model flags of a command.

    Attributes:
        model: the model.
        fields: names of its fields, in the order of the help.
        names: flags that are called otherwise than their field.
    """

    model: type[BaseModel]
    fields: tuple[str, ...]
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag, or positional argument, of a command.

    Attributes:
        name: as it is typed, with ``_`` for ``-`` and without ``--``.
        info: the field that it sets.
        key: name of that field.
        part: the field of the flags that collects it; empty for one of the flags' own fields.
    """

    name: str
    info: FieldInfo
    key: str
    part: str = ""

    @property
    def is_positional(self) -> bool:
        """Whether it is written without a name."""
        return tyro.conf.Positional in self.info.metadata

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return bool in _kinds(self.info.annotation)

    @property
    def default(self) -> Any:
        """The default of the field."""
        return self.info.get_default(call_default_factory=True, validated_data={})

    @property
    def help(self) -> str:
        """The docstring of the field, with its default where the docstring does not say it."""
        text = " ".join((self.info.description or "").replace("``", "").split())
        if self.is_switch or self.is_positional or self.info.is_required() or "(default:" in text:
            return text
        value = self.default
        words = " ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
        return f"{text} (default: {words or 'none'})"


@dataclasses.dataclass(frozen=True)
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


def list_flags(flags_type: type[Flags]) -> list[Flag]:
    """All flags of a command, in the order of its help."""
    return [flag for name, info in flags_type.model_fields.items() for flag in _flags_of_field(name, info)]


def _flags_of_field(name: str, info: FieldInfo) -> Iterator[Flag]:
    part = next((one for one in info.metadata if isinstance(one, FlagsOf)), None)
    if part is None:
        yield Flag(_switched(name, info), info, name)
        return
    for key in part.fields:
        inner = part.model.model_fields[key]
        yield Flag(_switched(part.names.get(key, key), inner), inner, key, name)


def _switched(name: str, info: FieldInfo) -> str:
    """A switch turns its field over: ``--no-recalibrate`` where ``recalibrate`` is on, or not decided, by default."""
    return f"no_{name}" if bool in _kinds(info.annotation) and info.default is not False else name


def parse(flags_type: type[F], argv: Sequence[str], prog: str, about: About) -> F:
    """Reads the flags of a command.

    Unknown flags and missing arguments end the process with exit code 2 and the nearest spelling, ``--help`` with 0.

    Raises:
        ConfigError: a value that one of the flags' own fields does not take.
    """
    wants_help = bool({"-h", "--help"} & set(argv))
    if wants_help:
        print(_filled(about.text), end="\n\n")
        argv = ["--help"]  # of a line with an error beside it, too
    flags = list_flags(flags_type)
    shape = dataclasses.make_dataclass("Line", [_shape(flag) for flag in flags], kw_only=True)
    try:
        line: Any = tyro.cli(shape, args=list(argv), prog=prog, description="")
    except SystemExit:
        if wants_help:
            print("\n".join(_closing(about)))
        raise
    values: dict[str, Any] = {flag.part: {} for flag in flags if flag.part}
    for flag in flags:
        value = getattr(line, flag.name)
        if value is None or value is False:
            continue
        target = values[flag.part] if flag.part else values
        target[flag.key] = not flag.name.startswith("no_") if flag.is_switch else value
    return flags_type.parse(values, prog)


def _closing(about: About) -> Iterator[str]:
    if about.keys is not None:
        yield f"{about.keys()}\n"
    yield f"example: {about.example}"


def setting_keys(model: type[BaseModel], names: Sequence[str] = (), **own: str) -> str:
    """The ``key=value`` words that are settings of a model, a line each, with default and docstring.

    Args:
        model: the model; fields of models inside it are written ``section.key``.
        names: fields of the model; all without.
        **own: further keys of the command, with their help.
    """
    found = {key: text for key, text in _settings(model) if not names or key.partition(".")[0] in names}
    return "\n".join(["key=value:", *(_entry(f"{key}=", text) for key, text in {**found, **own}.items())])


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        inner = [kind for kind in _kinds(info.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            yield from _settings(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", Flag(name, info, name).help


def argument_keys(command: Command, *own: str) -> str:
    """The ``key=value`` words that go to ultralytics.

    Args:
        command: the command, as the table of arguments calls it.
        *own: those of them that are flags of ours too.
    """
    from kd_yolo.yolo.arguments.table import TABLE

    keys = [key for key, argument in sorted(TABLE.items()) if command not in argument.refused and key not in own]
    text = " ".join(f"{key}=" for key in keys)
    return f"key=value, as ultralytics' training takes them (docs.ultralytics.com/usage/cfg):\n{_filled(text, '  ')}"


def _entry(name: str, text: str) -> str:
    """A line of help: name, then the text beside it or below."""
    first = f"  {name:{COLUMN - 3}} " if len(name) < COLUMN - 2 else f"  {name}\n{'':{COLUMN}}"
    return first + _filled(text, " " * COLUMN).lstrip()


def _shape(flag: Flag) -> tuple[str, Any, Any]:
    """The flag as a field that tyro reads."""
    config = tyro.conf.arg(help=flag.help, help_behavior_hint="")
    if flag.is_switch:
        return flag.name, Annotated[bool, tyro.conf.FlagCreatePairsOff, config], dataclasses.field(default=False)
    spec = _spec(flag)
    kind: Any = (
        Annotated[Any, tyro.conf.Positional, spec, config] if flag.is_positional else Annotated[Any, spec, config]
    )
    return flag.name, kind, dataclasses.field() if flag.info.is_required() else dataclasses.field(default=None)


def _spec(flag: Flag) -> tyro.constructors.PrimitiveConstructorSpec[Any]:
    """How many words the flag takes, and which where the model has a list of them; the model reads their values."""
    kinds = list(_kinds(flag.info.annotation))
    many = any(get_origin(kind) in (tuple, list) for kind in kinds)
    choices = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    names = ["{" + ",".join(choices) + "}"] * bool(choices)
    names += dict.fromkeys(METAVARS[kind] for kind in kinds if kind in METAVARS)
    if flag.is_positional:
        names = [flag.name.upper()]
    metavar = "|".join(names) or "TEXT"
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*" if many else 1,
        metavar=f"{metavar} ..." if many else metavar,
        instance_from_str=list if many else lambda words: words[0],
        is_instance=lambda _: True,
        str_from_instance=lambda _: [],
        choices=tuple(choices) if choices and len(kinds) == 1 else None,
    )


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types of a union without None, else the type itself."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _kinds(one)
    elif annotation is not type(None):
        yield annotation


def _filled(text: str, indent: str = "") -> str:
    """Paragraphs, filled to the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, WIDTH)
    parts = (" ".join(part.split()) for part in text.split("\n\n"))
    return "\n\n".join(
        textwrap.fill(part, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        for part in parts
    )
