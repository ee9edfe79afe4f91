"""The network that is meant when nobody names one: the newest that was trained here, else a file in ``weights/``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.cli.closing import shell_path

OFFICIAL = "yolov8n.pt"


def find_model(*, train: bool) -> tuple[str, str]:
    """Weights to work on, and a line that says which they are and why.

    Args:
        train: may the demo's student be trained where there are none; a dry run may not.

    Raises:
        InputError: there are none, and none may be trained.
    """
    path = _newest(Path("runs").glob("**/weights/best.pt"))
    if path is not None:
        return str(path), f"no --model: {shell_path(path)}, the newest under runs/"
    path, why = _in_weights()
    if path is not None:
        return str(path), f"no --model: {shell_path(path)}, {why}"
    if not train:
        raise InputError(
            "no --model, and no weights in runs/ or weights/: name the weights with --model best.pt, or run without"
            " --dry-run once, which trains the demo's student."
        )
    from kd_yolo.distill.demo_student import train_demo_student

    print(
        "no --model, and no weights in runs/ or weights/: the demo's student is trained first, in minutes", flush=True
    )
    best = train_demo_student(print).best
    return str(best), f"no --model: {shell_path(best)}, the demo's student"


def _in_weights() -> tuple[Path | None, str]:
    """The only file of ``weights/``, or the official one, else the newest; here, then in the checkout."""
    from kd_yolo.base.places import project_folders

    for folder in project_folders("weights"):
        files = sorted(folder.glob("*.pt"))
        if len(files) == 1 and _is_network(files[0]):
            return files[0], f"the only one in {shell_path(folder)}"
        if folder / OFFICIAL in files and _is_network(folder / OFFICIAL):
            return folder / OFFICIAL, f"of those in {shell_path(folder)}"
        path = _newest(files)
        if path is not None:
            return path, f"the newest in {shell_path(folder)}"
    return None, ""


def _newest(files: Iterable[Path]) -> Path | None:
    """The newest that can be opened: a ReID network's ``best.pt``, for one, cannot."""
    ranked = sorted((file for file in files if file.is_file()), key=lambda file: (-file.stat().st_mtime_ns, str(file)))
    return next((file for file in ranked if _is_network(file)), None)


def _is_network(file: Path) -> bool:
    from kd_yolo.yolo.files.loading import load_checkpoint

    try:
        load_checkpoint(file)
    except KDYoloError:
        return False
    return True
