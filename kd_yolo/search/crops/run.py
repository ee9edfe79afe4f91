"""A folder of crops: people found in a source, cut out and listed; a run that was stopped goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.extras import require
from kd_yolo.base.lock import locked
from kd_yolo.search.crops.frame_steps import Say
from kd_yolo.search.crops.index import write_index
from kd_yolo.search.crops.ledger import Ledger, Totals, read_numbers
from kd_yolo.search.crops.local_engine import LocalEngine
from kd_yolo.search.crops.networks import Networks
from kd_yolo.search.crops.ray.cluster import require_ray
from kd_yolo.search.crops.ray.engine import RayEngine
from kd_yolo.search.frames.crop_vectors import NETWORK
from kd_yolo.search.frames.sources import Input, find_inputs
from kd_yolo.search.settings import CropsConfig

VERSION = 1  # raise it whenever the same settings give other crops
FREE = {"device", "batch", "weights"}  # of the detector; the hash tells the weights


@dataclass(frozen=True)
class CropsReport:
    """What a run made of a source.

    Attributes:
        folder: ``crops/``, ``crops.parquet`` and what is needed to go on.
        totals: of the folder, earlier runs included.
        frames: read by this run.
        seconds: that it took, from the first frame asked for.
        skipped: inputs that could not be read, with the reason.
    """

    folder: Path
    totals: Totals
    frames: int
    seconds: float
    skipped: tuple[str, ...]

    def lines(self) -> list[str]:
        """What happened, for the user."""
        totals, rate = self.totals, self.frames / max(self.seconds, 1e-9)
        earlier = totals.frames - self.frames
        lines = [
            f"{self.frames:,} frames in {self.seconds:.1f} s ({rate:.1f} a second)"
            + (f", {earlier:,} in earlier runs" if earlier else ""),
            f"{totals.people:,} people seen, {totals.crops:,} crops",
        ]
        if totals.rejected:
            parts = ", ".join(f"{count:,} {reason}" for reason, count in totals.rejected.most_common())
            lines.append(f"left out by the rules: {parts}")
        if not totals.people:
            lines.append("no person found: the index is empty; a lower --conf or a larger --imgsz finds more")
        if self.skipped:
            lines.append(f"warning: {len(self.skipped):,} inputs could not be read")
        return lines


def write_crops(
    source: str, config: CropsConfig, folder: Path, say: Say = print, *, csv: bool = False, trust: bool = False
) -> CropsReport:
    """Cuts the people out of a source.

    What is done lasts from time to time; started again with the same settings, with either engine, a run goes on after
    the last frame that does, with no crop twice and none missing. So it takes images that have been added to a folder
    since.

    Args:
        source: see :data:`kd_yolo.search.frames.sources.KINDS`.
        config: detector, rules, stride and camera; the engine, and whether crops are embedded.
        folder: of the results, new or of an earlier run.
        say: takes lines for the user.
        csv: write ``crops.csv`` beside ``crops.parquet``.
        trust: load whatever the weights hold, code included.

    Raises:
        ConfigError: the folder holds other settings, the class of people is unknown, or Ray is to read a stream.
        InputError: nothing there, nothing that can be read, or weights that cannot be used.
        MissingDependencyError: polars, or Ray where it is asked for, is not installed.
    """
    require("polars")
    if config.engine == "ray":
        require_ray(loopback=config.ray_address is None)
    inputs = find_inputs(source, camera=config.camera, known=read_numbers(folder), leave_out=folder, say=say)
    networks = _open(config, inputs, trust=trust)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, exclusive=True, wait_s=1):
        ledger = Ledger.open(folder, settings_of(source, inputs, config, networks), inputs)
        left = [found for found in inputs if ledger.may_have_more(found)]
        if ledger.totals.frames:
            say(f"going on: {ledger.totals.frames:,} frames are done, {len(left):,} of {len(inputs):,} inputs are left")
        try:
            return _run(_engine(config, networks, ledger, say), ledger, source, left)
        finally:  # a stream is ended by Ctrl-C
            if ledger.totals.frames:
                write_index(folder, csv=csv)


class Engine(Protocol):
    """What works through inputs."""

    def run(self, inputs: list[Input]) -> list[str]:
        """Writes into its ledger; returns why inputs were skipped."""


def _open(config: CropsConfig, inputs: list[Input], *, trust: bool) -> Networks:
    """The networks, checked before anything is written; on the CPU where workers of Ray will use theirs."""
    if config.engine == "local":
        return Networks.open(config, trust=trust)
    if inputs[0].kind == "live":
        raise ConfigError(f"{inputs[0].name} is read by one process: --engine local.")
    return Networks.open(
        config.model_copy(update={"detector": config.detector.model_copy(update={"device": "cpu"})}), trust=trust
    )


def _engine(config: CropsConfig, networks: Networks, ledger: Ledger, say: Say) -> Engine:
    if config.engine == "local":
        return LocalEngine(config, networks.detector, networks.embedder, ledger, say)
    return RayEngine(config, networks, ledger, say)


def settings_of(source: str, inputs: list[Input], config: CropsConfig, networks: Networks) -> dict[str, Any]:
    """What decides the crops of a folder, flat.

    Args:
        source: as it was typed; a file or folder counts by its absolute path.
        inputs: of the source.
        config: see :class:`CropsConfig`.
        networks: they count by the hash of their files.
    """
    is_file = inputs[0].kind != "live"
    detector = {key: value for key, value in config.detector.model_dump(mode="json").items() if key not in FREE}
    return {
        "version": VERSION, "source": str(Path(source).expanduser().absolute()) if is_file else source,
        "weights": networks.detector.hash, **detector, **config.rules.model_dump(mode="json"), "stride": config.stride,
        "camera": config.camera, **({NETWORK: networks.embedder.hash} if networks.embedder else {}),
    }  # fmt: skip


def _run(engine: Engine, ledger: Ledger, source: str, inputs: list[Input]) -> CropsReport:
    begun, before = time.monotonic(), ledger.totals.frames
    try:
        skipped = engine.run(inputs)
    finally:  # after Ctrl-C and errors too
        ledger.commit()
    frames = ledger.totals.frames - before
    if skipped and not frames and (not before or inputs[0].kind == "live"):
        raise InputError(f"nothing of {source} can be read. {skipped[0]}")
    return CropsReport(ledger.folder, ledger.totals, frames, time.monotonic() - begun, tuple(skipped))
