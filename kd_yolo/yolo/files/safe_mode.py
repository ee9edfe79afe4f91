"""Makes ultralytics load by our rules too, where it opens checkpoints itself: YOLO(path), resume, the end of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ultralytics.nn.tasks as tasks
from ultralytics.utils import WEIGHTS_DIR, checks, torch_utils

from kd_yolo.yolo.data.guard import install_data_guard
from kd_yolo.yolo.description.model_yaml import load_model_yaml
from kd_yolo.yolo.files.loading import check_models, load_checkpoint_dict
from kd_yolo.yolo.files.locate import locate

# What ultralytics' check of mixed precision would fetch on a GPU; of a ConnectionError it makes a warning
AMP_WEIGHTS = Path(WEIGHTS_DIR) / "yolo26n.pt"


class SafeLoad:
    """Stands in for ultralytics' own loading functions, for checkpoints and for model YAMLs.

    Args:
        trusted: files, and folders with all that is in them, which may hold whatever they like.
    """

    def __init__(self, trusted: frozenset[Path] = frozenset()) -> None:
        self.trusted = trusted

    def torch_safe_load(self, weight: str | Path, safe_only: bool | None = None) -> tuple[dict[str, Any], str]:  # noqa: ARG002
        """Replaces ``nn.tasks.torch_safe_load``, the one way of ``load_checkpoint`` to a file; ours is always safe."""
        if Path(weight) == AMP_WEIGHTS and not AMP_WEIGHTS.is_file():
            raise ConnectionError(f"{AMP_WEIGHTS} is not here, and what nobody named is not fetched")
        file = locate(weight)
        return self.torch_load(file), str(file)

    def torch_load(self, f: str | Path, **_: Any) -> dict[str, Any]:
        """Replaces the ``torch_load`` of ``utils.torch_utils``, with which ``strip_optimizer`` opens best.pt."""
        file = Path(f)
        trust = not self.trusted.isdisjoint({file.resolve(), *file.resolve().parents})
        checkpoint = load_checkpoint_dict(file, trust=trust)
        if not trust:
            check_models(file, checkpoint)
        return checkpoint

    def install(self) -> None:
        """Puts the functions in place and switches ultralytics to building models without ``eval``."""
        os.environ["ULTRALYTICS_SAFE_LOAD"] = "1"  # for the processes that DDP starts
        vars(tasks).update(SAFE_LOAD=True, torch_safe_load=self.torch_safe_load)
        vars(torch_utils).update(torch_load=self.torch_load)
        checks.AUTOINSTALL = False  # ultralytics may have been imported before our variables were set
        for module in ("ultralytics.nn.tasks", "ultralytics.nn", "ultralytics.engine.model"):
            if module in sys.modules:  # engine.model takes the name from nn.tasks when it is imported later
                vars(sys.modules[module]).update(yaml_model_load=load_model_yaml)


def enforce_safe_loading() -> None:
    """From here on ultralytics loads checkpoints in this process by the rules of ``load_checkpoint``; may be repeated.

    ``SAFE_LOAD`` alone, upstream's switch, would not do. It refuses without a name, knows no trusted files, lets a
    file call layer classes, and does not reach ``strip_optimizer``, which unpickles best.pt without any limit: a
    stranger's run folder could be resumed from a clean last.pt and still run the code in its best.pt. The switch is
    set as well, because with it models are built from their description without ``eval``.
    """
    if _installed() is None:
        SafeLoad().install()
    install_data_guard()


@contextmanager
def trusted(*paths: str | Path) -> Iterator[None]:
    """Inside, ultralytics loads these files, and what lies in these folders, without limits (``--trust-weights``).

    Args:
        paths: the files that the user trusts, and the run's own folder if their classes end up in its checkpoints.
    """
    before = (tasks.SAFE_LOAD, tasks.torch_safe_load, torch_utils.torch_load, os.environ.get("ULTRALYTICS_SAFE_LOAD"))
    outer = _installed()
    known = outer.trusted if outer else frozenset()
    SafeLoad(known | {Path(path).expanduser().resolve() for path in paths}).install()
    try:
        yield
    finally:
        vars(tasks).update(SAFE_LOAD=before[0], torch_safe_load=before[1])
        vars(torch_utils).update(torch_load=before[2])
        if before[3] is None:
            os.environ.pop("ULTRALYTICS_SAFE_LOAD", None)
        else:
            os.environ["ULTRALYTICS_SAFE_LOAD"] = before[3]


def _installed() -> SafeLoad | None:
    owner = getattr(tasks.torch_safe_load, "__self__", None)
    return owner if isinstance(owner, SafeLoad) else None
