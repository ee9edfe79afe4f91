"""What a pickle names, calls and holds, read without running it: a walk over its opcodes with a stack of stand-ins.

``pickletools`` tells what each opcode takes from the stack and puts there. Texts, whole numbers and names
(``os.system``) are kept as they are, what holds other values is a :class:`Made`, and all else is None. What cannot be
followed is reported as opaque, never as harmless. The walk takes each opcode once, and no more than ``MAX_OPCODES`` of
them: a checkpoint has tens of thousands.

Nothing is allowed or refused here. What a pickle may name and hold is the policy of each reader of weights:
``kd_yolo/yolo/files/unpickle.py`` for detectors, ``kd_yolo/reid/model/pickle_policy.py`` for ReID networks.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from kd_yolo.base.pickle_facts import Made, Name, PickleFacts, ScanError, Storage, TooLargeError

MAX_OPCODES = 500_000  # yolov8n has 33,000; the unpickler itself is Python and no faster than this walk
MAX_DEPTH = 200  # a module in a module is four levels; the hash of a tuple 100,000 deep ends the interpreter
_MARK = object()  # opens a list of arguments on the stack
# A str or an int as it is, None for any other flat value
_Value = Name | Storage | Made | str | int | None | object


class _Effect(NamedTuple):
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


def scan_pickle(stream: BinaryIO, max_depth: int = MAX_DEPTH) -> PickleFacts:
    """Reads one pickle up to its STOP, leaving the stream behind it, and executes nothing.

    Args:
        stream: where the pickle begins.
        max_depth: levels that values may lie inside each other. Exact for tuples, whose hash is computed by recursion;
            a list that grows after it was put into another, by way of the memo, is not followed.

    Raises:
        TooLargeError: more than ``MAX_OPCODES`` opcodes, or values too deep inside each other.
        ScanError: the bytes end early or are no pickle.
    """
    walk = _Walk(max_depth)
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_OPCODES:
                raise TooLargeError(f"its pickle has more than {MAX_OPCODES} opcodes")
            _STEPS[opcode.name](walk, opcode.name, arg)
    except ScanError:
        raise
    except (ValueError, IndexError, KeyError, OverflowError, AttributeError, TypeError) as error:
        raise ScanError(str(error)[:200]) from error
    return walk.facts


class _Walk:
    """The stack and the memo of a pickle machine that makes nothing; a method for each kind of opcode."""

    def __init__(self, max_depth: int) -> None:
        self.facts = PickleFacts()
        self.max_depth = max_depth
        self.stack: list[_Value] = []
        self.memo: dict[int, _Value] = {}

    def store(self, _: str, arg: Any) -> None:
        self.memo[len(self.memo) if arg is None else arg] = self._top()

    def fetch(self, _: str, arg: Any) -> None:
        self.stack.append(self.memo[arg])

    def keep(self, _: str, arg: Any) -> None:
        self.stack.append(arg)

    def plain(self, _: str, __: Any) -> None:
        self.stack.append(None)

    def mark(self, _: str, __: Any) -> None:
        self.stack.append(_MARK)

    def duplicate(self, _: str, __: Any) -> None:
        self.stack.append(self._top())

    def pop(self, _: str, __: Any) -> None:
        self.stack.pop()  # a mark too

    def protocol(self, _: str, arg: Any) -> None:
        self.facts.protocol = max(self.facts.protocol, arg)

    def stop(self, opcode: str, _: Any) -> None:
        (self.facts.value,) = self._take(opcode)

    def empty_tuple(self, _: str, __: Any) -> None:
        self.stack.append(_EMPTY_TUPLE)

    def pack(self, opcode: str, _: Any) -> None:
        self._put("TUPLE", self._take(opcode))

    def change(self, opcode: str, _: Any) -> None:
        owner, *items = self._take(opcode)
        if isinstance(owner, Made) and owner.what != "TUPLE":
            if opcode == "BUILD" and isinstance(owner.what, Name):
                self.facts.stated[owner.what] = None
            owner.items += items
            owner.depth = self._deeper(owner.depth, items)
        elif isinstance(owner, Name):
            self.facts.opaque.append("a method of a class")  # append, __setitem__ or __setstate__
        else:
            raise ScanError("it puts values into one that takes none")
        self.stack.append(owner)

    def name(self, opcode: str, arg: Any) -> None:
        halves = self._take(opcode) if opcode == "STACK_GLOBAL" else _halves(arg)
        self.stack.append(self._named(*halves))

    def call(self, opcode: str, _: Any) -> None:
        target, *given = self._take(opcode)
        if opcode in _WITH_TUPLE and type(given[0]) is Made and given[0].what == "TUPLE":
            given = given[0].items
        self._call(opcode, target, given)

    def call_named(self, opcode: str, arg: Any) -> None:
        self._call(opcode, self._named(*_halves(arg)), self._take(opcode))

    def fetch_storage(self, opcode: str, _: Any) -> None:
        taken = self._take(opcode)
        pid = taken[0] if taken else None
        if not (
            isinstance(pid, Made) and pid.what == "TUPLE" and len(pid.items) in (5, 6) and pid.items[0] == "storage"
        ):
            self.facts.opaque.append("something from outside its pickle that is no tensor")
            self._put("PERSID", taken)
            return
        _, kind, key, _, num_elements = pid.items[:5]
        if not (isinstance(kind, Name) and isinstance(key, str) and type(num_elements) is int and num_elements >= 0):
            raise ScanError("a storage of a tensor has no name, key or size")
        self.facts.storages.append(Storage(key, kind, num_elements))
        self.stack.append(self.facts.storages[-1])

    def extend(self, opcode: str, _: Any) -> None:
        self.facts.opaque.append("an extension code")
        self._put(opcode, [])

    def other(self, opcode: str, _: Any) -> None:
        taken = self._take(opcode)
        if _EFFECTS[opcode].puts:
            self._put(opcode, taken)

    def _top(self) -> _Value:
        if self.stack[-1] is _MARK:
            raise ScanError("a mark where a value should be")
        return self.stack[-1]

    def _take(self, opcode: str) -> list[_Value]:
        """Pops what the opcode takes: the values before the mark, if it takes one, then those after it."""
        stack, (to_mark, plain, _) = self.stack, _EFFECTS[opcode]
        start = len(stack) - plain
        if to_mark:
            mark = len(stack) - 1
            while stack[mark] is not _MARK:
                mark -= 1
            del stack[mark]
            start = mark - plain
        taken = stack[start:] if start >= 0 else [_MARK]
        if _MARK in taken[:plain]:
            raise ScanError("values that are not there")
        del stack[start:]
        return taken

    def _put(self, what: Name | str, items: list[_Value]) -> Made:
        """Makes a value of others and leaves it on the stack."""
        made = Made(what, items, self._deeper(1, items))
        self.stack.append(made)
        return made

    def _named(self, module: _Value, attr: _Value) -> Name | None:
        if not (type(module) is str and type(attr) is str):
            self.facts.opaque.append("a name that it computes")
            return None
        name = Name(*NAME_MAPPING.get((module, attr), (IMPORT_MAPPING.get(module, module), attr)))
        self.facts.named[name] = None
        return name

    def _call(self, opcode: str, target: _Value, given: list[_Value]) -> None:
        if type(target) is Name:
            (self.facts.made if opcode == "NEWOBJ" else self.facts.called)[target] = None
        else:
            self.facts.opaque.append("something that it computes")
        self.facts.calls.append(self._put(target if type(target) is Name else opcode, given[:]))

    def _deeper(self, depth: int, items: list[_Value]) -> int:
        """One level more than the deepest of the values, and not less than it was."""
        for item in items:
            if type(item) is Made and item.depth >= depth:
                depth = item.depth + 1
        if depth > self.max_depth:
            raise TooLargeError(f"its values are nested more than {self.max_depth} levels deep")
        return depth


def _halves(arg: str) -> tuple[str, str]:
    """Module and name, between which ``pickletools`` puts a space."""
    module, _, attr = arg.partition(" ")
    if " " in attr:
        raise ScanError("a name with a space")
    return module, attr


_WITH_TUPLE = {"REDUCE", "NEWOBJ"}  # their arguments are one tuple
_EMPTY_TUPLE = Made("TUPLE", [], 1)
_TEXTS = "STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8"
_WHOLE = "INT BININT BININT1 BININT2 LONG LONG1 LONG4"
_PLAIN = "NONE NEWTRUE NEWFALSE FLOAT BINFLOAT BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
_STEPS: dict[str, Callable[[_Walk, str, Any], None]] = dict.fromkeys(_EFFECTS, _Walk.other) | {
    opcode: step
    for opcodes, step in {
        f"{_TEXTS} {_WHOLE}": _Walk.keep,
        _PLAIN: _Walk.plain,
        "PUT BINPUT LONG_BINPUT MEMOIZE": _Walk.store,
        "GET BINGET LONG_BINGET": _Walk.fetch,
        "MARK": _Walk.mark,
        "DUP": _Walk.duplicate,
        "POP": _Walk.pop,
        "PROTO": _Walk.protocol,
        "STOP": _Walk.stop,
        "EMPTY_TUPLE": _Walk.empty_tuple,
        "TUPLE TUPLE1 TUPLE2 TUPLE3": _Walk.pack,
        "APPEND APPENDS SETITEM SETITEMS ADDITEMS BUILD": _Walk.change,
        "GLOBAL STACK_GLOBAL": _Walk.name,
        "REDUCE NEWOBJ NEWOBJ_EX OBJ": _Walk.call,
        "INST": _Walk.call_named,
        "PERSID BINPERSID": _Walk.fetch_storage,
        "EXT1 EXT2 EXT4": _Walk.extend,
    }.items()
    for opcode in opcodes.split()
}
