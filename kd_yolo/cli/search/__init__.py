"""The commands of ``kd-yolo search``; the work itself is in ``kd_yolo.search``."""
