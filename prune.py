"""Pruning is not there yet; this file keeps its place on the customer's top level."""

import sys

if __name__ == "__main__":
    print("error: prune.py: not yet. Distillation works: python train_distill.py --help", file=sys.stderr)
    sys.exit(2)
