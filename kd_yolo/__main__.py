"""``python -m kd_yolo <command>``: as ``kd-yolo``."""

from kd_yolo.cli.app import entry

if __name__ == "__main__":
    entry()
