"""Which convs a user means by ``--ignore``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest


def matching_convs(patterns: Sequence[str], convs: Sequence[str]) -> set[str]:
    """The convs that patterns cover.

    Args:
        patterns: names of convs or of modules, which cover everything in them, or either with ``*`` and ``?``.
        convs: names to choose from; ``[a]`` and ``[b]`` mark the halves of a splitting conv.

    Raises:
        ConfigError: a pattern covers nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        regex = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))  # a bracket is the mark of a half
        covered = {conv for conv in convs if any(regex.match(name) for name in _with_owners(conv))}
        if not covered:
            known = sorted({name for conv in convs for name in _with_owners(conv)})
            raise ConfigError(f"ignore: '{pattern}' covers no conv of this model.{nearest(pattern, known)}")
        found |= covered
    return found


def _with_owners(conv: str) -> Iterator[str]:
    """A conv's name and those of what it is in: ``model.2.cv1.conv[a]``, ``model.2.cv1.conv``, ``model.2.cv1``..."""
    yield conv
    name = conv.partition("[")[0]
    while name:
        yield name
        name = name.rpartition(".")[0]
