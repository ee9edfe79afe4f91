"""``state.json``: which stages of a chain were started with which settings, and what the finished ones made."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_json
from kd_yolo.base.fingerprint import file_hash
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.lock import holding
from kd_yolo.base.places import remove_if_empty
from kd_yolo.base.reading import read_json_value
from kd_yolo.pipeline.step import Step

__all__ = ["State", "differences", "file_hash", "has_made_something"]
VERSION = 1
MAX_BYTES = 4 << 20
OTHER_NAME = "choose another folder or name, or restore the file."


class State:
    """The stages of one folder, in the order in which they were started; every change is on disk at once.

    Paths inside the folder are noted relative to it, so that a chain may be moved or copied.

    Args:
        folder: the chain's folder; ``state.json`` in it is read if it is there.

    Raises:
        InputError: ``state.json`` is not one of ours, or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "state.json"
        self._is_locked = False
        self._stages: dict[str, dict[str, Any]] = {}
        self.reload()

    def reload(self) -> None:
        """Reads the file again: another process may have worked in the folder."""
        self._stages = self._read() if os.path.lexists(self.file) else {}

    def _read(self) -> dict[str, dict[str, Any]]:
        values = read_json_value(self.file, limit=MAX_BYTES, what="state of a chain")
        if not isinstance(values, dict) or values.get("version") != VERSION:
            raise InputError(f"{self.file} is not the state of a chain of this version: {OTHER_NAME}")
        stages = values.get("stages")
        if not isinstance(stages, dict) or not all(_is_stage(stage) for stage in stages.values()):
            raise InputError(f"{self.file} is damaged or was not written by this program: {OTHER_NAME}")
        try:
            return {name: {**stage, "settings": self._portable(stage["settings"])} for name, stage in stages.items()}
        except RecursionError:
            raise InputError(f"{self.file} is nested too deeply: {OTHER_NAME}") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder; each stage does it by itself, a chain for all of its stages.

        Raises:
            ConfigError: another process works on the chain in this folder.
        """
        if self._is_locked:
            yield
            return
        was_there = self.folder.exists()
        try:
            with holding(self.folder, "chain"):
                self._is_locked = True
                remove_leftovers(self.folder)
                self.reload()
                yield
        finally:
            self._is_locked = False
            if not was_there:
                remove_if_empty(self.folder)

    @property
    def finished(self) -> list[Step]:
        """The finished stages."""
        return [self._step(stage["result"]) for stage in self._stages.values() if stage["result"]]

    def find(self, name: str, settings: dict[str, Any]) -> Step | None:
        """The finished stage of that name, or None when it has to be run (from its checkpoint, if it has one).

        Args:
            name: the stage.
            settings: all that decides its result, as plain values.

        Raises:
            ConfigError: the stage was started with other settings and has made something with them.
            InputError: what it made is gone.
        """
        known = self._stages.get(name)
        if known is None:
            return None
        changed = differences(known["settings"], self._portable(settings))
        if changed and (known["result"] is not None or has_made_something(self.folder / name)):
            raise ConfigError(
                f"{self.folder} was started with other settings for its stage '{name}':\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nSet them back, or start again under another name."
            )
        if known["result"] is None:
            return None
        step = self._step(known["result"])
        if not step.path.is_file():
            raise InputError(
                f"{step.path}, which stage '{name}' made, is gone. Put it back, or start under another name."
            )
        return step

    def begin(self, name: str, settings: dict[str, Any]) -> None:
        """Notes that a stage starts, once its inputs are checked; see :meth:`find` for the arguments."""
        self._stages[name] = {"settings": self._portable(settings), "result": None}
        self._write()

    def finish(self, step: Step) -> None:
        """Notes a stage's result."""
        self._stages[step.stage]["result"] = self._portable(step.to_json())
        self._write()

    def _step(self, values: dict[str, Any]) -> Step:
        step = Step.from_json(values)
        return replace(step, path=self.folder / step.path)

    def _portable(self, value: Any) -> Any:
        """Plain values, with paths inside the folder relative to it."""
        prefix = f"{self.folder}{os.sep}"

        def shorten(inner: Any) -> Any:
            if isinstance(inner, dict):
                return {key: shorten(one) for key, one in inner.items()}
            if isinstance(inner, list):
                return [shorten(one) for one in inner]
            return inner.removeprefix(prefix) if isinstance(inner, str) else inner

        return shorten(json.loads(json.dumps(value, default=str)))

    def _write(self) -> None:
        write_json(self.file, {"version": VERSION, "stages": self._stages})


def has_made_something(folder: Path) -> bool:
    """Whether a stage has left weights, its own or those of a training inside it."""
    return any(True for pattern in ("weights/*.pt", "*/weights/*.pt") for _ in folder.glob(pattern))


def _is_stage(stage: Any) -> bool:
    if not isinstance(stage, dict) or not isinstance(stage.get("settings"), dict) or "result" not in stage:
        return False
    return stage["result"] is None or _is_result(stage["result"])


def _is_result(result: Any) -> bool:
    if not isinstance(result, dict) or not all(isinstance(result.get(key), str) for key in ("stage", "path")):
        return False
    metrics, notes = result.get("metrics"), result.get("notes")
    return (
        isinstance(metrics, dict)
        and all(type(value) in (int, float) for value in metrics.values())
        and isinstance(notes, list)
        and all(isinstance(note, str) for note in notes)
    )


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Lines ``"key.inner: old -> new"`` for everything in which two nested settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        ]
    return [] if old == new else [f"{where}: {json.dumps(old)[:200]} -> {json.dumps(new)[:200]}"]
