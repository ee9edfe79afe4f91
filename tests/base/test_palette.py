"""One table of colours: no module has its own copy of it."""

from __future__ import annotations

import re
from pathlib import Path

from kd_yolo.base import palette
from kd_yolo.base.palette import BLUE, LINES, OBJECTS, ORANGE, as_bgr, as_hex


def test_a_colour_in_each_order() -> None:
    assert as_hex(BLUE) == LINES[0] == "#0072B2"
    assert as_bgr(ORANGE) == (0, 159, 230)
    assert len(set(OBJECTS)) == len(OBJECTS) == 7
    assert set(LINES) < {as_hex(colour) for colour in OBJECTS}


def test_nobody_writes_them_again() -> None:
    written = {form for colour in OBJECTS for form in (as_hex(colour), str(colour), str(as_bgr(colour)))}
    again = re.compile("|".join(re.escape(form) for form in written), re.IGNORECASE)
    files = Path(palette.__file__).parents[1].rglob("*.py")
    assert [file.name for file in files if again.search(file.read_text("utf-8"))] == ["palette.py"]
