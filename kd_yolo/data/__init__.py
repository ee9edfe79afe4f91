"""Data: reads any YOLO data set, says what is wrong with it or what is in it, and hands it on so that it can be used.

``check_detection_data`` reads a set and reports on it; ``resolved_data`` and ``resolved_yaml`` write its YAML so that
ultralytics finds the same files from anywhere and runs nothing of it. ``relation_set`` reads images with the parent of
each box, ``sheet`` draws some of them with their labels. The sets that are drawn here are in ``kd_yolo.builtin``.
"""

from kd_yolo.data.check import DataReport, SplitReport, check_detection_data
from kd_yolo.data.resolve import resolved_data, resolved_yaml

__all__ = ["DataReport", "SplitReport", "check_detection_data", "resolved_data", "resolved_yaml"]
