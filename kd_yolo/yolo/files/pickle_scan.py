"""What a pickle names and calls, read without running it: a walk over its opcodes with a stack of names.

``pickletools`` tells what each opcode takes from the stack and puts there; what matters here are the names
(``os.system``), how deeply values lie inside each other, and the storages of tensors, so every other value is a
placeholder. What cannot be followed is reported as opaque, never as harmless. The walk takes each opcode once, and no
more than ``MAX_OPCODES`` of them: a checkpoint has tens of thousands.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

MAX_OPCODES = 500_000  # yolov8n has 33,000; the unpickler itself is Python and no faster than this walk
MAX_DEPTH = 200  # a module in a module is four levels; the hash of a tuple 100,000 deep ends the interpreter
_ID_ITEMS = (5, 6)  # of the id of a storage


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
        opaque: calls whose target cannot be known from the file.
        storages: what it takes from outside.
        protocol: the pickle protocol that it declares.
    """

    named: dict[Name, None] = field(default_factory=dict)
    called: dict[Name, None] = field(default_factory=dict)
    made: dict[Name, None] = field(default_factory=dict)
    opaque: list[str] = field(default_factory=list)
    storages: list[Storage] = field(default_factory=list)
    protocol: int = 0


class _Mark:
    """The MARK that opens an argument list on the stack."""


class _StorageId(NamedTuple):
    """A tuple that could be the id of a storage, and how deep it is."""

    items: tuple[object, ...]
    depth: float


_MARK = _Mark()
# A name, a mark, a text, a whole number; a float is any other value, as deep as it says; None is flat
_Value = Name | _Mark | _StorageId | str | int | float | None

_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_WHOLE = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_STORE = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_FETCH = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CHANGES = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}  # the first value stays on the stack
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ"}
_PERSISTENT = {"PERSID", "BINPERSID"}
_PLAIN = {"NONE", "NEWTRUE", "NEWFALSE", "FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}


@dataclass(frozen=True)
class _Effect:
    """What an opcode takes: values behind a mark and plain ones before it."""

    to_mark: bool
    plain: int
    puts: int


_EFFECTS = {
    opcode.name: _Effect(
        to_mark=pickletools.markobject in opcode.stack_before,
        # OBJ: the class lies behind the mark, where pickletools counts it too
        plain=0
        if opcode.name == "OBJ"
        else sum(kind not in (pickletools.markobject, pickletools.stackslice) for kind in opcode.stack_before),
        puts=len(opcode.stack_after),
    )
    for opcode in pickletools.opcodes
}


def scan_pickle(stream: BinaryIO) -> PickleFacts:
    """Reads one pickle up to its STOP, leaving the stream behind it, and executes nothing.

    Raises:
        TooLargeError: more than ``MAX_OPCODES`` opcodes, or values more than ``MAX_DEPTH`` levels deep.
        ScanError: the bytes end early or are no pickle.
    """
    walk = _Walk()
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_OPCODES:
                raise TooLargeError(f"its pickle has more than {MAX_OPCODES} opcodes")
            walk.step(opcode.name, arg)
    except ScanError:
        raise
    except (ValueError, IndexError, KeyError, OverflowError, AttributeError, TypeError) as error:
        raise ScanError(str(error)[:200]) from error
    return walk.facts


class _Walk:
    """The stack and the memo of a pickle machine that knows names only."""

    def __init__(self) -> None:
        self.facts = PickleFacts()
        self.stack: list[_Value] = []
        self.memo: dict[int, _Value] = {}

    def step(self, opcode: str, arg: object) -> None:
        """Follows one opcode."""
        if opcode in _STORE:
            self.memo[arg if isinstance(arg, int) else len(self.memo)] = self.stack[-1]
        elif opcode in _FETCH:
            self.stack.append(self.memo[arg])  # type: ignore[index]
        elif opcode in _TEXT or opcode in _WHOLE:
            self.stack.append(arg if isinstance(arg, str | int) else None)
        elif opcode in _PLAIN:
            self.stack.append(None)
        elif opcode == "MARK":
            self.stack.append(_MARK)
        elif opcode == "EMPTY_TUPLE":
            self.stack.append(1.0)
        elif opcode == "PROTO":
            self.facts.protocol = max(self.facts.protocol, int(arg))  # type: ignore[call-overload]
        else:
            effect = _EFFECTS[opcode]
            taken = self._take(effect)
            if effect.puts or opcode in _CHANGES:
                self.stack.extend(self._made(opcode, arg, taken, effect.puts))

    def _take(self, effect: _Effect) -> list[_Value]:
        """Pops what the opcode takes: the values before the mark, if it takes one, then those after it."""
        after_mark: list[_Value] = []
        if effect.to_mark:
            while (value := self.stack.pop()) is not _MARK:
                after_mark.append(value)
            after_mark.reverse()
        plain = [self.stack.pop() for _ in range(effect.plain)]
        plain.reverse()
        return plain + after_mark

    def _made(self, opcode: str, arg: object, taken: list[_Value], puts: int) -> list[_Value]:
        """What the opcode leaves on the stack; names and calls are noted on the way."""
        if opcode in {"GLOBAL", "INST"}:
            return [self._name(*str(arg).partition(" ")[::2], is_called=opcode == "INST")]
        if opcode == "STACK_GLOBAL":
            return [self._name(taken[0], taken[1], is_called=False)]
        if opcode in _TUPLES:
            is_id = len(taken) in _ID_ITEMS and taken[0] == "storage"
            return [_StorageId(tuple(taken), _deeper(taken)) if is_id else _deeper(taken)]
        if opcode in _CHANGES:
            return [_deeper(taken[1:], taken[0])]
        if opcode in _CALLS:
            self._note_call(opcode, taken[0])
        elif opcode in _PERSISTENT:
            self._note_storage(taken)
        elif opcode.startswith("EXT"):
            self.facts.opaque.append("an extension code")
        return [_deeper(taken)] * puts

    def _name(self, module: _Value, attr: _Value, *, is_called: bool) -> _Value:
        if not (type(module) is str and type(attr) is str):
            self.facts.opaque.append("a name that it computes")
            return None
        module, attr = NAME_MAPPING.get((module, attr), (IMPORT_MAPPING.get(module, module), attr))
        name = Name(module, attr)
        self.facts.named[name] = None
        if is_called:
            self.facts.called[name] = None
            return None
        return name

    def _note_call(self, opcode: str, target: _Value) -> None:
        if not isinstance(target, Name):
            self.facts.opaque.append("something that it computes")
        elif opcode == "NEWOBJ":
            self.facts.made[target] = None
        else:
            self.facts.called[target] = None

    def _note_storage(self, taken: list[_Value]) -> None:
        if not (taken and isinstance(taken[0], _StorageId)):
            self.facts.opaque.append("something from outside its pickle that is no tensor")
            return
        kind, key, num_elements = (taken[0].items[i] for i in (1, 2, 4))
        if not (isinstance(kind, Name) and isinstance(key, str) and type(num_elements) is int and num_elements >= 0):
            raise ScanError("a storage of a tensor has no name, key or size")
        self.facts.storages.append(Storage(key, kind, num_elements))


def _deeper(values: list[_Value], container: _Value = None) -> Any:
    """One level more than the deepest of the values; the container that takes them in, if that is no depth.

    Exact for tuples, whose hash is computed by recursion. A list that grows after it was put into another, by way of
    the memo, is not followed: what was loaded is looked through again.
    """
    if type(container) is not float and container is not None:
        return container
    depth = container or 1.0
    for value in values:
        if type(value) is float and value >= depth:
            depth = value + 1.0
        elif type(value) is _StorageId and value.depth >= depth:
            depth = value.depth + 1.0
    if depth > MAX_DEPTH:
        raise TooLargeError(f"its values are nested more than {MAX_DEPTH} levels deep")
    return depth
