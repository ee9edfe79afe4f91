"""Folders in which names tell identity and camera: Market-1501, DukeMTMC, the flat release of MSMT17, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kd_yolo.data.market_name import DISTRACTOR, JUNK, parse_market_name
from kd_yolo.reid.data.sample import MAX_NUMBER, TRAIN, Listing, Sample, first_names, images_in


def read_market(folder: Path, subsets: Mapping[str, Path]) -> Listing:
    """Reads folders with names as ``0002_c1s1_000451_03.jpg``: identity, camera, and what else.

    Junk (identity -1) is dropped and counted; distractors (identity 0) stay.

    Args:
        folder: of the set.
        subsets: the folder of each subset.
    """
    found: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for subset, place in subsets.items():
        found[subset], more = _read_crops(place)
        notes += [f"{place.relative_to(folder)}: {note}" for note in more]
    distractors = sum(sample.identity == DISTRACTOR for sample in found.get(TRAIN, []))
    if distractors:
        notes.append(
            f"{distractors} train image(s) have identity 0, which Market-1501 gives to distractors: they count as one"
            " person here. Remove them if they are several people."
        )
    return Listing("Market-1501 names", found, tuple(notes))


def _read_crops(place: Path) -> tuple[list[Sample], list[str]]:
    """The crops of one folder, and what was passed over."""
    samples: list[Sample] = []
    strange: list[Path] = []
    num_junk = 0
    for path in images_in(place):
        said = parse_market_name(path.name)
        if said is None or said.identity is None or not JUNK <= said.identity < MAX_NUMBER > said.camera:
            strange.append(path)
        elif said.identity == JUNK:
            num_junk += 1
        else:
            samples.append(Sample(path, said.identity, said.camera))
    notes = [f"{num_junk} junk image(s) (identity -1) dropped."] if num_junk else []
    if strange:
        notes.append(
            f"{len(strange)} image(s) passed over, no name as 0002_c1s1_000451_03.jpg (identity, camera):"
            f" {first_names(strange)}."
        )
    return samples, notes
