"""Tells files apart by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, shortened; of a name that is no file (a model YAML of ultralytics) the name itself."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else str(path)
