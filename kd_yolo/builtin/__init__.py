"""The built-in data sets: everything that is drawn, from a preset and a seed, the same on every machine.

``make_street``, ``make_diagram`` and ``make_shapes`` draw detection sets, ``make_crops`` a ReID set and ``make_clip`` a
video with its truth. ``street`` and ``diagram`` are the two drawing programs.
"""

from kd_yolo.builtin.clip_set import ClipReport, make_clip
from kd_yolo.builtin.crops_set import CropsReport, make_crops
from kd_yolo.builtin.diagram_set import DiagramReport, make_diagram
from kd_yolo.builtin.presets import preset_names
from kd_yolo.builtin.shapes_set import ShapesReport, make_shapes
from kd_yolo.builtin.street_set import StreetReport, make_street

__all__ = [
    "ClipReport",
    "CropsReport",
    "DiagramReport",
    "ShapesReport",
    "StreetReport",
    "make_clip",
    "make_crops",
    "make_diagram",
    "make_shapes",
    "make_street",
    "preset_names",
]
