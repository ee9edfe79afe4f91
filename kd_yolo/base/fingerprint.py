"""Tells files apart by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, shortened; of a name that is no file (a model YAML of ultralytics) the name itself."""
    file = Path(path)
    return content_hash(file).hex()[:16] if file.is_file() else str(path)


def content_hash(file: Path, count: int | None = None) -> bytes:
    """SHA-256 of a file's content, which is read in blocks.

    Args:
        file: regular file.
        count: its first bytes only; None for all.
    """
    digest, left = hashlib.sha256(), count
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES)):
            digest.update(block)
            left = None if left is None else left - len(block)
    return digest.digest()
