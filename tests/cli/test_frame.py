"""One frame for all commands: whatever they do runs under ``run_guarded``, which prepares the process."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import kd_yolo.cli
from kd_yolo.cli.app import COMMANDS
from kd_yolo.cli.search import app as search

CLI = Path(kd_yolo.cli.__file__).parent
TABLES = ("app.py", "search/app.py")  # they call the module of a command
FILES = sorted(CLI.rglob("*.py"))
# Who prepares the process for ultralytics beside the frame, and why.
PREPARE = {
    "run.py": "the frame",
    "league.py": "reads which keys ultralytics has while flags are parsed, before the frame",
    "search/gallery.py": "a query by a crop needs no detector, one by a whole image does",
    "doctor.py": "prints the version",
}


def commands(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions that take the words of a command line and give an exit code."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and "argv" in {argument.arg for argument in node.args.args}:
            yield from [node] if node.returns is not None and ast.unparse(node.returns) == "int" else []


SAYS = {"print", "join", "items"}  # what a command may call outside the frame, before it gives up


def unguarded(function: ast.FunctionDef, others: set[str]) -> list[str]:
    """What it returns that comes neither from the frame, nor from another command, nor after printing its usage."""
    usage = {id(node) for branch in ast.walk(function) if isinstance(branch, ast.If) for node in _usage(branch)}
    framed = {"run_guarded", *others}
    returns = [node for node in ast.walk(function) if isinstance(node, ast.Return) and id(node) not in usage]
    wrong = [
        ast.unparse(node)
        for node in returns
        if not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in framed)
    ]
    return wrong if returns else ["never in the frame"]


def _usage(branch: ast.If) -> list[ast.stmt]:
    """The last line of a branch that only prints."""
    calls = {
        ast.unparse(node.func).rpartition(".")[2]
        for line in branch.body
        for node in ast.walk(line)
        if isinstance(node, ast.Call)
    }
    return branch.body[-1:] if calls <= SAYS else []


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CLI).as_posix())
def test_what_a_command_does_runs_in_the_frame(file: Path) -> None:
    if file.relative_to(CLI).as_posix() in TABLES:
        return
    found = list(commands(parsed(file)))
    names = {function.name for function in found}
    assert {function.name: unguarded(function, names) for function in found} == {name: [] for name in names}


@pytest.mark.parametrize("place", sorted({place for place, _ in [*COMMANDS.values(), *search.COMMANDS.values()]}))
def test_every_command_is_one_that_the_test_above_sees(place: str) -> None:
    module, _, function = place.partition(":")
    file = Path(str(importlib.import_module(module).__file__))
    home = file if file.name != "__init__.py" else file.with_name("app.py")
    assert (function or "main") in {found.name for found in commands(parsed(home))}


def test_nobody_else_prepares_the_process() -> None:
    words = ("prepare_process()", "check_ultralytics()", "guard_environment()")
    found = {
        file.relative_to(CLI).as_posix() for file in FILES if any(word in file.read_text("utf-8") for word in words)
    }
    assert found == PREPARE.keys()


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ("return run_guarded(work)", True),
        ("if not argv:\n        print('usage')\n        return 2\n    return run_guarded(work)", True),
        ("if not argv:\n        work()\n        return 2\n    return run_guarded(work)", False),
        ("return _main(words)", True),
        ("work()\n    return 0", False),
        ("work()", False),
        ("return work()", False),
        ("return int(work())", False),
    ],
)
def test_a_command_outside_is_seen(body: str, is_right: bool) -> None:
    (function,) = commands(ast.parse(f"def main(argv: list[str]) -> int:\n    {body}"))
    assert (unguarded(function, {"_main"}) == []) is is_right
