"""README does what it shows: every block is run, and the output under a command is what the command prints."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from ultralytics import YOLO

from kd_yolo.cli import app
from tests.conftest import write_tiny_data

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
# What makes a training short; of a key that is given twice the last value counts.
SHORT = {"epochs": 1, "imgsz": 64, "batch": 4, "workers": 0, "device": "cpu", "plots": True, "verbose": False}
TRAINS = ("python train_distill.py", "kd-yolo retrain")


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, make_weights: Any) -> Iterator[Path]:
    """A folder with what README takes for granted: official weights, ``my/data.yaml``, a detector of its classes."""
    folder = tmp_path_factory.mktemp("readme")
    write_tiny_data(folder / "my")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("yolov8n", "yolov8m"):
            YOLO(f"{name}.yaml").save(f"{name}.pt")
        shutil.copy(make_weights("yolov8n.yaml", 2), "best.pt")
        yield folder


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block with the lines that are shown under it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, *shown = part.rstrip("\n").splitlines()
        yield line.partition("  # ")[0].strip(), shown


def run(line: str) -> str:
    """What a command prints, on both streams."""
    words = shlex.split(line)
    if line.startswith(TRAINS):
        words += [f"{key}={value}" for key, value in SHORT.items()]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        if words[0] == "kd-yolo":
            code = app.main(words[1:])
        else:
            assert words[0] == "python"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", words[1:])
                with pytest.raises(SystemExit) as end:
                    runpy.run_path(str(ROOT / words[1]), run_name="__main__")
            code = int(end.value.code or 0)
    assert code == 0, printed.getvalue()
    return printed.getvalue()


def differences(printed: str, shown: list[str]) -> list[str]:
    """Shown lines that were not printed, in their order; ``...`` stands for any lines, or for any text in a line."""
    there = iter(line.rstrip() for line in printed.splitlines())
    return [
        line
        for line in shown
        if line != "..."
        and not any(fnmatchcase(found, re.sub(r"([\[?])", r"[\1]", line).replace("...", "*")) for found in there)
    ]


CONSOLE = [command for kind, block in BLOCKS if kind == "console" for command in commands(block)]


@pytest.mark.parametrize(("line", "shown"), CONSOLE, ids=[line for line, _ in CONSOLE])
def test_a_command_prints_what_is_shown(line: str, shown: list[str]) -> None:
    assert shown, "README shows what its commands print"
    assert differences(run(line), shown) == []


def test_the_python_block(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert blocks
    for block in blocks:
        short = ", ".join(f"{key}={value!r}" for key, value in SHORT.items())
        code = (
            block.replace("epochs=100", f"{short}, project={str(tmp_path)!r}", 1)
            .replace("epochs=100", short)
            .replace('data="my/data.yaml"))', 'data="my/data.yaml", imgsz=64))')
        )
        assert code.count(short) == block.count("epochs=100") == 2
        space: dict[str, Any] = {}
        exec(compile(code, "README.md", "exec"), space)
    assert "mAP50-95" in capsys.readouterr().out


def test_what_is_not_printed_is_found() -> None:
    shown = ["a 1", "...", "c ... d"]
    assert differences("a 1\nb\nc 2 d\n", shown) == []
    assert differences("c 2 d\na 1\n", shown) == ["c ... d"]
    assert differences("a 2\nc 2 d\n", shown) == ["a 1", "c ... d"]
