"""What a ReID checkpoint, or a state dict of another program, may hold: plain values, and tensors of plain numbers.

The scan of :mod:`kd_yolo.base.torch_files` tells what a file would do and has checked the sizes in it. Beyond that, a
network has no need of tensors that repeat their numbers, and a few bytes may stand for a billion values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickle_facts import Made, Name, PickleFacts
from kd_yolo.base.reading import shown
from kd_yolo.base.torch_files import changed_plain_names, is_plain_call, is_plain_name, tensor_place

MAX_PICKLE_BYTES = 2 << 20  # a network of 1,000 tensors with its optimizer has 0.5 MB
MAX_VALUES = 5_000_000  # with what is referred to twice counted twice
MAX_DEPTH = 64
_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")


def names_beyond_plain(facts: Iterable[PickleFacts]) -> list[str]:
    """Names in a file that stand for more than plain values and tensors."""
    return sorted({str(name) for found in facts for name in found.named if not is_plain_name(name)})


def check_pickle(facts: PickleFacts) -> None:
    """Checks what a pickle calls and holds; its names are plain ones.

    Raises:
        InputError: what is wrong, without the file's name.
    """
    calls = [str(name) for name in facts.called if not is_plain_call(name)]
    calls += [str(name) for name in changed_plain_names(facts)] + facts.opaque
    if calls:
        raise InputError(f"it calls {shown(calls[0])} while it is opened, which no network does")
    for call in facts.calls:
        _check_call(call)
    _check_values(facts.value)


def _check_call(call: Made) -> None:
    """Only plain tensors are rebuilt, and none repeats its numbers."""
    name = call.what
    if isinstance(name, Name) and name.module == "torch._utils" and name not in (_TENSOR, _PARAMETER):
        raise InputError(f"it has a tensor of a kind that no network has ({shown(name.attr)})")
    if name != _TENSOR:
        return
    storage, shape, _ = tensor_place(call)
    count = 1
    for side in shape:
        count *= side
    if count > storage.num_elements:
        raise InputError(f"a tensor of shape {shown(shape)} does not fit its {storage.num_elements} numbers")


def _check_values(value: Any) -> None:
    """Counts values as if everything that is referred to several times were written out, and their levels.

    Raises:
        InputError: there are more than ``MAX_VALUES`` or ``MAX_DEPTH``, or a value contains itself.
    """
    sizes: dict[int, tuple[int, int]] = {}  # of values that are done: values and levels in them
    open_ids: set[int] = set()
    stack = [_Open(Made("", [value], 1))]
    while True:
        top = stack[-1]
        if top.num_values > MAX_VALUES:
            raise InputError(f"it stands for more than {MAX_VALUES} values")
        if top.levels > MAX_DEPTH + 1 or len(stack) > MAX_DEPTH + 1:
            raise InputError(f"it is nested more than {MAX_DEPTH} levels deep")
        item = next(top.rest, None)
        if isinstance(item, Made) and id(item) not in sizes:
            if id(item) in open_ids:
                raise InputError("a value in it contains itself")
            open_ids.add(id(item))
            stack.append(_Open(item))
        elif item is not None:
            top.add(*sizes.get(id(item), (1, 0)))
        elif len(stack) == 1:
            return
        else:
            stack.pop()
            open_ids.discard(id(top.owner))
            sizes[id(top.owner)] = (top.num_values, top.levels)
            stack[-1].add(top.num_values, top.levels)


class _Open:
    """A value that is being counted."""

    def __init__(self, owner: Made) -> None:
        self.owner = owner
        self.rest = (0 if item is None else item for item in owner.items)
        self.num_values, self.levels = 1, 1

    def add(self, num_values: int, levels: int) -> None:
        self.num_values += num_values
        self.levels = max(self.levels, levels + 1)
