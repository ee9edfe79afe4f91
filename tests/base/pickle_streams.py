"""Pickles made at random, and an unpickler that runs nothing but writes down what it is asked for."""

from __future__ import annotations

import io
import pickle
import random
from typing import Any, ClassVar

NAMES = ["os system", "builtins eval", "collections OrderedDict", "torch._utils _rebuild_tensor_v2", "__builtin__ set"]
NAMES += ["copy_reg _reconstructor", "torch FloatStorage", "torch.nn.modules.conv Conv2d", "torch.nn functional.relu"]


class Stand:
    """Stands for whatever a pickle names: what is done with it is written down."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self.recorder, self.name = recorder, name

    def __call__(self, *args: Any, **kwargs: Any) -> Stand:
        self.recorder.calls.append(self.name)
        return Stand(self.recorder, "")

    def __setstate__(self, state: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        if self.name:
            self.recorder.methods.append(self.name)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.append(value)


class Recorder(pickle._Unpickler):  # the one in Python: C's takes as much memory as a number says
    """Unpickles without importing or calling anything."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.names: list[str] = []
        self.calls: list[str] = []
        self.made: list[str] = []
        self.methods: list[str] = []
        self.outside = 0

    def find_class(self, module: str, name: str) -> Any:
        module, name = pickle._compat_pickle.NAME_MAPPING.get(
            (module, name), (pickle._compat_pickle.IMPORT_MAPPING.get(module, module), name)
        )
        self.names.append(f"{module}.{name}")
        return Stand(self, self.names[-1])

    def persistent_load(self, pid: Any) -> Any:
        self.outside += 1
        return Stand(self, "")

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("an extension")

    def load_new(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        if not isinstance(cls, Stand):
            raise pickle.UnpicklingError("no class")
        self.made.append(cls.name)
        self.stack.append(Stand(self, ""))
        tuple(args)

    def load_new_with_names(self) -> None:
        named = self.stack.pop()
        args = self.stack.pop()
        self.stack.append(self.stack.pop()(*args, **named))

    def load_bytearray(self) -> None:
        raise pickle.UnpicklingError("a bytearray, for which memory would be taken")

    dispatch[pickle.NEWOBJ[0]] = load_new
    dispatch[pickle.NEWOBJ_EX[0]] = load_new_with_names
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray


def recorded(data: bytes) -> tuple[Recorder, bool]:
    """What a pickle asks for until it ends or fails, and whether it ended."""
    recorder = Recorder(data)
    try:
        recorder.load()
    except Exception:  # whatever strange bytes make of it
        return recorder, False
    return recorder, True


class Maker:
    """Makes pickles that can be read to their end."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stored: list[int] = []  # places in the memo that hold texts or numbers
        self.next_place = 0

    def pickle(self) -> bytes:
        return b"\x80" + bytes([self.rng.randint(2, 4)]) + self.value(5) + b"."

    def value(self, levels: int) -> bytes:
        """Opcodes that leave one value on the stack."""
        kinds = [self.flat, self.stored_value]
        kinds += [self.container, self.call, self.call, self.named, self.popped, self.storage] if levels else []
        return self.rng.choice(kinds)(levels - 1)

    def values(self, levels: int, count: int) -> bytes:
        return b"".join(self.value(levels) for _ in range(count))

    def flat(self, _: int) -> bytes:
        forms = [b"N", b"\x88", b"I01\n", b"I7\n", b"K\5", b"M\1\2", b"J\xff\xff\xff\xff", b"L99L\n", b"\x8a\1\7"]
        return self.rng.choice([*forms, b"F1.5\n", b"G" + bytes(8), b"U\1a", b"X\1\0\0\0b", b"V\\u0041\n", b"S'x'\n"])

    def stored_value(self, _: int) -> bytes:
        if self.stored and self.rng.random() < 0.5:
            place = self.rng.choice(self.stored)
            return self.rng.choice([b"h" + bytes([place]), b"g%d\n" % place, b"j" + place.to_bytes(4, "little")])
        if self.next_place > 250:
            return b"N"
        made, place = self.flat(0), self.next_place
        forms = [b"q" + bytes([place]), b"p%d\n" % place, b"r" + place.to_bytes(4, "little"), b"\x94"]
        self.stored.append(place)
        self.next_place += 1
        return made + self.rng.choice(forms)

    def container(self, levels: int) -> bytes:
        value, values = self.value, self.values
        forms = [
            lambda: b")", lambda: value(levels) + b"\x85", lambda: values(levels, 2) + b"\x86",
            lambda: values(levels, 3) + b"\x87", lambda: b"(" + values(levels, 4) + b"t",
            lambda: b"(" + values(levels, 3) + b"l", lambda: b"(" + self.flat(0) + value(levels) + b"d",
            lambda: b"]" + value(levels) + b"a", lambda: b"](" + values(levels, 3) + b"e",
            lambda: b"}" + self.flat(0) + value(levels) + b"s", lambda: b"}(" + self.flat(0) + value(levels) + b"u",
            lambda: b"\x8f(" + self.flat(0) + b"\x90", lambda: b"(" + self.flat(0) + b"\x91",
        ]  # fmt: skip
        return self.rng.choice(forms)()

    def named(self, _: int) -> bytes:
        module, _, name = self.rng.choice(NAMES).partition(" ")
        if self.rng.random() < 0.5:
            return f"c{module}\n{name}\n".encode()
        return b"".join(b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, name)) + b"\x93"

    def arguments(self, levels: int) -> bytes:
        return b"(" + self.values(levels, self.rng.randint(0, 3)) + b"t"

    def call(self, levels: int) -> bytes:
        module, _, name = self.rng.choice(NAMES).partition(" ")
        forms = [
            lambda: self.named(0) + self.arguments(levels) + b"R",
            lambda: self.named(0) + self.arguments(levels) + b"\x81",
            lambda: self.named(0) + self.arguments(levels) + b"}\x92",
            lambda: b"(" + self.named(0) + self.values(levels, 2) + b"o",
            lambda: b"(" + self.values(levels, 2) + f"i{module}\n{name}\n".encode(),
            lambda: self.named(0) + self.arguments(levels) + b"R" + self.value(levels) + b"b",
            lambda: self.named(0) + b")\x81" + self.flat(0) + self.value(levels) + b"s",
        ]
        return self.rng.choice(forms)()

    def popped(self, levels: int) -> bytes:
        forms = [
            lambda: self.value(levels) + b"0" + self.value(levels), lambda: self.value(levels) + b"20",
            lambda: b"(" + self.values(levels, 2) + b"1" + self.value(levels), lambda: b"(0" + self.value(levels),
            lambda: self.named(0) + b"2" + self.arguments(levels) + b"R\x86",
        ]  # fmt: skip
        return self.rng.choice(forms)()

    def storage(self, _: int) -> bytes:
        return b"(X\7\0\0\0storage" + b"ctorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\4tQ"


def mutated(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """A few bytes changed, doubled, cut out, or replaced by opcodes."""
    changed = bytearray(data)
    opcodes = b"().012NRQabcdehijlopqrstuX}]\x80\x81\x82\x85\x86\x87\x8c\x93\x94"
    for _ in range(rng.randint(1, most)):
        place = rng.randrange(len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[place] = rng.choice(opcodes)
        elif kind == 2:
            changed.insert(place, rng.choice(opcodes))
        elif kind == 3:
            del changed[place : place + rng.randint(1, 8)]
        else:
            other = rng.randrange(len(changed))
            changed[place:place] = changed[other : other + rng.randint(1, 40)]
        if not changed:
            return data
    return bytes(changed)
