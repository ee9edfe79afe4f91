"""Folders of sets and runs: complete or absent, reused when equal, never written over somebody's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.folders import folder_beside

Record = dict[str, Any]
Progress = Callable[[int, int], None]


def find_made(
    out_dir: Path,
    generator: str,
    wanted: Record,
    kinds: Mapping[str, str],
    *,
    force: bool,
    listing: str = "data.yaml",
) -> Record | None:
    """The header of the set when it is there already; None when there is room for it.

    Args:
        out_dir: the set's folder.
        generator: what ``meta.json`` calls the maker of the set.
        wanted: what the header must say for the set to be reused.
        kinds: folders with a file per image, and how these files end.
        force: another set of this generator may be replaced.
        listing: the file beside ``meta.json`` that a whole set has.

    Raises:
        ConfigError: ``out_dir`` holds something else.
    """
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return None
    header = _read_header(out_dir, generator)
    if header is None:
        raise ConfigError(
            f"{out_dir} is not empty and was not made by this generator: it is left alone."
            " Name another folder or move it away."
        )
    if {key: header.get(key) for key in wanted} == wanted and _is_complete(out_dir, header, kinds, listing):
        return header
    if force:
        return None
    there = ", ".join(f"{key} {header.get(key)}" for key in wanted)
    asked = ", ".join(f"{key} {value}" for key, value in wanted.items())
    raise ConfigError(
        f"{out_dir} holds another {generator} set, or an incomplete one ({there}; asked for: {asked})."
        " Use --force to replace it or name another folder."
    )


def _read_header(out_dir: Path, generator: str) -> Record | None:
    try:
        header = json.loads((out_dir / "meta.json").read_text())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and header.get("generator") == generator else None


def _is_complete(out_dir: Path, header: Record, kinds: Mapping[str, str], listing: str) -> bool:
    """Whether nobody has taken images or labels out of the set."""
    return (out_dir / listing).is_file() and all(
        sum(1 for _ in (out_dir / kind / split).glob(f"*.{ending}")) == count
        for kind, ending in kinds.items()
        for split, count in header["images"].items()
    )


def write_whole(out_dir: Path, write: Callable[[Path], Record]) -> Record:
    """Writes a set beside its folder and moves it into place when it is complete.

    Args:
        out_dir: the set's folder; what is there is replaced.
        write: fills the folder that it is given and returns the header.

    Returns:
        The header, which is also in ``meta.json``.

    Raises:
        ConfigError: another process uses ``out_dir``.
    """
    with folder_beside(out_dir) as partial:
        header = write(partial)
        (partial / "meta.json").write_text(json.dumps(header, indent=2) + "\n")
    return header
