"""The pickles in a file of torch, scanned, and the sizes that they claim checked against what the file has.

``torch.load(weights_only=True)`` runs no code, but it believes sizes: a storage may claim more than its record has, a
tensor more than its storage. Both forms of the format are read here as torch reads them: the zip archive by torch's own
reader, as two readers could be shown two different pickles, and the five pickles of the format before it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

from kd_yolo.base.pickle_facts import Made, Name, PickleFacts, ScanError, Storage
from kd_yolo.base.pickles import MAX_DEPTH, scan_pickle
from kd_yolo.base.reading import shown

ELEMENT_BYTES = {
    f"{kind}Storage": size
    for size, kinds in {
        1: "Byte Char Bool QInt8 QUInt8 QUInt4x2 QUInt2x4 Untyped",
        2: "Short Half BFloat16",
        4: "Int Float QInt32",
        8: "Long Double ComplexFloat",
        16: "ComplexDouble",
    }.items()
    for kind in kinds.split()
}
# Names that torch's own weights_only unpickler knows and resolves itself. Left out on purpose:
# torch._tensor._rebuild_from_type_v2, which calls a function that the file chooses.
_CALLED = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.complex",
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
}
_NAMED = {"torch.nn.parameter.Parameter", "torch.Tensor", "torch.storage.UntypedStorage"}
_WITH_STATE = "collections.OrderedDict"  # of a state dict: its _metadata; a tensor's state would replace its storage
_TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
_NUM_LEGACY_PICKLES = 5  # magic number, protocol, system facts, the object, the keys of its tensors


def is_plain_name(name: Name) -> bool:
    """Whether a name stands for plain values and tensors: storages, dtypes, and what rebuilds them."""
    import torch

    if name.module == "torch" and re.fullmatch(r"\w+", name.attr):
        found = vars(torch).get(name.attr)
        if isinstance(found, torch.dtype) or (isinstance(found, type) and name.attr.endswith("Storage")):
            return True
    return str(name) in _CALLED | _NAMED


def is_plain_call(name: Name) -> bool:
    """Whether a file may call the name with its own arguments, to rebuild plain values and tensors."""
    return str(name) in _CALLED


def changed_plain_names(facts: PickleFacts) -> list[Name]:
    """Plain names of which a file makes an empty instance (``UntypedStorage(10**12)``) or sets a state."""
    states = [name for name in facts.stated if str(name) != _WITH_STATE]
    return [name for name in (*facts.made, *states) if is_plain_name(name)]


def scan_archive(reader: Any, max_depth: int = MAX_DEPTH) -> PickleFacts:
    """What the pickle of a zip archive would do.

    Args:
        reader: ``torch._C.PyTorchFileReader`` of the archive, which raises RuntimeError for records that are missing.
        max_depth: see :func:`kd_yolo.base.pickles.scan_pickle`.

    Raises:
        ScanError: it is damaged, too large, or claims more than the archive holds.
    """
    facts = scan_pickle(io.BytesIO(reader.get_record("data.pkl")), max_depth)
    for key, size in _wanted_bytes(facts.storages).items():
        if int(reader.get_record_size(f"data/{key}")) != size:
            raise ScanError(f"the tensor in data/{shown(key)} should have {shown(size)} bytes")
    _check_tensors(facts.calls)
    return facts


def scan_legacy(stream: BinaryIO, num_bytes: int, max_depth: int = MAX_DEPTH) -> list[PickleFacts]:
    """What the pickles of a file in the format before torch 1.6 would do.

    Args:
        stream: the file from its start.
        num_bytes: that the whole file has; the numbers of its tensors follow the pickles.
        max_depth: see :func:`kd_yolo.base.pickles.scan_pickle`.

    Raises:
        ScanError: one is damaged, too large, or claims more than the file holds.
    """
    found = [scan_pickle(stream, max_depth) for _ in range(_NUM_LEGACY_PICKLES)]
    wanted = sum(_wanted_bytes(storage for facts in found for storage in facts.storages).values())
    if wanted > num_bytes:
        raise ScanError(f"its tensors should have {shown(wanted)} bytes")
    for facts in found:
        _check_tensors(facts.calls)
    return found


def _wanted_bytes(storages: Iterable[Storage]) -> dict[str, int]:
    """Bytes that each record of the file should have, by its key."""
    wanted: dict[str, int] = {}
    for storage in storages:
        if storage.kind.attr not in ELEMENT_BYTES or not is_plain_name(storage.kind):
            raise ScanError(f"a tensor of {shown(str(storage.kind))}")
        size = ELEMENT_BYTES[storage.kind.attr] * storage.num_elements
        wanted[storage.key] = max(size, wanted.get(storage.key, 0))
    return wanted


def _check_tensors(calls: Iterable[Made]) -> None:
    """Checks that each tensor lies inside its storage."""
    for call in calls:
        if str(call.what) in _TENSORS:
            storage, shape, last = tensor_place(call)
            if last >= storage.num_elements:
                raise ScanError(f"a tensor of shape {shown(shape)} is larger than its {storage.num_elements} numbers")


def tensor_place(call: Made) -> tuple[Storage, tuple[int, ...], int]:
    """Storage and shape of a tensor that a call rebuilds, and the place of its last element; -1 for none.

    Raises:
        ScanError: it is not called with a storage, a place, a shape and strides.
    """
    storage, offset, shape, strides = (*call.items, None, None, None, None)[:4]
    if not (isinstance(storage, Storage) and all(type(x) is Made and x.what == "TUPLE" for x in (shape, strides))):
        raise ScanError("a tensor without a storage, a shape or strides")
    numbers = [offset, *shape.items, *strides.items]
    if len(shape.items) != len(strides.items) or any(type(x) is not int or not 0 <= x < 2**48 for x in numbers):
        raise ScanError("a tensor with a shape or strides that are none")
    steps = sum((side - 1) * step for side, step in zip(shape.items, strides.items, strict=True))
    return storage, tuple(shape.items), -1 if 0 in shape.items else offset + steps
