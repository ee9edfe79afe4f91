"""Checks of a loss's constructor parameters: what is wrong, the value, what was expected and what to type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown


@dataclass(frozen=True)
class Rule:
    """What a parameter may be.

    Attributes:
        text: the rule in words, as it follows "expected".
        holds: whether a finite number obeys it.
        kind: ``Real`` for any number, ``Integral`` for whole ones; True and False are neither.
    """

    text: str
    holds: Callable[[float], bool]
    kind: type = Real


POSITIVE = Rule("a number > 0", lambda x: x > 0)
NOT_NEGATIVE = Rule("a number >= 0", lambda x: x >= 0)
SHARE = Rule("a share >= 0 and < 1", lambda x: 0 <= x < 1)
COUNT = Rule("a whole number >= 1", lambda x: x >= 1, Integral)
# torch.Generator takes a signed 64-bit seed.
SEED = Rule("a whole number >= 0 and < 2**63", lambda x: 0 <= x < 2**63, Integral)


def check_parameter(loss: str, name: str, value: float, rule: Rule, *, usual: float) -> None:
    """Checks one constructor parameter.

    Args:
        loss: the registered name of the loss.
        name: the parameter's name.
        value: its value; anything can arrive here from YAML.
        rule: what it may be.
        usual: a value that works, for the message.

    Raises:
        ConfigError: the value is not a finite number of the rule's kind, or breaks the rule.
    """
    is_number = isinstance(value, rule.kind) and not isinstance(value, bool) and -math.inf < value < math.inf
    if not (is_number and rule.holds(value)):
        raise ConfigError(f"loss '{loss}': {name} is {shown(value)}, expected {rule.text}, for example {name}={usual}.")


def check_choice(loss: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Checks one constructor parameter that is a word.

    Args:
        loss: the registered name of the loss.
        name: the parameter's name.
        value: its value; anything can arrive here from YAML.
        choices: the words it may be.

    Raises:
        ConfigError: the value is none of them.
    """
    if value not in choices:
        raise ConfigError(
            f"loss '{loss}': {name} is {value!r}, expected {' or '.join(choices)}, for example {name}={choices[0]}."
        )
