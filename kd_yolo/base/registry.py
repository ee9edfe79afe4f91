"""Name -> class, from this package or from an installed one. Wrong names are errors that offer the nearest spelling."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from kd_yolo.base.errors import ConfigError

T = TypeVar("T")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the closest choice in any case, or an empty string."""
    spelled = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5)
    return f" Did you mean '{spelled[found[0]]}'?" if found else ""


def plugins(group: str) -> dict[str, EntryPoint]:
    """What the installed packages offer under an entry point group, by name; nothing of it is imported."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load_plugin(entry: EntryPoint) -> Any:
    """Imports what an entry point names: code of a package that the user installed.

    Raises:
        ConfigError: it cannot be imported; says which package to mend or to uninstall.
    """
    try:
        return entry.load()
    except Exception as error:  # whatever a module of somebody else raises
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise ConfigError(f"{describe_plugin(entry)} cannot be loaded: {why}. Mend or uninstall it.") from error


def package_of(entry: EntryPoint) -> str:
    """The name of the package that offers an entry point."""
    return entry.dist.name if entry.dist is not None else "that is not known"


def describe_plugin(entry: EntryPoint) -> str:
    """``'huber' of the package my-losses (kd_yolo.losses = my_losses:Huber)``."""
    return f"'{entry.name}' of the package {package_of(entry)} ({entry.group} = {entry.value})"


class Registry(Generic[T]):
    """Classes by name, built from plain parameters so that YAML and the command line can name them.

    An installed package adds a class with an entry point, whose name is that of the class. It is imported when that
    name is asked for, and never in place of a class of this package.

    Args:
        what: what is registered, singular, as error messages name it (``"loss"``).
        base: of all classes.
        group: the entry point group of classes from other packages; None for none.
    """

    def __init__(self, what: str, base: type[Any], group: str | None = None) -> None:
        self.what = what
        self.base = base
        self.group = group
        self._classes: dict[str, type[T]] = {}
        self._loaded: dict[str, type[T]] = {}  # from installed packages

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator that files a class under ``name``."""

        def file(cls: type[T]) -> type[T]:
            assert name not in self._classes, f"{self.what} '{name}' is registered twice"
            self._classes[name] = cls
            return cls

        return file

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._classes or name in self._plugins())

    def names(self) -> list[str]:
        """All names, sorted, those of installed packages too."""
        return sorted({*self._classes, *self._plugins()})

    def get(self, name: str) -> type[T]:
        """The class filed under ``name``.

        Raises:
            ConfigError: no such name (the message lists the names and the nearest spelling), or an installed package
                offers it and cannot be loaded.
        """
        if name in self._classes:
            return self._classes[name]
        if name not in self._loaded:
            entry = self._plugins().get(name)
            if entry is None:
                known = self.names()
                raise ConfigError(f"unknown {self.what} '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
            self._loaded[name] = self._load(entry)
        return self._loaded[name]

    def name_of(self, cls: type[T]) -> str:
        """The name that a class is filed under; the class's own name where it is not."""
        files = {**self._classes, **self._loaded}
        return next((name for name, found in files.items() if found is cls), cls.__name__)

    def problems(self) -> dict[str, str]:
        """What is wrong with classes of installed packages, by name; imports all of them."""
        found = {}
        for name, entry in self._plugins().items():
            if name in self._classes:
                found[name] = f"{describe_plugin(entry)} is not used: kd-yolo has a {self.what} of that name."
                continue
            try:
                self.get(name)
            except ConfigError as error:
                found[name] = str(error)
        return found

    def _plugins(self) -> dict[str, EntryPoint]:
        return {} if self.group is None else plugins(self.group)

    def _load(self, entry: EntryPoint) -> type[T]:
        found = load_plugin(entry)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise ConfigError(f"{describe_plugin(entry)} is no {self.what}: expected a class derived from {base}.")
        return found

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
