"""``.ci/run``: an environment is kept by the hash of pyproject.toml; a half-made, an old or a busy one is not used."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = """setup: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml
\t@mkdir -p $(VENV)/bin && printf '#!/bin/sh\\necho reinstalled >> log; exit $$BROKEN' > $(VENV)/bin/python
\t@chmod +x $(VENV)/bin/python && echo built in $(VENV) >> log && touch $@
check test test-slow test-e2e:
\t@echo $@ >> log && test $@ != "$$FAILS"
"""
TARGETS = ["check", "test", "test-slow", "test-e2e"]


class Checkout:
    """A checkout whose Makefile says what it would do."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache / "kd-yolo-ci"
        (folder / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
        (folder / "Makefile").write_text(MAKEFILE)
        (folder / "pyproject.toml").write_text("one")
        (folder / "bin").mkdir()
        (folder / "bin" / "id").write_text("#!/bin/sh\necho 1000")  # not root: no Chromium is installed
        (folder / "bin" / "id").chmod(0o755)

    def run(self, code: int = 0, **environment: str) -> tuple[list[str], str]:
        """Runs it; returns what the Makefile and pip were asked for, and what was printed."""
        (self.folder / "log").write_text("")
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(self.cache.parent), **environment}
        done = subprocess.run(
            ["bash", ".ci/run"], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return (self.folder / "log").read_text().splitlines(), done.stdout

    def kept(self) -> list[Path]:
        return sorted(path for path in self.cache.iterdir() if path.is_dir())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a", tmp_path / "cache")


def test_the_second_run_takes_the_environment_of_the_first(checkout: Checkout, tmp_path: Path) -> None:
    log, said = checkout.run()
    (kept,) = checkout.kept()
    assert log == [f"built in {kept}", *TARGETS]
    assert "ci: passed in" in said
    other = Checkout(tmp_path / "b", checkout.cache.parent)  # its files are newer
    assert other.run()[0] == ["reinstalled", *TARGETS]
    assert checkout.kept() == [kept]


def test_other_requirements_get_an_environment_of_their_own(checkout: Checkout) -> None:
    checkout.run()
    (checkout.folder / "pyproject.toml").write_text("two")
    assert checkout.run()[0][0].startswith("built in")
    assert len(checkout.kept()) == 2


@pytest.mark.parametrize("how", ["cut off", "broken"])
def test_a_half_made_environment_is_made_again(how: str, checkout: Checkout) -> None:
    checkout.run()
    (kept,) = checkout.kept()
    (kept / "left over").touch()
    if how == "cut off":
        (kept / ".installed").unlink()
    log, _ = checkout.run(BROKEN="1" if how == "broken" else "0")
    assert f"built in {kept}" in log
    assert not (kept / "left over").exists()


def test_after_a_week_it_is_made_again(checkout: Checkout) -> None:
    checkout.run()
    (kept,) = checkout.kept()
    (checkout.cache / "other").mkdir()
    (checkout.cache / "young").mkdir()
    for old in (kept, checkout.cache / "other"):
        os.utime(old, (0, 0))
    assert checkout.run()[0][0] == f"built in {kept}"
    assert checkout.kept() == [kept, checkout.cache / "young"]


def test_a_busy_environment_is_left_alone(checkout: Checkout) -> None:
    checkout.run()
    (kept,) = checkout.kept()
    os.utime(kept, (0, 0))
    with subprocess.Popen(["flock", f"{kept}.lock", "cat"], stdin=subprocess.PIPE) as holder:
        while subprocess.run(["flock", "-n", f"{kept}.lock", "true"], check=False).returncode == 0:
            pass
        log, said = checkout.run()
        assert "another run uses" in said
        assert log[0].startswith("built in")
        assert str(kept) not in log[0]
        assert (kept / ".installed").is_file()
        holder.communicate()


def test_it_works_where_nothing_can_be_kept(checkout: Checkout) -> None:
    checkout.cache.parent.write_text("a file")
    log, _ = checkout.run()
    assert log[1:] == TARGETS
    assert not Path(log[0].removeprefix("built in ")).exists()


def test_the_first_failure_ends_it(checkout: Checkout) -> None:
    log, said = checkout.run(code=2, FAILS="test")
    assert log[1:] == ["check", "test"]
    assert "ci: FAILED in test, after" in said
