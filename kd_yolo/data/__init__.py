"""Data: the built-in pictures, and checks of any YOLO detection set.

``make_street``, ``make_diagram``, ``make_crops`` and ``make_clip`` draw a set from a preset and a seed.
``check_detection_data`` reads a set and says what is wrong with it or what is in it; ``resolved_yaml`` writes its YAML
so that ultralytics finds the same files from anywhere. ``read_relation_set`` reads pictures with the parent of each
box.
"""

from kd_yolo.data.check import DataReport, SplitReport, check_detection_data
from kd_yolo.data.clip_set import ClipReport, make_clip
from kd_yolo.data.crops_set import CropsReport, make_crops
from kd_yolo.data.detection import StreetReport, make_street
from kd_yolo.data.diagram_set import DiagramReport, make_diagram
from kd_yolo.data.presets import preset_names
from kd_yolo.data.relation_set import RelationSample, read_relation_set
from kd_yolo.data.resolve import resolved_data, resolved_yaml
from kd_yolo.data.sheet import contact_sheet

__all__ = [
    "ClipReport",
    "CropsReport",
    "DataReport",
    "DiagramReport",
    "RelationSample",
    "SplitReport",
    "StreetReport",
    "check_detection_data",
    "contact_sheet",
    "make_clip",
    "make_crops",
    "make_diagram",
    "make_street",
    "preset_names",
    "read_relation_set",
    "resolved_data",
    "resolved_yaml",
]
