"""The commands of ``kd-yolo reid``; the work itself is in ``kd_yolo.reid``."""
