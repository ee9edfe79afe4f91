"""Data: reads any YOLO data set, says what is wrong with it or what is in it, and hands it on so that it can be used.

``check_detection_data`` reads a set and reports on it; ``resolved_data`` and ``resolved_yaml`` write its YAML so that
ultralytics finds the same files from anywhere and runs nothing of it. ``read_relation_set`` reads images with the
parent of each box, ``contact_sheet`` draws some with their labels. The sets that are drawn here are in
``kd_yolo.builtin``.
"""

from __future__ import annotations

from kd_yolo.base.lazy import imported_when_asked

__all__ = ["check_detection_data", "contact_sheet", "read_relation_set", "resolved_data", "resolved_yaml"]

__getattr__ = imported_when_asked(
    __name__,
    {
        "check_detection_data": "kd_yolo.data.check",
        "contact_sheet": "kd_yolo.data.sheet",
        "read_relation_set": "kd_yolo.data.relation_set",
        "resolved_data": "kd_yolo.data.resolve",
        "resolved_yaml": "kd_yolo.data.resolve",
    },
)
