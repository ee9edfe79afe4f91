"""What a scan says of a pickle: the names, calls and values in it, as stand-ins for which nothing was made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Name(NamedTuple):
    """A global that a pickle names: ``attr`` of ``module``, in today's spelling (``builtins``, not ``__builtin__``)."""

    module: str
    attr: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attr}"


class Storage(NamedTuple):
    """The numbers of tensors, which lie outside the pickle: their record, ``torch.FloatStorage``, how many."""

    key: str
    kind: Name
    num_elements: int


class Made:
    """Stands for a value that holds others.

    Attributes:
        what: the opcode that makes it (``TUPLE`` for every tuple), or the name that is called.
        items: the values in it, keys too; of a call: its arguments, then its state.
        depth: how many levels of values it has.
    """

    __slots__ = ("depth", "items", "what")

    def __init__(self, what: Name | str, items: list[Any], depth: int) -> None:
        self.what, self.items, self.depth = what, items, depth


class ScanError(ValueError):
    """The bytes are not a whole pickle."""


class TooLargeError(ScanError):
    """The pickle has more opcodes, or is nested more deeply, than any checkpoint."""


@dataclass
class PickleFacts:
    """What a pickle would do, in the order in which it would do it.

    Attributes:
        named: every global that it names.
        called: those that it calls with arguments of its choice (making an empty instance of a class is no call).
        made: those of which it makes an instance without a call.
        stated: those of which it gives an instance a state (``__setstate__``).
        calls: what the calls give.
        opaque: calls whose target cannot be known from the file.
        storages: what it takes from outside.
        protocol: the pickle protocol that it declares.
        value: what it stands for.
    """

    named: dict[Name, None] = field(default_factory=dict)
    called: dict[Name, None] = field(default_factory=dict)
    made: dict[Name, None] = field(default_factory=dict)
    stated: dict[Name, None] = field(default_factory=dict)
    calls: list[Made] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    protocol: int = 0
    value: Any = None
