"""What a pickle names and calls, read without running it: a walk over its opcodes with a stack of names.

``pickletools`` tells what each opcode takes from the stack and puts there; all that matters here are the names
(``os.system``), so every other value is a placeholder. What cannot be followed is reported as opaque, never as
harmless.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple


class Name(NamedTuple):
    """A global that a pickle names: ``attr`` of ``module``, in today's spelling (``builtins``, not ``__builtin__``)."""

    module: str
    attr: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attr}"


class ScanError(ValueError):
    """The bytes are not a whole pickle."""


@dataclass
class PickleFacts:
    """What a pickle would do, in the order in which it would do it.

    Attributes:
        named: every global that it names.
        called: those that it calls with arguments of its choice (making an empty instance of a class is no call).
        opaque: calls whose target cannot be known from the file.
        protocol: the pickle protocol that it declares.
    """

    named: dict[Name, None] = field(default_factory=dict)
    called: dict[Name, None] = field(default_factory=dict)
    opaque: list[str] = field(default_factory=list)
    protocol: int = 0


class _Mark:
    """The MARK that opens an argument list on the stack."""


_MARK = _Mark()
_Value = Name | _Mark | str | None  # a name, a mark, a text; None stands for anything else

_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_STORE = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_FETCH = {"GET", "BINGET", "LONG_BINGET"}


def scan_pickle(stream: BinaryIO) -> PickleFacts:
    """Reads one pickle up to its STOP, leaving the stream behind it, and executes nothing.

    Raises:
        ScanError: the bytes end early or are no pickle.
    """
    walk = _Walk()
    try:
        for opcode, arg, _ in pickletools.genops(stream):
            walk.step(opcode, arg)
    except (ValueError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise ScanError(str(error)) from error
    return walk.facts


class _Walk:
    """The stack and the memo of a pickle machine that knows names only."""

    def __init__(self) -> None:
        self.facts = PickleFacts()
        self.stack: list[_Value] = []
        self.memo: dict[int, _Value] = {}

    def step(self, opcode: pickletools.OpcodeInfo, arg: object) -> None:
        """Follows one opcode."""
        if opcode.name in _STORE:
            self.memo[arg if isinstance(arg, int) else len(self.memo)] = self.stack[-1]
        elif opcode.name in _FETCH:
            assert isinstance(arg, int)
            self.stack.append(self.memo[arg])
        elif opcode.name == "MARK":
            self.stack.append(_MARK)
        elif opcode.name == "PROTO":
            assert isinstance(arg, int)
            self.facts.protocol = max(self.facts.protocol, arg)
        else:
            taken = self._take(opcode)
            self.stack.extend(self._made(opcode, arg, taken))

    def _take(self, opcode: pickletools.OpcodeInfo) -> list[_Value]:
        """Pops what the opcode takes: the values before the mark, if it takes one, then those after it."""
        plain = [kind for kind in opcode.stack_before if kind not in (pickletools.markobject, pickletools.stackslice)]
        after_mark: list[_Value] = []
        if pickletools.markobject in opcode.stack_before:
            while (value := self.stack.pop()) is not _MARK:
                after_mark.insert(0, value)
            if opcode.name == "OBJ":  # the class lies behind the mark, where pickletools counts it too
                return after_mark
        return [self.stack.pop() for _ in plain][::-1] + after_mark

    def _made(self, opcode: pickletools.OpcodeInfo, arg: object, taken: list[_Value]) -> list[_Value]:
        """What the opcode leaves on the stack; names and calls are noted on the way."""
        if opcode.name in _TEXT:
            return [arg if isinstance(arg, str) else None]
        if opcode.name in {"GLOBAL", "INST"}:
            return [self._name(*str(arg).partition(" ")[::2], is_called=opcode.name == "INST")]
        if opcode.name == "STACK_GLOBAL":
            return [self._name(taken[0], taken[1], is_called=False)]
        if opcode.name in {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ"}:
            self._note_call(opcode.name, taken[0])
        elif opcode.name.startswith("EXT"):
            self.facts.opaque.append("an extension code")
        return [None for _ in opcode.stack_after]

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

    def _note_call(self, opcode_name: str, target: _Value) -> None:
        if not isinstance(target, Name):
            self.facts.opaque.append("something that it computes")
        elif opcode_name != "NEWOBJ":
            self.facts.called[target] = None
