"""Draws process diagrams as if by hand: pools hold lanes, lanes hold tasks, sub-processes hold tasks of their own.

In come a seed, a split and an index; out come an image and its boxes with the parents that the drawing was planned
with. The path, top to bottom: ``pen`` (a hand's lines), ``handwriting``, ``style`` (whose hand), ``tree`` (nodes and
who holds whom), ``sections`` (which part of the page belongs to which pool and lane), ``plan`` (what stands where),
``shapes`` and ``arrows`` (nodes and edges to strokes), ``paper`` (the sheet and how it was photographed), ``render``.
"""
