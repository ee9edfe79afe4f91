"""Pruning is not there yet; this file keeps its place on the customer's top level."""

import sys

if __name__ == "__main__":
    sys.stderr.write("error: prune.py: not yet. Distillation works: python train_distill.py --help\n")
    sys.exit(2)
