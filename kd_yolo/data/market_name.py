"""Market-1501's names of crops: ``0002_c1s1_000451_03.jpg`` is person 2 in frame 451 of camera 1's sequence 1.

References:
    Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015 (names, junk, distractors).
"""

from __future__ import annotations

import re
from typing import NamedTuple

JUNK, DISTRACTOR = -1, 0  # identities: too little of a person, nobody that is asked for
_NAME = re.compile(r"([-\d]+)_c(\d+)")  # also of DukeMTMC, 0002_c1_f0046182, and of junk, -1_c3s2_000000_00


class MarketName(NamedTuple):
    """What such a name says: the camera, and the identity, None where it is no number."""

    identity: int | None
    camera: int


def market_stem(identity: int, camera: int, frame: int, *, sequence: int = 1, box: int = 0) -> str:
    """The name of a crop without its suffix.

    Args:
        identity: of the person or track; :data:`JUNK`, :data:`DISTRACTOR`.
        camera: its number.
        frame: of the sequence.
        sequence: of the camera.
        box: which of the frame's boxes.
    """
    who = f"{identity:04d}" if identity >= 0 else str(identity)
    return f"{who}_c{camera}s{sequence}_{frame:06d}_{box:02d}"


def parse_market_name(name: str) -> MarketName | None:
    """What a file's name says; None where it is no such name."""
    matched = _NAME.match(name)
    if matched is None:
        return None
    try:
        identity = int(matched[1])
    except ValueError:  # 1-2
        identity = None
    return MarketName(identity, int(matched[2]))
