"""How ``PruneModel`` is called: the customer's words for ours, target files where data was meant, and typing errors."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest

PathLike = str | os.PathLike[str]
# What the class that PruneModel replaces, and the articles around it, call ours.
ALIASES = {
    "weights": "model",
    "data_path": "data",
    "t_weight": "teacher",
    "t_weights": "teacher",
    "loss": "loss_type",
}
TARGETS = {".pt", ".pth"}  # no data set ends like this
PLACES = {
    "project": "folder= of PruneModel is where everything goes",
    "name": "folder= of PruneModel is where everything goes",
    "exist_ok": "a folder that is there is gone on with",
    "resume": "the same call in the same folder goes on where it was cut off",
}


@dataclass(frozen=True)
class Call:
    """The paths that a stage was called with.

    Attributes:
        method: as messages name it.
        path: the one without a name: data, or the file to write.
        data: ``data=``.
        save_dir: ``save_dir=``.
    """

    method: str
    path: PathLike | None
    data: PathLike | None
    save_dir: PathLike | None

    def resolve(self, arguments: dict[str, Any]) -> tuple[str | None, PathLike | None]:
        """Data and target; ``data_path`` leaves ``arguments``.

        Raises:
            ConfigError: two of one kind, or a wrong one.
        """
        data = take(arguments, "data", self.data, self.method)
        return data_and_target(self.method, self.path, data, self.save_dir)


def take(arguments: dict[str, Any], ours: str, value: Any, method: str) -> Any:
    """The value of a parameter that may have come under another name; the other name leaves ``arguments``.

    Raises:
        ConfigError: it came under two names.
    """
    for alias in [word for word, meant in ALIASES.items() if meant == ours and word in arguments]:
        other = arguments.pop(alias)
        if other is not None and value is not None:
            raise ConfigError(
                f"{method} got {ours}={str(value)!r} and {alias}={str(other)!r}, which mean the same: give one of them."
            )
        value = value if other is None else other
    return value


def data_and_target(
    method: str, path: PathLike | None, data: PathLike | None, save_dir: PathLike | None
) -> tuple[str | None, PathLike | None]:
    """What a path without a name is: a ``.pt`` cannot be data, it is the file that the result is copied to.

    Args:
        method: as messages name it.
        path: the path without a name.
        data: ``data=``.
        save_dir: ``save_dir=``.

    Returns:
        Data and target.

    Raises:
        ConfigError: two data sets, two targets, or a ``.pt`` as ``data=``.
    """
    if data is not None and _is_target(data):
        raise ConfigError(
            f"{method} got data={str(data)!r}: data is a YAML such as my/data.yaml, the file to write is save_dir=."
        )
    if path is not None and _is_target(path):
        return data if data is None else name(data), one_target(method, path, save_dir)
    if path is not None and data is not None:
        raise ConfigError(
            f"{method} got two data sets, {str(path)!r} and data={str(data)!r}: give one of them, and the file to write"
            " as save_dir='weights/name.pt'."
        )
    data = path if path is not None else data
    return data if data is None else name(data), save_dir


def factor_and_target(
    first: float | PathLike | None, factor: float | None, save_dir: PathLike | None
) -> tuple[Any, PathLike | None]:
    """What ``prune()``'s word without a name is: a number is the factor, a path the target."""
    if isinstance(first, str | os.PathLike):
        return factor, one_target("prune()", first, save_dir)
    if first is not None and factor is not None:
        raise ConfigError(f"prune() got two factors, {first!r} and factor={factor!r}: give one of them.")
    return first if first is not None else factor, save_dir


def one_target(method: str, path: PathLike, save_dir: PathLike | None) -> PathLike:
    """The file to write.

    Raises:
        ConfigError: two are named.
    """
    if save_dir is not None:
        raise ConfigError(
            f"{method} got two files to write, {str(path)!r} and save_dir={str(save_dir)!r}: give one of them."
        )
    return path


def check_target(save_dir: PathLike | None) -> None:
    """Refuses a target that is not the name of a ``.pt`` file."""
    named = isinstance(save_dir, str | os.PathLike)
    if save_dir is not None and (not named or Path(save_dir).suffix != ".pt" or Path(save_dir).is_dir()):
        raise ConfigError(f"save_dir is {str(save_dir)!r}, expected the name of a file such as weights/prune.pt.")


def check_loss(loss_type: Any) -> None:
    """Refuses a file where the loss was meant."""
    if isinstance(loss_type, os.PathLike) or (isinstance(loss_type, str) and _is_target(loss_type)):
        raise ConfigError(
            f"loss_type is {str(loss_type)!r}, which is a file: distill(teacher, loss_type, save_dir), for example"
            " distill('weights/sparse.pt', 'mgd', 'weights/distill.pt')."
        )


def check_names(method: str, arguments: Collection[str], own: Collection[str], others: Collection[str] = ()) -> None:
    """Refuses unknown names, with the nearest of those that are known.

    Args:
        method: as the message names it.
        arguments: the names that were given.
        own: its own parameters.
        others: ultralytics' arguments, where it takes them.

    Raises:
        ConfigError: the first unknown name, or one whose place is taken by the chain.
    """
    for word in arguments:
        if word in PLACES and word not in own:
            raise ConfigError(f"{method} takes no {word}=: {PLACES[word]}.")
        if word not in own and word not in others:
            raise ConfigError(f"{method} has no parameter '{word}'.{_hint(word, own, others)}")


def _hint(word: str, own: Collection[str], others: Collection[str]) -> str:
    """The nearest spelling; the method's own parameters come first where one is near."""
    words = [*own, *(alias for alias, ours in ALIASES.items() if ours in own)]
    is_near = difflib.get_close_matches(word, words, n=1, cutoff=0.75)
    return nearest(word, words if is_near else [*words, *others])


def _is_target(path: PathLike) -> bool:
    return Path(path).suffix.lower() in TARGETS


def name(path: PathLike) -> str:
    """A path as text; a :class:`~kd_yolo.pipeline.step.Step` is the path that it made."""
    return os.fspath(path)
