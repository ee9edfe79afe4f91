"""Divides the page into pools, lanes and rows.

Directions: u is where the process runs to, v goes across. In a diagram that lies, u is x and v is y; in one that stands
it is the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.diagram.tree import PAGE_HEIGHT, PAGE_WIDTH, Node, Rect

_HEADER = 20.0  # width of the strip with a pool's name
_THIN = 30.0  # height of a pool that shows nothing of its inside
_BELOW = 40.0  # strip under the last pool for data that was drawn outside of it
_ROW_MIN = 80.0


@dataclass(frozen=True)
class Row:
    """A row of cells.

    Args:
        v: its middle.
        v0: border of its lane, pool or page before it.
        v1: border behind it.
        section: number of its pool, or of the part of the page without one.
        pool: index of its pool, -1 for none.
        holder: index of its lane, or else of its pool, -1 for none.
    """

    v: float
    v0: float
    v1: float
    section: int
    pool: int
    holder: int


@dataclass(frozen=True)
class Grid:
    """Where things can stand.

    Args:
        stands: u runs down the page instead of to the right.
        columns: middle of each column in u.
        column_step: distance between them.
        row_step: height of a row.
        rows: rows of cells.
        below_v: middle of a strip under everything, None without one.
        nodes: pools and lanes.
    """

    stands: bool
    columns: tuple[float, ...]
    column_step: float
    row_step: float
    rows: tuple[Row, ...]
    below_v: float | None
    nodes: tuple[Node, ...]

    def point(self, u: float, v: float) -> tuple[float, float]:
        """Page coordinates of (u, v)."""
        return (v, u) if self.stands else (u, v)

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell on the page."""
        return self.point(self.column_step, self.row_step)


def make_grid(rng: Rng) -> Grid:
    """Pools, lanes and rows of a random diagram."""
    stands = chance(rng, 0.2)
    length, across = (PAGE_HEIGHT, PAGE_WIDTH) if stands else (PAGE_WIDTH, PAGE_HEIGHT)
    u0, v0 = between(rng, 12, 40), between(rng, 12, 40)
    u1, v1 = length - between(rng, 12, 40), across - between(rng, 12, 40)
    num_pools = pick(rng, (0, 1, 2, 3), (0.2, 0.4, 0.3, 0.1))
    thin = [num_pools > 1 and chance(rng, 0.3) for _ in range(num_pools)]
    if all(thin):
        thin = [False] * num_pools
    below = _BELOW if num_pools and chance(rng, 0.2) else 0.0
    gap = between(rng, 8, 26)
    free = v1 - v0 - below - _THIN * sum(thin) - gap * max(0, num_pools - 1)
    least = max(1, num_pools - sum(thin))
    num_rows = max(least, min(int(free / _ROW_MIN), int(rng.integers(3, 6))))
    builder = _Builder(stands, u0, u1, free / num_rows)
    shares = _divide(rng, num_rows, least)
    if not num_pools:
        builder.add_rows(v0, num_rows, section=0, pool=-1, holder=-1)
    v = v0
    for section, is_thin in enumerate(thin):
        v = builder.add_pool(rng, v, 0 if is_thin else shares.pop(), section) + gap
    start = u0 + (2 * _HEADER + 4 if num_pools else 0)
    num_columns = int((u1 - start) / between(rng, 82, 105))
    step = (u1 - start) / num_columns
    columns = tuple(start + (i + 0.5) * step for i in range(num_columns))
    below_v = v1 - below / 2 + 4 if below else None
    return Grid(stands, columns, step, builder.row_step, tuple(builder.rows), below_v, tuple(builder.nodes))


def _divide(rng: Rng, total: int, parts: int) -> list[int]:
    """``total`` as a sum of ``parts`` numbers from 1 on."""
    counts = [1] * parts
    for _ in range(total - parts):
        counts[int(rng.integers(parts))] += 1
    return counts


class _Builder:
    """Pools and rows as they are laid under each other."""

    def __init__(self, stands: bool, u0: float, u1: float, row_step: float) -> None:
        self.stands, self.u0, self.u1, self.row_step = stands, u0, u1, row_step
        self.nodes: list[Node] = []
        self.rows: list[Row] = []

    def add_pool(self, rng: Rng, v: float, num_rows: int, section: int) -> float:
        """A pool from ``v`` on, thin without rows, else with lanes or not; returns where it ends."""
        end = v + (num_rows * self.row_step if num_rows else _THIN)
        self.nodes.append(Node("pool", self._rect(self.u0, v, self.u1, end), -1, self.stands))
        pool = len(self.nodes) - 1
        if num_rows < 2 or chance(rng, 0.4):
            self.add_rows(v, num_rows, section, pool, pool)
            return end
        inset = between(rng, 0.8, 2.2)  # between the lines of pool and lane
        for size in _divide(rng, num_rows, min(num_rows, int(rng.integers(2, 4)))):
            after = v + size * self.row_step
            rect = self._rect(self.u0 + _HEADER, v + inset, self.u1 - inset, after - inset)
            self.nodes.append(Node("lane", rect, pool, self.stands))
            self.add_rows(v, size, section, pool, len(self.nodes) - 1)
            v = after
        return end

    def add_rows(self, v: float, count: int, section: int, pool: int, holder: int) -> None:
        """Rows of one holder from ``v`` on."""
        end = v + count * self.row_step
        for i in range(count):
            self.rows.append(Row(v + (i + 0.5) * self.row_step, v, end, section, pool, holder))

    def _rect(self, u0: float, v0: float, u1: float, v1: float) -> Rect:
        return (v0, u0, v1, u1) if self.stands else (u0, v0, u1, v1)
