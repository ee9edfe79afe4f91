"""A planned diagram: nodes, who holds whom, and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass

Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 in page units
CLASS_NAMES = ("pool", "lane", "activity", "event", "gateway", "data", "annotation")
CLASS_OF_KIND = {
    "pool": "pool",
    "lane": "lane",
    "task": "activity",
    "collapsed": "activity",
    "subprocess": "activity",
    "start": "event",
    "end": "event",
    "catch": "event",
    "timer": "event",
    "exclusive": "gateway",
    "parallel": "gateway",
    "paper": "data",
    "store": "data",
    "annotation": "annotation",
}
PAGE_WIDTH, PAGE_HEIGHT = 640.0, 480.0


@dataclass(frozen=True)
class Node:
    """One thing of a diagram.

    Args:
        kind: a key of ``CLASS_OF_KIND``.
        rect: its outline as meant.
        parent: index of what holds it, -1 for none. This is the truth, wherever the outline comes to lie.
        upright: things run downwards in it: its name is at the top instead of on the left.
    """

    kind: str
    rect: Rect
    parent: int = -1
    upright: bool = False

    @property
    def class_id(self) -> int:
        """Its detection class."""
        return CLASS_NAMES.index(CLASS_OF_KIND[self.kind])

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the outline."""
        return (self.rect[0] + self.rect[2]) / 2, (self.rect[1] + self.rect[3]) / 2


@dataclass(frozen=True)
class Edge:
    """An arrow from node to node: "flow" (solid), "message" or "data" (dashed)."""

    source: int
    target: int
    kind: str = "flow"


@dataclass(frozen=True)
class Diagram:
    """Everything on the page."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def centred(x: float, y: float, width: float, height: float) -> Rect:
    """The outline of this size around a point."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
