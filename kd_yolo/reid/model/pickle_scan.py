"""Looks through the pickles of a weight file before torch reads it: nothing is run, no tensor is made.

``torch.load(weights_only=True)`` runs no code, but it believes sizes: a tensor may claim more than its storage holds, a
storage more than the file has, and a few bytes may stand for a billion values. All of that is counted here first.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import IO, Any, ClassVar

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import shown

MAX_PICKLE_BYTES = 2 << 20  # a network of 1,000 tensors with its optimizer has 0.5 MB
MAX_VALUES = 5_000_000  # with what is referred to twice counted twice
MAX_DEPTH = 64
ITEM_BYTES = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1}
ITEM_BYTES |= {"Bool": 1, "Untyped": 1}
_REBUILD = ("torch._utils", "_rebuild_tensor_v2")
_PASS = {("torch._utils", "_rebuild_parameter"), ("collections", "OrderedDict")}


class Mark:
    """Stands for an object that is not made.

    Attributes:
        name: module and name of what would be called.
        parts: what it would be called with.
    """

    def __init__(self, name: tuple[str, str], parts: tuple[Any, ...] = ()) -> None:
        self.name, self.parts = name, parts

    def __call__(self, *parts: Any) -> Mark:
        """Another mark, with its arguments."""
        return Mark(self.name, parts)

    def __setstate__(self, state: Any) -> None:
        self.parts = (*self.parts, state)

    def append(self, item: Any) -> None:
        """Items of a list that is not made."""
        self.parts = (*self.parts[-8:], item)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.parts[-1][key] = value if self.parts and isinstance(self.parts[-1], dict) else None


class _Ordered(dict[Any, Any]):
    """Takes the attributes that torch gives to state dicts."""


class _Scan(pickle._Unpickler):  # the one in Python: C's allocates what a number says
    """Reads a pickle into plain values and marks.

    Args:
        stream: where it begins.
        storages: bytes that each storage of the archive has; None for torch's old format, in which they follow.
        spare_bytes: that all storages may have together in the old format.
    """

    def __init__(self, stream: IO[bytes], storages: dict[str, int] | None, spare_bytes: int) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages, self.spare_bytes = storages, spare_bytes
        self.claimed: dict[str, int] = {}
        self.globals: set[str] = set()

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def load_new(self) -> None:
        """Makes a mark, where the interpreter would make an object of a class."""
        parts = self.stack.pop()
        self.stack.append(self.stack.pop()(*parts))

    def load_new_with_names(self) -> None:
        """The same with named arguments."""
        self.stack.pop()
        self.load_new()

    dispatch[pickle.NEWOBJ[0]] = load_new
    dispatch[pickle.NEWOBJ_EX[0]] = load_new_with_names

    def find_class(self, module: str, name: str) -> Any:
        self.globals.add(f"{module}.{name}"[:200])
        return _Ordered if (module, name) == ("collections", "OrderedDict") else Mark((module, name))

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], Mark):
            raise InputError("it refers to something that is no storage")
        kind, key, numel = pid[1].name[1].removesuffix("Storage"), str(pid[2]), pid[4]
        if kind not in ITEM_BYTES or type(numel) is not int or numel < 0:
            raise InputError(f"it has a storage of a kind that no network has ({shown(kind)})")
        size = numel * ITEM_BYTES[kind]
        has = self.spare_bytes if self.storages is None else self.storages.get(key, -1)
        if size > has:
            raise InputError(f"storage {shown(key)} claims {shown(size)} bytes, the file has {max(has, 0)} for it")
        if self.storages is None and key not in self.claimed:
            self.spare_bytes -= size
        self.claimed[key] = size
        return Mark(("storage", key), (numel,))

    def get_extension(self, code: int) -> None:
        """Codes of copyreg: no weights have any."""
        raise InputError(f"it has an extension code {code}")


def scan(stream: IO[bytes], storages: dict[str, int] | None = None, *, spare_bytes: int = 0) -> set[str]:
    """Checks the next pickle of a stream.

    Args:
        stream: where it begins; is after it then.
        storages: bytes of each storage of the archive; None for torch's old format.
        spare_bytes: bytes for all storages in the old format.

    Returns:
        The names of classes and functions in it, as ``module.name``.

    Raises:
        InputError: what is wrong, without the file's name.
    """
    scanner = _Scan(stream, storages, spare_bytes)
    try:
        value = scanner.load()
    except InputError:
        raise
    except Exception as error:  # whatever a stranger's bytes make of the interpreter of pickles
        raise InputError(f"a pickle in it is damaged ({type(error).__name__}: {shown(str(error))})") from None
    for mark in _walk(value):
        _check_tensor(mark)
    return scanner.globals


def _walk(value: Any) -> Iterator[Mark]:
    """All marks once; counts values as if everything that is referred to several times were written out."""
    sizes: dict[int, int] = {}
    open_: dict[int, None] = {}
    stack: list[tuple[Any, Any, int]] = [(value, iter(_inside(value)), 1)]
    if isinstance(value, Mark):
        yield value
    open_[id(value)] = None
    while stack:
        owner, rest, size = stack.pop()
        item = next(rest, stack)
        if item is stack:  # none is left
            sizes[id(owner)] = size
            open_.pop(id(owner), None)
            if stack:
                above, others, so_far = stack.pop()
                stack.append((above, others, so_far + size))
            continue
        if size > MAX_VALUES:
            raise InputError(f"it stands for more than {MAX_VALUES} values")
        if not isinstance(item, dict | list | tuple | set | frozenset | Mark):
            stack.append((owner, rest, size + 1))
        elif id(item) in open_:
            raise InputError("a value in it contains itself")
        elif id(item) in sizes:
            stack.append((owner, rest, size + sizes[id(item)]))
        else:
            if len(stack) >= MAX_DEPTH:
                raise InputError(f"it is nested more than {MAX_DEPTH} levels deep")
            if isinstance(item, Mark):
                yield item
            open_[id(item)] = None
            stack += [(owner, rest, size), (item, iter(_inside(item)), 1)]


def _inside(value: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, Mark):
        return value.parts
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _check_tensor(mark: Mark) -> None:
    """A tensor lies inside its storage and repeats none of it; only plain tensors are there."""
    if mark.name[0] == "torch._utils" and mark.name not in _PASS and mark.name != _REBUILD and mark.parts:
        raise InputError(f"it has a tensor of a kind that no network has ({shown(mark.name[1])})")
    if mark.name != _REBUILD or not mark.parts:
        return
    storage, offset, size, stride = (*mark.parts, None, None, None)[:4]
    numbers = [offset, *size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
    if not isinstance(storage, Mark) or storage.name[0] != "storage" or len(size or ()) != len(stride or ()):
        raise InputError("it has a tensor without a storage")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise InputError("it has a tensor with a size that is none")
    count = 1
    for side in size:
        count *= side
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) if count else 0
    if count > storage.parts[0] or (count and last >= storage.parts[0]):
        raise InputError(f"a tensor of shape {shown(size)} does not fit its storage of {storage.parts[0]} values")
