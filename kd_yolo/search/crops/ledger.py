"""What a run has done, on disk: it survives being killed, and the next run goes on from there without a gap.

A folder of crops holds ``crops.json`` (the settings), ``inputs.json`` (the number of each input), ``crops/`` (the
images) and ``parts/``: each part is written whole, after its images, and says which frames it covers and which
crops they gave. An image that no part names is of a run that was killed; it goes when the next one starts.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_bytes, write_image
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.reading import read_json_value, shown
from kd_yolo.data.market_name import market_stem
from kd_yolo.search.frames.camera_numbers import InputNumber
from kd_yolo.search.frames.crop_vectors import VECTORS, write_vectors
from kd_yolo.search.frames.frame_types import Crop, Floats, as_row
from kd_yolo.search.frames.sources import Input

SETTINGS, INPUTS, PARTS, IMAGES = "crops.json", "inputs.json", "parts", "crops"
FINISHED = -1
MAX_PART_BYTES = 1 << 30  # inputs.json of millions of images
PART_FRAMES, PART_S = 256, 5.0  # a part is written when it covers so many frames, or so much time has passed
OURS = re.compile(r"\d{4,}_c\d+s\d+_\d{6,}_\d{2,}\.jpg")


@dataclass(frozen=True)
class FrameCrops:
    """What one frame gave.

    Attributes:
        source, index: the frame.
        num_people: boxes of the detector.
        crops: those that count.
        rejected: the others, by reason.
    """

    source: str
    index: int
    num_people: int
    crops: list[Crop]
    rejected: Counter[str]


@dataclass(frozen=True)
class FrameRecord:
    """What is written down of a frame, when its crops are files.

    Attributes:
        source: of the frame.
        next_frame: the first number that the frame leaves open, or :data:`FINISHED`.
        rows: one per crop, see :func:`kd_yolo.search.frames.frame_types.as_row`.
        num_people, rejected: see :class:`FrameCrops`.
        vectors_nd: of the crops (N,D); None where they are not asked for.
    """

    source: str
    next_frame: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    num_people: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    vectors_nd: Floats | None = None


@dataclass
class Totals:
    """Sums over everything in a folder.

    Attributes:
        frames, people, crops: how many.
        rejected: boxes that were left out, by reason.
    """

    frames: int = 0
    people: int = 0
    crops: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, part: dict[str, Any]) -> None:
        """Adds a part."""
        self.frames += part["frames"]
        self.people += part["people"]
        self.crops += len(part["rows"])
        self.rejected.update(part["rejected"])


def crop_name(crop: Crop, number: InputNumber, box: int) -> str:
    """Market-1501's name with the track for the person, 0 without one."""
    frame = number.image + crop.index
    return market_stem(max(crop.track, 0), number.camera, frame, sequence=number.sequence, box=box) + ".jpg"


def write_images(folder: Path, frame_crops: FrameCrops, number: InputNumber) -> FrameRecord:
    """Writes the crops of a frame; whoever does it, and however often, the files are the same.

    Args:
        folder: of the crops.
        frame_crops: what the frame gave.
        number: of its input.
    """
    rows = []
    for box, crop in enumerate(frame_crops.crops):
        file = f"{IMAGES}/{crop_name(crop, number, box)}"
        write_image(folder / file, crop.image_hw3[..., ::-1], sync=False)  # thousands, made again by the next run
        rows.append(as_row(crop, file))
    return FrameRecord(frame_crops.source, frame_crops.index + 1, rows, frame_crops.num_people, frame_crops.rejected)


def read_numbers(folder: Path) -> dict[str, InputNumber]:
    """The numbers of the inputs of earlier runs; none where there is no folder yet."""
    found = (_read_json(folder / INPUTS) or {}).items()
    try:
        return {name: InputNumber(*(int(value) for value in values)) for name, values in found}
    except (TypeError, ValueError):
        raise InputError(f"{folder / INPUTS} is damaged: remove {folder} and start again.") from None


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of all crops, part by part, as :func:`kd_yolo.search.frames.frame_types.as_row` gives them."""
    for file in _parts(folder):
        yield from _read_part(file)["rows"]


@dataclass
class Ledger:
    """Writes crops and what was done; see the module.

    Attributes:
        folder: of the crops.
        numbers: of the inputs.
        done: for each input the next frame, or :data:`FINISHED`.
        totals: of everything in the folder.
    """

    folder: Path
    numbers: dict[str, InputNumber]
    done: dict[str, int]
    totals: Totals
    _last_part: int = 0
    _records: list[FrameRecord] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, folder: Path, settings: dict[str, Any], inputs: Iterable[Input]) -> Ledger:
        """Starts a folder, or goes on with one.

        Args:
            folder: of the crops.
            settings: what decides the crops; those of the folder must be the same.
            inputs: of the source, numbered.

        Raises:
            ConfigError: the folder holds something else, or crops of other settings.
        """
        _check_settings(folder, settings)
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        (folder / PARTS).mkdir(exist_ok=True)
        _write_json(folder / SETTINGS, settings)
        numbers = {**read_numbers(folder), **{found.name: found.number for found in inputs}}
        _write_json(folder / INPUTS, {name: list(asdict(number).values()) for name, number in numbers.items()})
        ledger = cls(folder, numbers, {}, Totals())
        ledger._read_parts()
        ledger.sweep()
        return ledger

    def may_have_more(self, found: Input) -> bool:
        """Whether an input may have more frames than what lasts."""
        done = self.done.get(found.name)
        return done is None or (found.kind != "image" and done != FINISHED)

    def write(self, frame_crops: FrameCrops) -> FrameRecord:
        """Writes the crops of a frame, which is not recorded yet."""
        return write_images(self.folder, frame_crops, self.numbers[frame_crops.source])

    def add(self, record: FrameRecord) -> None:
        """Records a frame, after those before it in its input; now and then all that was recorded is made to last."""
        self._records.append(record)
        if len(self._records) >= PART_FRAMES or time.monotonic() - self._since > PART_S:
            self.commit()

    def finish(self, source: str) -> None:
        """Records that an input has no more frames."""
        self._records.append(FrameRecord(source, FINISHED))

    def commit(self) -> None:
        """Makes what was recorded last. Interrupted, it forgets it: those frames are read again by the next run."""
        records, self._records, self._since = self._records, [], time.monotonic()
        if records:
            self._last_part += 1
            part = _part_of(records)
            write_vectors(self.folder, self._last_part, part["rows"], [record.vectors_nd for record in records])
            _write_json(self.folder / PARTS / f"{self._last_part:08d}.json", part)
            self.totals.add(part)
            self.done.update(part["done"])

    def _read_parts(self) -> None:
        """Sums up what is there."""
        for file in _parts(self.folder):
            part = _read_part(file)
            self.totals.add(part)
            self.done.update(part["done"])
            self._last_part = int(file.stem)

    def sweep(self) -> None:
        """Removes crops that no part names, and files that were not finished; nobody may be writing."""
        named = {row["file"] for row in read_rows(self.folder)}
        for file in (self.folder / IMAGES).iterdir():
            if OURS.fullmatch(file.name) and f"{IMAGES}/{file.name}" not in named:
                file.unlink()
        own = (self.folder, *(self.folder / name for name in (PARTS, IMAGES, VECTORS)))
        remove_leftovers(*own, is_locked=True)


def _part_of(records: Iterable[FrameRecord]) -> dict[str, Any]:
    part: dict[str, Any] = {"frames": 0, "people": 0, "rejected": Counter(), "done": {}, "rows": []}
    for record in records:
        part["frames"] += record.next_frame != FINISHED
        part["people"] += record.num_people
        part["rejected"].update(record.rejected)
        part["done"][record.source] = record.next_frame
        part["rows"] += record.rows
    return part


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / PARTS).glob("[0-9]*.json"))


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    there = _read_json(folder / SETTINGS)
    if there is None:
        if folder.exists() and (not folder.is_dir() or any(file.name[0] != "." for file in folder.iterdir())):
            raise ConfigError(f"{folder} is not empty and holds no crops: it is left alone. Name another with --out.")
        return
    differ = [key for key in {**there, **settings} if there.get(key) != settings.get(key)]
    if differ:
        lines = "\n".join(
            f"  {key}: there {shown(there.get(key))}, asked for {shown(settings.get(key))}" for key in differ
        )
        raise ConfigError(
            f"{folder} holds crops of other settings:\n{lines}\nGive the same ones to go on, or another folder with"
            " --out."
        )


def _read_json(file: Path) -> dict[str, Any] | None:
    """A JSON file; None where there is none."""
    if not file.exists():
        return None
    try:
        found = read_json_value(file, limit=MAX_PART_BYTES, what="record of crops")
    except InputError as error:
        folder = file.parents[file.parent.name == PARTS]
        raise InputError(f"{file} is damaged ({error}): remove {folder} and start again.") from None
    if not isinstance(found, dict):
        raise InputError(f"{file} is not of a folder of crops: name another folder with --out.")
    return found


def _read_part(file: Path) -> dict[str, Any]:
    """A part of the ledger.

    Raises:
        InputError: it is damaged.
    """
    part = _read_json(file) or {}
    kinds = (("frames", int), ("people", int), ("rejected", dict), ("done", dict), ("rows", list))
    is_whole = all(isinstance(part.get(name), kind) for name, kind in kinds)
    if not is_whole or not all(isinstance(row, dict) and isinstance(row.get("file"), str) for row in part["rows"]):
        raise InputError(f"{file} is damaged: remove {file.parent.parent} and start again.")
    return part


def _write_json(file: Path, content: dict[str, Any]) -> None:
    write_bytes(file, json.dumps(content, ensure_ascii=False).encode())
