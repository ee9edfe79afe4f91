"""Folders are filled beside and renamed: under the final name there is a whole folder or the previous one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import unfinished
from kd_yolo.base.leftovers import remove_leftovers


@contextmanager
def folder_beside(path: str | Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``path`` when the block ends well, after a crash nothing does.

    Args:
        path: final name; what is there is replaced. What killed writers of it left is removed.

    Yields:
        An empty folder beside.

    Raises:
        ConfigError: another process uses ``path``; it is unharmed.
    """
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, of=target.name)
    partial = Path(tempfile.mkdtemp(prefix=unfinished(target, "partial-").name, dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)
        _replace_folder(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _replace_folder(partial: Path, target: Path) -> None:
    """Renames the filled folder to its name; one to be replaced is renamed first and removed afterwards."""
    old = partial.with_name(partial.name.replace(".partial-", ".old-"))
    if target.exists():
        target.rename(old)
    try:
        partial.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise ConfigError(f"{target} cannot be replaced ({error}): another process may use it. Try again.") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)
