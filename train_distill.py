"""Trains a YOLO student under a frozen teacher: ``python train_distill.py --help``."""

import sys

from kd_yolo.cli.distill import main

if __name__ == "__main__":
    sys.exit(main())
