"""Removes channels from a YOLO network: ``python prune.py --help``."""

import sys

from kd_yolo.cli.prune import main

if __name__ == "__main__":
    sys.exit(main())
