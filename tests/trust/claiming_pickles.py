"""Pickles that run nothing, but are made to hang, to fill the memory or to end the interpreter."""

from __future__ import annotations

from tests.trust.hostile_pickles import named, text

MANY = 3_000_000
_DEEP = b")" + b"\x85" * MANY
HUGE = {
    "a tuple of three million": b"\x80\x02(" + b"N" * MANY + b"t.",
    "marks": b"\x80\x02" + b"(" * MANY + b"t" * MANY + b".",
    "small tuples": b"\x80\x02" + b"()t" * (MANY // 3) + b".",
    "the same from the memo": b"\x80\x02}q\0" + b"h\0" * (MANY // 2) + b".",
    "a new memo entry each": b"\x80\x04N" + b"\x94" * MANY + b".",
    "duplicates": b"\x80\x02N" + b"2" * MANY + b".",
    "marks that are popped": b"\x80\x02" + b"(1" * (MANY // 2) + b".",
    "a value": b"\x80\x02" + _DEEP + b".",
    "a key": b"\x80\x02}" + _DEEP + b"Ns.",  # its hash ends the interpreter
    "an id of a tensor": b"\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" + _DEEP + b"X\3\0\0\0cpuK\4tQ.",
    "lists": b"\x80\x02" + b"]" * MANY + b"a" * MANY + b".",
    "dicts": b"\x80\x02" + b"}N" * (MANY // 2) + b"s" * (MANY // 2) + b".",
    "calls": b"\x80\x02" + b"ccollections\nOrderedDict\n" * 1000 + b")" + b"\x85R" * MANY + b".",
}

TERABYTE = b"\x8a\x06" + (10**12).to_bytes(6, "little")
_FLOATS = named("torch", "FloatStorage")
_REBUILD = named("torch._utils", "_rebuild_tensor_v2")


def _storage(count: bytes = b"K\x04") -> bytes:
    """A storage in the record ``data/0``, which has four float32 numbers."""
    return b"(" + text("storage") + _FLOATS + text("0") + text("cpu") + count + b"tQ"


def _tensor(
    offset: bytes, shape: bytes, strides: bytes, storage: bytes = _storage(), rebuild: bytes = _REBUILD
) -> bytes:
    """A tensor of ``shape`` in a storage; the whole one has shape and strides ``K\\x04\\x85`` and ``K\\x01\\x85``."""
    return rebuild + b"(" + storage + offset + shape + strides + b"\x89" + named("collections", "OrderedDict") + b")RtR"


WHOLE = _tensor(b"K\0", b"K\x04\x85", b"K\x01\x85")  # what the others change
CLAIMS = {
    "a storage of a terabyte": _tensor(b"K\0", b"K\x04\x85", b"K\x01\x85", _storage(TERABYTE)),
    "a tensor of a terabyte": _tensor(b"K\0", TERABYTE + b"\x85", b"K\x01\x85"),
    "a tensor of a terabyte, older": _tensor(
        b"K\0", TERABYTE + b"\x85", b"K\x01\x85", rebuild=named("torch._utils", "_rebuild_tensor")
    ),
    "a tensor behind its storage": _tensor(TERABYTE, b"K\x04\x85", b"K\x01\x85"),
    "a tensor with long strides": _tensor(b"K\0", b"K\x04\x85", TERABYTE + b"\x85"),
    "a tensor of one number more": _tensor(b"K\0", b"K\x05\x85", b"K\x01\x85"),
    "a tensor before its storage": _tensor(b"J\xff\xff\xff\xff", b"K\x04\x85", b"K\x01\x85"),
    "a shape that is a list": _tensor(b"K\0", b"]K\x04a", b"K\x01\x85"),
    "a shape of texts": _tensor(b"K\0", text("4") + b"\x85", b"K\x01\x85"),
    "more sides than strides": _tensor(b"K\0", b"K\x02K\x02\x86", b"K\x01\x85"),
    "a tensor that is popped": _tensor(b"K\0", TERABYTE + b"\x85", b"K\x01\x85") + b"0N",
    "another state of a tensor": WHOLE + b"(" + _storage() + b"K\0" + TERABYTE + b"\x85K\0\x85tb",
    "a tensor of nothing": _REBUILD + b")R",
    "a tensor without a storage": _tensor(b"K\0", b"K\x04\x85", b"K\x01\x85", b"N"),
    "a tensor that a function of the file makes": named("torch._tensor", "_rebuild_from_type_v2") + b"("
    + _REBUILD + named("torch", "Tensor") + b"(" + _storage() + b"K\0" + TERABYTE + b"\x85K\0\x85\x89NtNtR",
    "an empty storage by size": named("torch.storage", "UntypedStorage") + TERABYTE + b"\x85\x81",
    "a storage by size": named("torch.storage", "UntypedStorage") + TERABYTE + b"\x85R",
    "a typed storage by size": named("torch", "FloatStorage") + TERABYTE + b"\x85R",
    "a tensor by size": named("torch", "Tensor") + TERABYTE + b"\x85R",
    "a bytearray by size": named("builtins", "bytearray") + TERABYTE + b"\x85R",
    "a sparse tensor": named("torch._utils", "_rebuild_sparse_tensor") + b"N)\x86R",
    "a storage without an id": b"NQ",
    "a storage with a strange id": text("a") + b"Q",
    "a storage of a negative size": _storage(b"J\xff\xff\xff\xff"),
    "a memo of two billion": b"Nr\xff\xff\xff\x7f",
    "a text of two billion": b"X\xff\xff\xff\x7f",
    "a number of two billion bytes": b"\x8b\xff\xff\xff\x7f",
    "a frame of a terabyte": b"\x95" + (10**12).to_bytes(8, "little") + b"N",
    "no mark": b"t",
    "a mark for a value": b"(\x85",
    "a method of a class": named("collections", "OrderedDict") + b"Na",
    "a state of a class": named("collections", "OrderedDict") + b"}b",
    "an item of a tuple": b")Na",
    "200 levels": b"]" * 201 + b"a" * 200,
}  # fmt: skip
