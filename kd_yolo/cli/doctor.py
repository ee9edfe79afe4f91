"""``kd-yolo doctor``: what is installed, what the machine offers, and whether a forward pass works."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence

from kd_yolo.base.extras import EXTRAS, missing_of
from kd_yolo.cli.about import About
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded

PACKAGES = ("kd-yolo", "torch", "torchvision", "ultralytics", "opencv-python", "numpy", "pydantic", "tyro")
ABOUT = About("Prints what is installed and what the machine offers, runs a tiny forward pass.", "kd-yolo doctor")


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo doctor") -> int:
    """Runs the command and returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parse_flags(Flags, words, prog=prog, description=ABOUT)
    return run_guarded(_run)


def _run() -> None:
    from kd_yolo.yolo.guard import check_ultralytics

    print(f"python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in PACKAGES:
        print(f"{package:13} {_version_of(package) or 'not installed as a package'}")
    import torch

    from kd_yolo.yolo.health import is_online, tiny_forward

    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"threads       {torch.get_num_threads()}")
    print(f"devices       cpu{''.join(f', cuda:{i} {name}' for i, name in enumerate(devices))}")
    for extra, absent in _extras().items():
        line = f"lacks {_first_few(absent)}: pip install 'kd-yolo[{extra}]'" if absent else "installed"
        print(f"[{extra}]".ljust(13), line)
    print(f"network       {'online' if is_online() else 'offline: official weights cannot be fetched, give files'}")
    print(f"ultralytics   {check_ultralytics()} has the seams that the trainers need")
    print(f"forward       {tiny_forward()}")


def _extras() -> dict[str, list[str]]:
    """Every extra that the installed package declares, with its packages that are absent.

    In a checkout that is not installed, the extras of :data:`EXTRAS`.
    """
    from packaging.requirements import Requirement

    try:
        own = importlib.metadata.metadata("kd-yolo")
    except importlib.metadata.PackageNotFoundError:
        return {extra: missing_of(extra) for extra in EXTRAS}
    needed = [Requirement(line) for line in own.get_all("Requires-Dist") or []]
    optional = [(item.name, item.marker) for item in needed if item.marker and not item.marker.evaluate({"extra": ""})]
    return {
        extra: [name for name, marker in optional if marker.evaluate({"extra": extra}) and not _version_of(name)]
        for extra in own.get_all("Provides-Extra") or []
    }


def _first_few(names: list[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
