"""What a value may be: the rules that the table of arguments is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_NAME = 200  # characters; file systems take 255 bytes, and a number and an ending are added
MAX_PATH = 1000


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    Attributes:
        expected: the rule in words, as it follows "expected".
        holds: whether a value obeys it; it never raises.
        example: a value that does.
        whole: whole numbers may be written as 1e2.
    """

    expected: str
    holds: Callable[[Any], bool]
    example: Any
    whole: bool = False


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none, nor is an int beyond float."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any) -> bool:
    """Whether a value is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(low: float, high: float, example: float, *, above: bool = False, below: bool = False) -> Rule:
    """A number from ``low`` to ``high``; ``above`` and ``below`` leave the ends out."""
    text = f"a number {'above' if above else 'from'} {low:g} {'and below' if below else 'and up to'} {high:g}"

    def holds(value: Any) -> bool:
        if not is_number(value):
            return False
        return bool((low < value if above else low <= value) and (value < high if below else value <= high))

    return Rule(text, holds, example)


def whole(low: int, high: int, example: int) -> Rule:
    """A whole number from ``low`` to ``high``; 1e2 is one."""

    def holds(value: Any) -> bool:
        return is_number(value) and float(value).is_integer() and low <= value <= high

    return Rule(f"a whole number from {low} to {high}", holds, example, whole=True)


def strictly_whole(low: int, high: int, example: int) -> Rule:
    """A whole number as upstream wants it where it converts nothing: 640, not 640.0."""
    return Rule(f"a whole number from {low} to {high}", lambda value: is_whole(value) and low <= value <= high, example)


def one_of(*words: str, example: str | None = None) -> Rule:
    """One of some words, in upper or lower case."""
    known = {word.lower() for word in words}
    return Rule(
        f"one of {', '.join(words)}",
        lambda value: isinstance(value, str) and value.lower() in known,
        words[0] if example is None else example,
    )


def exactly(*words: str) -> Rule:
    """One of some words as they are spelt."""
    return Rule(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words, words[0])


FLAG = Rule("True or False", lambda value: isinstance(value, bool), True)
SHARE = number(0, 1, 0.5)
GAIN = number(0, 1e6, 1.0)
ANYTHING = Rule("any value", lambda _: True, None)  # of a key that is refused whatever its value


def either(*rules: Rule) -> Rule:
    """What obeys one of some rules."""
    return Rule(
        " or ".join(rule.expected for rule in rules),
        lambda value: any(rule.holds(value) for rule in rules),
        rules[0].example,
    )


def or_none(rule: Rule) -> Rule:
    """None, "not said", or what obeys a rule."""
    return Rule(rule.expected, lambda value: value is None or rule.holds(value), rule.example, rule.whole)


def _is_text(value: Any, limit: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= limit and value.isprintable()


def _is_name(value: Any) -> bool:
    if is_number(value):  # upstream makes text of it
        return True
    is_plain = _is_text(value, MAX_NAME) and value == value.strip()
    return is_plain and value not in {".", ".."} and not set(value) & set("/\\")


NAME = Rule(f"the name of a folder, of at most {MAX_NAME} characters and without / or \\", _is_name, "first")
PATH = Rule("the path of a folder", lambda value: is_number(value) or _is_text(_text(value), MAX_PATH), "runs/mine")
FILE = Rule("the path of a file", lambda value: _is_text(_text(value), MAX_PATH), "data.yaml")


def _text(value: Any) -> Any:
    """A path as text; anything else as it is."""
    return str(value) if hasattr(value, "__fspath__") else value


def _is_batch(value: Any) -> bool:
    return (is_whole(value) and (1 <= value <= 65536 or value == -1)) or (
        isinstance(value, float) and 0 < value < 1  # upstream's share of the GPU's memory
    )


def _is_fraction(value: Any) -> bool:
    """Shares or counts, as ultralytics takes them."""
    if isinstance(value, list | tuple):
        parts = all(is_number(part) and (0 <= part <= 1 or is_whole(part)) and part >= 0 for part in value)
        return len(value) in {2, 3} and parts and all(value[:2])
    return is_number(value) and (0 < value <= 1 or (is_whole(value) and value > 1))


def _is_scale(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(is_number(part) and 0 < part <= 100 for part in value) and value[0] <= value[1]
    return SHARE.holds(value)


def _is_classes(value: Any) -> bool:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    good = all(is_whole(number) and 0 <= number < 1_000_000 for number in numbers)
    return bool(numbers) and good and len(set(numbers)) == len(numbers)


def _is_freeze(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all((is_whole(part) and 0 <= part <= 1000) or _is_text(part, MAX_NAME) for part in value) and bool(value)
    return is_whole(value) and 0 <= value <= 1000


BATCH = Rule("a whole number from 1 to 65536, or -1 or a share of the GPU's memory in (0, 1)", _is_batch, 16)
FRACTION = Rule(
    "a share of the images above 0 and up to 1, their number from 2 on, or one of these each for train and val",
    _is_fraction, 0.5,
)  # fmt: skip
SCALE = Rule("a number from 0 to 1, or a pair 0 < min <= max", _is_scale, 0.5)
CLASSES = Rule("a class number from 0 on, or different ones such as 0,2", _is_classes, 0)
FREEZE = Rule("a number of layers from 0 on, or a list of layers such as [0,1,2]", _is_freeze, 10)
