"""What killed processes leave behind: files and folders that were to be renamed when they were complete.

Their names hold the number of their writer, ``.results.csv.4711.part`` or ``.street.4711.partial-k3x9``, see
:func:`kd_yolo.base.files.unfinished`, so that nothing of a process that still writes is ever removed.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from kd_yolo.base.lock import is_alive

_UNFINISHED = re.compile(r"\..+?(?:\.(\d{1,10}))?\.(?:part|partial-\w+|old-\w+)(?:\.\w+)?")


def remove_leftovers(*folders: Path, of: str | None = None, is_locked: bool = False) -> list[Path]:
    """Removes unfinished files and folders whose writer has ended.

    Args:
        folders: are looked into, not below; they need not exist.
        of: only what was to become the file or folder of this name.
        is_locked: the caller holds the lock of all writers: whatever is unfinished was left behind, on a machine
            whose numbers of processes say nothing here too.

    Returns:
        What was removed.
    """
    removed = []
    for folder in folders:
        with suppress(OSError):
            for entry in sorted(folder.iterdir()):
                found = _UNFINISHED.fullmatch(entry.name)
                mine = of is None or entry.name.startswith(f".{of}.")
                if found and mine and (is_locked or _is_dead(found[1])):
                    _remove(entry)
                    removed.append(entry)
    return removed


def _is_dead(writer: str | None) -> bool:
    return writer is not None and int(writer) != os.getpid() and not is_alive(int(writer))


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
        return
    with suppress(OSError):
        entry.unlink()
