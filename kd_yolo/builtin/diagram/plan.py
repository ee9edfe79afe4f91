"""Plans a diagram: which things stand in which cells, who holds them and where arrows go."""

from __future__ import annotations

from kd_yolo.base.rng import Rng, between, chance, pick
from kd_yolo.builtin.diagram.sections import Grid, Row, make_grid
from kd_yolo.builtin.diagram.tree import Diagram, Edge, Node, Rect, centred

# How often boxes do not tell the parent: a thing over its lane's border, data drawn outside its pool, an event on a
# sub-process's border. With them boxes tell as much as on real diagrams (docs/benchmarks/relation_truth.json).
_OVER_BORDER, _OUTSIDE, _ATTACHED = 0.02, 0.4, 0.12
_FLOW = {"task": 0.47, "gateway": 0.25, "event": 0.12, "subprocess": 0.11, "collapsed": 0.05}
_SIDE = {"paper": 0.5, "store": 0.25, "annotation": 0.25}


def plan_diagram(rng: Rng) -> Diagram:
    """A random diagram."""
    planner = _Planner(rng, make_grid(rng))
    for section in sorted({row.section for row in planner.grid.rows}):
        planner.fill(section)
    planner.add_below()
    planner.add_messages()
    return Diagram(tuple(planner.nodes), tuple(planner.edges))


class _Planner:
    """The diagram so far and which cells (row, column) are taken."""

    def __init__(self, rng: Rng, grid: Grid) -> None:
        self.rng, self.grid = rng, grid
        self.nodes: list[Node] = list(grid.nodes)
        self.edges: list[Edge] = []
        self.cells: dict[tuple[int, int], int] = {}

    def fill(self, section: int) -> None:
        """The process of one pool: a path from left to right with branches, then things beside it."""
        rows = [i for i, row in enumerate(self.grid.rows) if row.section == section]
        last = self._put("start", pick(self.rng, rows), 0)
        column, end = 1, len(self.grid.columns) - 1
        while column <= end:
            free = [row for row in rows if (row, column) not in self.cells]
            stay = [row for row in free if self.cells.get((row, column - 1)) == last]
            if not free:
                column += 1
                continue
            row = stay[0] if stay and chance(self.rng, 0.7) else pick(self.rng, free)
            kind = self._kind(column, end)
            node = self._put_subprocess(row, column) if kind == "subprocess" else self._put(kind, row, column)
            self.edges.append(Edge(last, node))
            if kind in ("exclusive", "parallel") and column < end:
                self._branch(node, column + 1, rows, row)
            last, column = node, column + (2 if kind == "subprocess" else 1)
        self._fill_up(rows)

    def _kind(self, column: int, end: int) -> str:
        if column == end:
            return pick(self.rng, ("end", "task"), (0.8, 0.2))
        kind = pick(self.rng, tuple(_FLOW), tuple(_FLOW.values()))
        if kind == "subprocess" and column + 1 >= end:
            return "task"
        if kind == "gateway":
            return pick(self.rng, ("exclusive", "parallel"), (0.7, 0.3))
        return pick(self.rng, ("catch", "timer")) if kind == "event" else kind

    def _branch(self, gateway: int, column: int, rows: list[int], row: int) -> None:
        """A second way on from a gateway, in another row."""
        free = [other for other in rows if other != row and (other, column) not in self.cells]
        if not free:
            return
        other = min(free, key=lambda i: abs(i - row))
        node = self._put("task" if chance(self.rng, 0.7) else "catch", other, column)
        self.edges.append(Edge(gateway, node))
        if column + 1 < len(self.grid.columns) and (other, column + 1) not in self.cells:
            self.edges.append(Edge(node, self._put("end" if chance(self.rng, 0.5) else "task", other, column + 1)))

    def _fill_up(self, rows: list[int]) -> None:
        """Loose tasks, data and annotations in some of the cells that are left."""
        for row in rows:
            for column in range(len(self.grid.columns)):
                if (row, column) in self.cells:
                    continue
                if chance(self.rng, 0.16):
                    self._put_aside(row, column)
                elif chance(self.rng, 0.3):
                    before = self.cells.get((row, column - 1))
                    node = self._put(pick(self.rng, ("task", "catch", "end"), (0.6, 0.2, 0.2)), row, column)
                    if before is not None and self.nodes[before].class_id in (2, 3, 4):
                        self.edges.append(Edge(before, node))

    def _put(self, kind: str, row_id: int, column: int) -> int:
        """A thing in the middle of a cell, more or less, or over the border of its lane."""
        row = self.grid.rows[row_id]
        width, height = self._size(kind)
        step_u, step_v = self.grid.column_step, self.grid.row_step
        u = self.grid.columns[column] + between(self.rng, -0.08, 0.08) * step_u
        v = row.v + between(self.rng, -0.14, 0.10) * step_v
        if row.holder >= 0 and chance(self.rng, _OVER_BORDER):
            v = self._border(row) + between(self.rng, -0.2, 0.2) * min(width, height)
        rect = centred(*self.grid.point(u, v), width, height)
        return self._add(Node(kind, rect, row.holder), (row_id, column))

    def _border(self, row: Row) -> float:
        """The nearer border of what holds the row."""
        return row.v0 if row.v - row.v0 < row.v1 - row.v else row.v1

    def _size(self, kind: str) -> tuple[float, float]:
        """Width and height on the page."""
        width, height = self.grid.cell
        unit = min(max(min(width, height), 70.0), 110.0)
        stretch = between(self.rng, 0.85, 1.15)
        if kind in ("task", "collapsed"):
            task_width = min(width * between(self.rng, 0.56, 0.72), 84.0)
            return task_width, min(height * 0.5, task_width * between(self.rng, 0.5, 0.75))
        if kind in ("exclusive", "parallel"):
            return unit * 0.36 * stretch, unit * 0.36 * stretch * between(self.rng, 0.9, 1.15)
        if kind == "annotation":
            return min(width * 0.62, 80.0), unit * 0.28 * stretch
        if kind == "paper":
            return unit * 0.22 * stretch, unit * 0.29 * stretch
        if kind == "store":
            return unit * 0.32 * stretch, unit * 0.3 * stretch
        return unit * 0.25 * stretch, unit * 0.25 * stretch

    def _put_subprocess(self, row_id: int, column: int) -> int:
        """A sub-process over two cells with a small process inside."""
        row, (step_u, step_v) = self.grid.rows[row_id], (self.grid.column_step, self.grid.row_step)
        u0 = self.grid.columns[column] - step_u * between(self.rng, 0.38, 0.42)
        u1 = self.grid.columns[column + 1] + step_u * between(self.rng, 0.36, 0.42)
        half = min(step_v * between(self.rng, 0.36, 0.42), 60.0)
        rect = _rect(self.grid.point(u0, row.v - half), self.grid.point(u1, row.v + half))
        holder = self._add(Node("subprocess", rect, row.holder), (row_id, column))
        self.cells[row_id, column + 1] = holder
        kinds = pick(
            self.rng, (("start", "task", "end"), ("task", "task"), ("task", "exclusive", "task"), ("start", "task"))
        )
        last = -1
        for i, kind in enumerate(kinds):
            u = u0 + (u1 - u0) * (i + 0.5) / len(kinds)
            width, height = (side * 0.72 for side in self._size(kind))
            v = row.v + between(self.rng, -0.15, 0.15) * half
            node = self._add(Node(kind, centred(*self.grid.point(u, v), width, height), holder))
            if last >= 0:
                self.edges.append(Edge(last, node))
            last = node
        if chance(self.rng, _ATTACHED):
            u = u0 + (u1 - u0) * between(self.rng, 0.3, 0.7)
            self._add(Node("timer", centred(*self.grid.point(u, row.v + half), *self._size("timer")), holder))
        return holder

    def _put_aside(self, row_id: int, column: int) -> int:
        """Data or an annotation: lanes do not hold them, their pool does."""
        kind = pick(self.rng, tuple(_SIDE), tuple(_SIDE.values()))
        row = self.grid.rows[row_id]
        u = self.grid.columns[column] + between(self.rng, -0.15, 0.15) * self.grid.column_step
        v = row.v + between(self.rng, -0.18, 0.12) * self.grid.row_step
        node = self._add(Node(kind, centred(*self.grid.point(u, v), *self._size(kind)), row.pool), (row_id, column))
        self._link_to_nearest(node, row.section)
        return node

    def _link_to_nearest(self, node: int, section: int) -> None:
        rows = {i for i, row in enumerate(self.grid.rows) if row.section == section}
        tasks = [n for (row, _), n in self.cells.items() if row in rows and self.nodes[n].class_id == 2]
        if tasks:
            x, y = self.nodes[node].centre
            near = min(tasks, key=lambda n: abs(self.nodes[n].centre[0] - x) + abs(self.nodes[n].centre[1] - y))
            ends = (near, node) if chance(self.rng, 0.5) else (node, near)
            self.edges.append(Edge(*ends, kind="data"))

    def add_below(self) -> None:
        """Data under the last pool that belong to it all the same."""
        row = self.grid.rows[-1]
        if self.grid.below_v is None:
            return
        for u in self.grid.columns[1:-1:2]:
            if chance(self.rng, _OUTSIDE):
                kind = pick(self.rng, ("paper", "store"))
                rect = centred(*self.grid.point(u, self.grid.below_v), *self._size(kind))
                self._link_to_nearest(self._add(Node(kind, rect, row.pool)), row.section)

    def add_messages(self) -> None:
        """Dashed arrows between pools."""
        pools = [i for i, node in enumerate(self.nodes) if node.kind == "pool"]
        if len(pools) < 2:
            return
        inside = [n for n in self.cells.values() if self.nodes[n].class_id in (2, 3)]
        for _ in range(int(self.rng.integers(1, 4))):
            node = pick(self.rng, inside)
            own = self._pool_of(node)
            others = [pool for pool in pools if abs(pools.index(pool) - pools.index(own)) == 1]
            self.edges.append(Edge(node, pick(self.rng, others), "message"))

    def _pool_of(self, node: int) -> int:
        while self.nodes[node].parent >= 0:
            node = self.nodes[node].parent
        return node

    def _add(self, node: Node, cell: tuple[int, int] | None = None) -> int:
        self.nodes.append(node)
        if cell is not None:
            self.cells[cell] = len(self.nodes) - 1
        return len(self.nodes) - 1


def _rect(first: tuple[float, float], second: tuple[float, float]) -> Rect:
    return first[0], first[1], second[0], second[1]
