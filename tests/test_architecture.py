"""The rules of the layout: imports point one way, one door to ultralytics, nothing grows too long."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import kd_yolo

ROOT = Path(__file__).resolve().parents[1]
ORDER = re.findall(r"``(\w+)``", kd_yolo.__doc__ or "")  # the one list of the packages, from the ground up
# docs/adr/0001: the part of `distill` that runs inside ultralytics' loop, or starts it
TRAINER = {
    f"distill/{name}.py"
    for name in ("trainer", "checkpoint", "job", "demo", "unlabelled", "start", "teachers/cached", "teachers/runtime")
}
TRAINER.add("prune/sparse/trainer.py")
TRAINER |= {f"training/{path.name}" for path in (Path(__file__).resolve().parents[1] / "kd_yolo/training").glob("*.py")}
DOORS = {"__init__", "__main__"}  # the first hands out the trainer, lazily; the second starts the command
MAX_FILE, MAX_FUNCTION = 300, 60

PACKAGE = ROOT / "kd_yolo"
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
SOURCES = sorted(
    path.relative_to(ROOT) for folder in ("kd_yolo", "patches", "tests") for path in (ROOT / folder).rglob("*.py")
)


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Everything in a file."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@cache
def imports(path: Path) -> list[tuple[int, str]]:
    """Line and name of everything that a file imports, inside functions too; ``from a import b`` gives ``a.b``."""
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def package_of(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def test_every_package_has_its_place() -> None:
    assert {package_of(file) for file in FILES} - DOORS == set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_imports_point_one_way() -> None:
    wrong = []
    for file in FILES:
        own = package_of(file)
        if own in DOORS:
            continue
        for line, name in imports(PACKAGE / file):
            parts = name.split(".")
            if (
                parts[0] == "kd_yolo"
                and len(parts) > 1
                and parts[1] in ORDER
                and ORDER.index(parts[1]) > ORDER.index(own)
            ):
                wrong.append(f"kd_yolo/{file}:{line}: '{own}' imports '{parts[1]}', which comes after it")
    assert wrong == []


def test_the_one_door_to_ultralytics() -> None:
    wrong = [
        f"kd_yolo/{file}:{line}: {name}"
        for file in FILES
        if package_of(file) != "yolo" and file.as_posix() not in TRAINER
        for line, name in imports(PACKAGE / file)
        if name.split(".")[0] == "ultralytics"
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["losses", "geometry"])
def test_formulas_know_no_detector_and_no_pruner(package: str) -> None:
    names = {name.split(".")[0] for file in FILES if package_of(file) == package for _, name in imports(PACKAGE / file)}
    assert not names & {"ultralytics", "torch_pruning"}


def test_losses_and_reid_start_without_ultralytics() -> None:
    modules = ["kd_yolo", "kd_yolo.losses", "kd_yolo.geometry.schedule", "kd_yolo.config.distill", "kd_yolo.data"]
    for file in FILES:
        if package_of(file) == "reid":
            modules.append(f"kd_yolo.{'.'.join(file.with_suffix('').parts)}".removesuffix(".__init__"))
    script = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    script += "    assert 'ultralytics' not in sys.modules, name\n"
    subprocess.run([sys.executable, "-c", script, *modules], cwd=ROOT, check=True)


def test_no_file_is_too_long() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE} == {}


def test_no_function_is_too_long() -> None:
    long = {}
    for path in SOURCES:
        for node in nodes(ROOT / path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{path}:{node.lineno} {node.name}"] = lines
    assert long == {}


CLOCKS = {"time.time", "time.perf_counter", "time.process_time", "time.thread_time", "timeit"}
CLOCKS |= {f"{clock}_ns" for clock in CLOCKS}


def clocks_read(found: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Where a module of tests reads a clock; ``time.monotonic`` is for waiting until something happens."""
    for node in found:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name in CLOCKS or name.split(".")[0] == "timeit")


def test_no_test_times_anything() -> None:
    """Other work on the machine must not fail a test: count operations or bytes; benchmarks/ takes the times."""
    found = {
        f"{path}:{line}: {name}"
        for path in SOURCES
        if path.parts[0] == "tests"
        for line, name in clocks_read(nodes(ROOT / path))
    }
    assert found == set()


@pytest.mark.parametrize(
    "line", ["import timeit", "t = time.time()", "from time import perf_counter", "time.time_ns()"]
)
def test_a_clock_is_seen(line: str) -> None:
    assert list(clocks_read(ast.walk(ast.parse(line))))
    assert not list(clocks_read(ast.walk(ast.parse("import time\nuntil = time.monotonic() + 5\ntime.sleep(1)"))))


def test_reading_a_data_yaml_is_light() -> None:
    script = "import sys; import kd_yolo.data.spec; print([m for m in sys.modules if m.startswith('kd_yolo')])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = ast.literal_eval(done.stdout)
    assert len(modules) <= 20
    assert not any(module.startswith(("kd_yolo.builtin", "kd_yolo.yolo")) for module in modules)
