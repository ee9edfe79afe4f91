"""``state.json``: which stages of a chain were started with which settings, and what the finished ones made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from kd_yolo.errors import ConfigError, InputError
from kd_yolo.pipeline.step import Step

VERSION = 1


class State:
    """The stages of one folder, in the order in which they were started; every change is on disk at once.

    Args:
        folder: the chain's folder; ``state.json`` in it is read if it is there.

    Raises:
        InputError: ``state.json`` is not one of ours.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state.json"
        self._stages: dict[str, dict[str, Any]] = {}
        if self.file.is_file():
            self._stages = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            values = json.loads(self.file.read_text(encoding="utf-8"))
            if values["version"] == VERSION and isinstance(values["stages"], dict):
                return dict(values["stages"])
        except (ValueError, KeyError, TypeError):
            pass
        raise InputError(f"{self.file} is not the state of a chain of this version: choose another folder or name.")

    @property
    def finished(self) -> list[Step]:
        """The finished stages."""
        return [Step.from_json(stage["result"]) for stage in self._stages.values() if stage["result"]]

    def begin(self, name: str, settings: dict[str, Any]) -> Step | None:
        """Notes that a stage starts, or finds that it is finished already.

        Args:
            name: the stage.
            settings: all that decides its result, as plain values.

        Returns:
            The finished stage, or None when it has to be run (from its checkpoint, if it has one).

        Raises:
            ConfigError: the stage was started with other settings.
        """
        settings = json.loads(json.dumps(settings, default=str))
        known = self._stages.get(name)
        if known is None:
            self._stages[name] = {"settings": settings, "result": None}
            self._write()
            return None
        changed = differences(known["settings"], settings)
        if changed:
            raise ConfigError(
                f"{self.file.parent} was started with other settings for its stage '{name}':\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nSet them back, or start anew under another name."
            )
        if known["result"] is None:
            return None
        step = Step.from_json(known["result"])
        if not step.path.is_file():
            raise InputError(
                f"{step.path}, which stage '{name}' made, is gone. Put it back, or start under another name."
            )
        return step

    def finish(self, step: Step) -> None:
        """Notes a stage's result."""
        self._stages[step.stage]["result"] = step.to_json()
        self._write()

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps({"version": VERSION, "stages": self._stages}, indent=1) + "\n", encoding="utf-8")
        part.replace(self.file)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Lines ``"key.inner: old -> new"`` for everything in which two nested settings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
        ]
    return [] if old == new else [f"{where}: {json.dumps(old)} -> {json.dumps(new)}"]


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file, shortened; of a name that is no file (a model YAML of ultralytics) the name itself."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else str(path)
