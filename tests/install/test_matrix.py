"""``make check-matrix``: every pair of Python and ultralytics is tried, what is missing is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = """setup:
\t@mkdir -p $(VENV)/bin && cp bin/environment $(VENV)/bin/python
test:
\t@echo test $(TESTS) >> log && test "$$FAILS" != 1
"""
INTERPRETER = "#!/bin/sh\nexit 0"
ENVIRONMENT = """#!/bin/sh
case "$*" in
*pip*) echo "$@" >> log ;;
*) echo 8.4.999 ;;
esac
"""


def run(folder: Path, code: int, **environment: str) -> tuple[list[str], str]:
    """Runs it with a Python 3.10 and nothing else."""
    (folder / ".ci").mkdir()
    (folder / "bin").mkdir()
    shutil.copy(ROOT / ".ci" / "matrix", folder / ".ci" / "matrix")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "Makefile").write_text(MAKEFILE)
    for name, text in {
        "python3.10": INTERPRETER,
        "environment": ENVIRONMENT,
        "python3.13": "#!/bin/sh\nexit 127",
    }.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "MATRIX": str(folder / "matrix"), "PYENV_ROOT": str(folder), **environment}
    done = subprocess.run([".ci/matrix"], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else [], done.stdout


def test_each_python_meets_the_lowest_and_the_newest_ultralytics(tmp_path: Path) -> None:
    log, said = run(tmp_path, 0, TESTS="tests/yolo")
    lowest, newest = (line.split()[-1] for line in log if "pip" in line)
    assert lowest.startswith("ultralytics==8.4.")
    assert newest == f"ultralytics>={lowest.removeprefix('ultralytics==')},<8.5"
    assert [line for line in log if "pip" not in line] == ["test tests/yolo"] * 2
    assert said.count("passed") == 2
    assert "no python3.13 on this machine" in said


@pytest.mark.parametrize("environment", [{"FAILS": "1"}, {"PYTHONS": "3.13"}], ids=["failure", "nothing ran"])
def test_exit_code(environment: dict[str, str], tmp_path: Path) -> None:
    run(tmp_path, 1, **environment)
