"""What tests of bad input share."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from kd_yolo.cli.app import main

CROPS = [f"{who:04d}_c{camera}s1_000001_00.jpg" for who in (1, 2, 3) for camera in (1, 2)]


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def code_of(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as error:  # of the parser
        return int(error.code or 0)
