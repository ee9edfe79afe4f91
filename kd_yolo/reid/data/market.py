"""Folders in which names tell identity and camera: Market-1501, DukeMTMC, the flat release of MSMT17, and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kd_yolo.reid.data.sample import MAX_NUMBER, TRAIN, Listing, Sample, first_names, list_pictures

NAME = re.compile(r"([-\d]+)_c(\d+)")  # 0002_c1s1_000451_03, 0002_c1_f0046182, -1_c3s2_000000_00
JUNK, DISTRACTOR = -1, 0


def read_market(folder: Path, subsets: Mapping[str, Path]) -> Listing:
    """Reads folders with names as ``0002_c1s1_000451_03.jpg``: identity, camera, and what else.

    Junk (identity -1) is dropped and counted; distractors (identity 0) stay.

    Args:
        folder: of the set.
        subsets: the folder of each subset.

    References:
        Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (names, junk, distractors).
    """
    found: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for subset, place in subsets.items():
        found[subset], more = _read(place)
        notes += [f"{place.relative_to(folder)}: {note}" for note in more]
    distractors = sum(sample.identity == DISTRACTOR for sample in found.get(TRAIN, []))
    if distractors:
        notes.append(
            f"{distractors} train picture(s) have identity 0, which Market-1501 gives to distractors: they count as one"
            " person here. Remove them if they are several people."
        )
    return Listing("Market-1501 names", found, tuple(notes))


def _read(place: Path) -> tuple[list[Sample], list[str]]:
    """The crops of one folder, and what was passed over."""
    samples: list[Sample] = []
    strange: list[Path] = []
    num_junk = 0
    for path in list_pictures(place):
        matched = NAME.match(path.name)
        identity, camera = (_whole(part) for part in matched.groups()) if matched else (None, None)
        if identity is None or camera is None:
            strange.append(path)
        elif identity == JUNK:
            num_junk += 1
        else:
            samples.append(Sample(path, identity, camera))
    notes = [f"{num_junk} junk picture(s) (identity -1) dropped."] if num_junk else []
    if strange:
        notes.append(
            f"{len(strange)} picture(s) passed over, no name as 0002_c1s1_000451_03.jpg (identity, camera):"
            f" {first_names(strange)}."
        )
    return samples, notes


def _whole(text: str) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return None
    return value if JUNK <= value < MAX_NUMBER else None
