"""Which files are images."""

from __future__ import annotations

# As ultralytics has them: other files in an image folder are passed over.
IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in ("avif", "bmp", "dng", "heic", "heif", "jp2", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp")
)
# Images as well, which training does not read: `data check` counts them.
PASSED_OVER = frozenset((".gif", ".jfif", ".jpe", ".jxl", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"))
