"""Every command line that README and docs show is understood: flags, arguments, recipes."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

from kd_yolo.cli import app
from kd_yolo.config.base import RECIPES
from kd_yolo.losses import losses
from kd_yolo.yolo.arguments.check import parse_overrides

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*/README.md"))]
FILES.remove(ROOT / "docs" / "adding.md")  # its commands are run, with what its examples add: tests/test_adding.py
STARTS = {"python train_distill.py": "distill", "python prune.py": "prune", "kd-yolo": ""}
MENTION = re.compile(r"kd-yolo(?: [a-z]+){0,2}|.* \| .*")  # a name, or the grammar of a command
MODULES = sorted({place.partition(":")[0] for place, _ in app.COMMANDS.values()})
MODULES += [f"kd_yolo.cli.search.{part}" for part in ("gallery", "track", "serve")]
OTHER_KEYS = ("compare", "prune", "reid")  # commands whose key=value words are not ultralytics' training arguments


def shown_commands(text: str) -> list[str]:
    """Command lines in code blocks and in backticks, ours only."""
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    parts = [part.strip() for line in lines for part in re.split(r"&&|;|\s#\s", line.removeprefix("$ "))]
    return [part for part in parts if part.startswith(tuple(STARTS)) and not MENTION.fullmatch(part)]


LINES = [(file, line) for file in FILES for line in dict.fromkeys(shown_commands(file.read_text(encoding="utf-8")))]


def words_of(line: str) -> list[str]:
    for start, command in STARTS.items():
        if line.startswith(start):
            rest = shlex.split(re.sub(r"\[[^]]*\]", "", line.removeprefix(start)))
            return [*([command] if command else []), *rest]
    raise AssertionError(line)


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        if hasattr(module, "run_guarded"):
            monkeypatch.setattr(module, "run_guarded", lambda *_, **__: 0)


def test_lines_are_found() -> None:
    assert len(LINES) > 40
    assert {file.name for file, _ in LINES} >= {"README.md", "search.md"}


@pytest.mark.parametrize(("file", "line"), LINES, ids=lambda part: part.name if isinstance(part, Path) else part)
def test_it_is_understood(file: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(line)
    if any(word in {"...", "…"} for word in words):
        words = [word for word in words if word not in {"...", "…"}]
    try:
        code = app.main(words)
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    said = capsys.readouterr()
    assert code == 0, f"{file.name}: {line}\n{said.err}{said.out}"
    pairs = [word for word in words if re.match(r"[a-z0-9_]+=", word)]
    if words[0] not in OTHER_KEYS and words[0] != "league":
        parse_overrides([pair for pair in pairs if "…" not in pair and not pair.endswith("=...")])


@pytest.mark.parametrize(("file", "line"), LINES, ids=lambda part: part.name if isinstance(part, Path) else part)
def test_its_recipes_and_losses_exist(file: Path, line: str) -> None:
    words = words_of(line)
    kind = {"pipeline": "prune", "reid": "reid", "crops": "search"}.get(words[0], "distill")
    for flag, name in itertools.pairwise(words):
        if flag == "--recipe" or (words[0] == "pipeline" and flag == "pipeline"):
            assert name.endswith(".yaml") or (RECIPES / kind / f"{name}.yaml").is_file(), f"{file.name}: {line}"
        if flag == "--loss":
            for part in name.split("+"):
                assert part in losses.names() or (RECIPES / "distill" / f"{part}.yaml").is_file(), (
                    f"{file.name}: {line}"
                )
