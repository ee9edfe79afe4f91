"""What killed processes leave behind: files and folders that were to be renamed when they were complete.

Their names hold the number of their writer, ``.results.csv.4711.part`` or ``.street.4711.partial-k3x9``, so that
nothing of a process that still writes is ever removed.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from kd_yolo.base.lock import is_alive

_UNFINISHED = re.compile(r"\..+\.(\d{1,10})\.(?:part|partial-\w+|old-\w+)(?:\.\w+)?")


def remove_leftovers(*folders: Path, of: str | None = None) -> list[Path]:
    """Removes unfinished files and folders whose writer has ended.

    Args:
        folders: are looked into, not below; they need not exist.
        of: only what was to become the file or folder of this name.

    Returns:
        What was removed.
    """
    removed = []
    for folder in folders:
        with suppress(OSError):
            for entry in sorted(folder.iterdir()):
                found = _UNFINISHED.fullmatch(entry.name)
                mine = of is None or entry.name.startswith(f".{of}.")
                if found and mine and int(found[1]) != os.getpid() and not is_alive(int(found[1])):
                    _remove(entry)
                    removed.append(entry)
    return removed


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
        return
    with suppress(OSError):
        entry.unlink()
