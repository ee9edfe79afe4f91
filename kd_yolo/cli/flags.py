"""Flags of the commands, taken from the pydantic models that also read the YAML.

A command's flags are a :class:`Flags` model. What is a setting of a configuration model is not written again, it is
named: ``settings: Annotated[Given, FlagsOf(PruneSettings, ("factor", "seed"))]`` gives ``--factor`` and ``--seed`` with
the type, the default and the docstring of ``PruneSettings``. ``flags.settings`` then holds those that were typed, for
``PruneSettings.parse`` or to go over a recipe. tyro finds the flags and prints the help, pydantic reads the values.
"""

from __future__ import annotations

import dataclasses
import inspect
import keyword
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, closing_lines, filled, kinds, text_of
from kd_yolo.config.base import StrictModel, describe_problems

F = TypeVar("F", bound="Flags")
Given = dict[str, Any]
"""Settings of a model that were typed, by the name of their field; each fits its field, not yet together."""
METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


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
    def slot(self) -> str:
        """The name as Python takes it: ``from_`` for ``--from``."""
        return f"{self.name}_" if keyword.iskeyword(self.name) else self.name

    @property
    def is_positional(self) -> bool:
        """Whether it is written without a name."""
        return tyro.conf.Positional in self.info.metadata

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return bool in kinds(self.info.annotation)

    @property
    def default(self) -> Any:
        """The default of the field."""
        return self.info.get_default(call_default_factory=True, validated_data={})

    @property
    def help(self) -> str:
        """The docstring of the field, with its default where the docstring does not say it."""
        if self.is_switch or self.is_positional or self.info.is_required():
            return text_of(self.info)
        return text_of(self.info, self.default)


def list_flags(flags_type: type[Flags]) -> list[Flag]:
    """All flags of a command, in the order of its help: its own first, then those of its bases."""
    fields = flags_type.model_fields
    names = dict.fromkeys(name for cls in flags_type.__mro__ for name in inspect.get_annotations(cls) if name in fields)
    return [flag for name in names for flag in _flags_of_field(name, fields[name])]


def _flags_of_field(name: str, info: FieldInfo) -> Iterator[Flag]:
    part = next((one for one in info.metadata if isinstance(one, FlagsOf)), None)
    if part is None:
        yield Flag(_switched(name, info), info, name)
        return
    for key in part.fields:
        inner = part.model.model_fields[key]
        said = inner.alias or key
        yield Flag(_switched(part.names.get(key, said), inner), inner, said, name)


def typed_flags(flags: Flags) -> dict[str, Any]:
    """The flags that were typed: ``--name`` and value."""
    found = {}
    for flag in list_flags(type(flags)):
        holder = (
            getattr(flags, flag.part) if flag.part else {key: getattr(flags, key) for key in flags.model_fields_set}
        )
        if flag.key in holder:
            found[f"--{flag.name.replace('_', '-')}"] = holder[flag.key]
    return found


def _switched(name: str, info: FieldInfo) -> str:
    """A switch turns its field over: ``--no-recalibrate`` where ``recalibrate`` is on, or not decided, by default."""
    return f"no_{name}" if bool in kinds(info.annotation) and info.default is not False else name


def parse(flags_type: type[F], argv: Sequence[str], prog: str, about: About) -> F:
    """Reads the flags of a command.

    Unknown flags and missing arguments end the process with exit code 2 and the nearest spelling, ``--help`` with 0.

    Raises:
        ConfigError: values that their fields do not take.
    """
    wants_help = bool({"-h", "--help"} & set(argv))
    if wants_help:
        print(filled(about.text), end="\n\n")
        argv = ["--help"]  # of a line with an error beside it, too
    flags = list_flags(flags_type)
    shape = dataclasses.make_dataclass("Line", [_shape(flag) for flag in flags], kw_only=True)
    try:
        line: Any = tyro.cli(shape, args=list(argv), prog=prog, description="")
    except SystemExit:
        if wants_help:
            print("\n".join(closing_lines(about)))
        raise
    typed = [(flag, value) for flag in flags if (value := getattr(line, flag.slot)) is not None and value is not False]
    return flags_type.parse(_collected(flags, typed), prog)


def _collected(flags: Iterable[Flag], typed: Iterable[tuple[Flag, Any]]) -> Given:
    """Values by field, those of other models in a dict each, as their fields take them.

    Raises:
        ConfigError: values that the fields do not take.
    """
    values: Given = {flag.part: {} for flag in flags if flag.part}
    problems: list[str] = []
    for flag, text in typed:
        part = values[flag.part] if flag.part else values
        value = flag.default is False if flag.is_switch else text
        try:
            kind: Any = Annotated[flag.info.annotation, flag.info]
            part[flag.key] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            problems += describe_problems(error, f"--{flag.name.replace('_', '-')}")
    if problems:
        raise ConfigError("\n".join(problems))
    return values


def _shape(flag: Flag) -> tuple[str, Any, Any]:
    """The flag as a field that tyro reads."""
    config = tyro.conf.arg(name=flag.name, help=flag.help, help_behavior_hint="")
    if flag.is_switch:
        return flag.slot, Annotated[bool, tyro.conf.FlagCreatePairsOff, config], dataclasses.field(default=False)
    spec = _spec(flag)
    kind: Any = (
        Annotated[Any, tyro.conf.Positional, spec, config] if flag.is_positional else Annotated[Any, spec, config]
    )
    return flag.slot, kind, dataclasses.field() if flag.info.is_required() else dataclasses.field(default=None)


def _spec(flag: Flag) -> tyro.constructors.PrimitiveConstructorSpec[Any]:
    """How many words the flag takes, and which where the model has a list of them; the model reads their values."""
    types = list(kinds(flag.info.annotation))
    many = all(get_origin(kind) in (tuple, list) for kind in types)
    choices = [str(word) for kind in types if get_origin(kind) is Literal for word in get_args(kind)]
    one = (get_args(types[0])[0] if many else types[0]) if len(types) == 1 else str
    kind = METAVARS.get(one, "TEXT")
    metavar = "{" + ",".join(choices) + "}" if choices else flag.name.upper() if flag.is_positional else kind
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*" if many else 1,
        metavar=f"{metavar} ..." if many else metavar,
        instance_from_str=list if many else lambda words: words[0],
        is_instance=lambda _: True,
        str_from_instance=lambda _: [],
        choices=tuple(choices) if choices and len(types) == 1 else None,
    )
