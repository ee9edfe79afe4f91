"""The page's own HTML: lines of state and tables. Whatever comes from a file or a user is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

NONE = "\N{EN DASH}"


def clock(seconds: float | None) -> str:
    """``1:02:03.4``; a dash where there is no time."""
    if seconds is None:
        return NONE
    tenths = round(seconds * 10)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def header(facts: Sequence[str]) -> str:
    """The page's title and what it searches in."""
    items = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return (
        '<header class="kd-header"><div><h1>Person search</h1>'
        "<p>Find a person again across cameras, from one image.</p></div>"
        f'<ul class="kd-facts" aria-label="What is searched">{items}</ul></header>'
    )


def step(number: int, title: str) -> str:
    """The heading of a step."""
    return f'<h2 class="kd-step"><span aria-hidden="true">{number}</span>{escape(title)}</h2>'


def status(text: str, kind: str = "info") -> str:
    """A line that screen readers say when it changes.

    Args:
        text: plain text.
        kind: ``info``, ``good`` or ``warn``.
    """
    return f'<p class="kd-status kd-{kind}" role="status" aria-live="polite">{escape(text)}</p>'


def empty(text: str) -> str:
    """What stands where results will be."""
    return f'<p class="kd-empty">{escape(text)}</p>'


def table(caption: str, columns: Sequence[str], lines: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table; empty text without lines.

    Args:
        caption: for screen readers.
        columns: headings.
        lines: a text a column.
        numeric: columns that are set to the right.
    """
    if not lines:
        return ""
    kinds = [' class="kd-number"' if place in numeric else "" for place in range(len(columns))]
    head = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for kind, text in zip(kinds, columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, line, strict=True)) + "</tr>"
        for line in lines
    )
    return (
        f'<div class="kd-table" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plural(count: int, one: str, many: str) -> str:
    """``1 match``, ``2 matches``."""
    return f"{count:,} {one if count == 1 else many}"
