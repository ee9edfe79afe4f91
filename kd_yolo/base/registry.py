"""Name -> class. Unknown names and unknown parameters are errors that offer the nearest spelling."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from kd_yolo.base.errors import ConfigError

T = TypeVar("T")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the closest choice, or an empty string."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""


class Registry(Generic[T]):
    """Classes by name, built from plain parameters so that YAML and the command line can name them.

    Args:
        what: what is registered, singular, as error messages name it (``"loss"``).
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that files a class under ``name``."""

        def file(cls: type[T]) -> type[T]:
            assert name not in self._classes, f"{self.what} '{name}' is registered twice"
            self._classes[name] = cls
            return cls

        return file

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._classes)

    def get(self, name: str) -> type[T]:
        """The class filed under ``name``.

        Raises:
            ConfigError: no such name; the message lists the names and the nearest spelling.
        """
        if name not in self._classes:
            raise ConfigError(
                f"unknown {self.what} '{name}'.{nearest(name, self._classes)} Known: {', '.join(self.names())}."
            )
        return self._classes[name]

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """The constructor parameters of the class filed under ``name``."""
        return dict(inspect.signature(self.get(name)).parameters)

    def build(self, name: str, /, **params: Any) -> T:
        """Builds the class filed under ``name``.

        Raises:
            ConfigError: unknown name, unknown parameter, or a required parameter is missing.
        """
        known = self.parameters(name)
        for key in params:
            if key not in known:
                raise ConfigError(
                    f"{self.what} '{name}' has no parameter '{key}'.{nearest(key, known)}"
                    f" It takes: {', '.join(known) or 'none'}."
                )
        missing = [k for k, p in known.items() if p.default is p.empty and k not in params]
        if missing:
            raise ConfigError(f"{self.what} '{name}' needs the parameter(s) {', '.join(missing)}.")
        return self.get(name)(**params)
