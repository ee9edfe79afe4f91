"""docs/architecture.md shows the code as it is: the order of the packages, all rooms, and the road of a batch."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import kd_yolo

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kd_yolo"
DOCUMENT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return DOCUMENT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_figure_has_the_packages_in_their_order() -> None:
    figure = re.findall(r"^([a-z]+) {2,}\S", section("The map"), flags=re.MULTILINE)
    assert figure[::-1] == re.findall(r"``(\w+)``", kd_yolo.__doc__ or "")


def test_every_room_is_listed_once() -> None:
    listed = re.findall(r"^\| `([\w/]+)` \| \S", section("The rooms"), flags=re.MULTILINE)
    rooms = [file.parent.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("__init__.py")]
    expected = {room for room in rooms if "/" in room}
    assert set(listed) ^ expected == set(), "a room is not in docs/architecture.md, or is there no more"
    assert len(listed) == len(expected)


def defined(file: Path) -> set[str]:
    """Functions and classes of a file, methods as ``Class.method``."""
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_the_road_of_a_batch_names_what_there_is() -> None:
    road = section("The road of one batch")
    stations = re.findall(r"`(kd_yolo/[\w/]+\.py)`\s`([\w.]+)`", road)
    assert len(stations) == road.count("`kd_yolo/") >= 14
    assert [f"{file}: {name}" for file, name in stations if name not in defined(ROOT / file)] == []


def test_the_stations_are_numbered() -> None:
    numbers = re.findall(r"^\| (\d+) \|", section("The road of one batch"), flags=re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
