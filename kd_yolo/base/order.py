"""The order in which people count files: img2 before img10."""

from __future__ import annotations

import re
from pathlib import Path

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(path: str | Path) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """A key for ``sorted``: runs of digits count by their value, everything else as text without case.

    Args:
        path: a path or a name. Folders count one by one, so that ``a/2.jpg`` comes before ``a b/1.jpg``.

    Returns:
        A key that no two different paths share (``img1`` and ``img01`` differ in the last part), so that the order
        never depends on the order in which a folder lists its files.
    """
    text = str(path)
    parts: list[tuple[str, int, str]] = []
    for folder in text.split("/"):
        parts += [_piece(piece) for piece in _DIGITS.split(folder)]
        parts.append(("", -1, ""))  # the end of a name comes before anything that goes on
    return tuple(parts), text


def _piece(piece: str) -> tuple[str, int, str]:
    """One run of digits, or of anything else."""
    if not piece or not piece.isdecimal():
        return (piece.casefold(), 0, "")
    digits = piece.lstrip("0")  # int() of a name of 5,000 digits is refused: their count, then the digits
    return ("0", len(digits), digits)
