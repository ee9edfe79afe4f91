"""Trainers for networks on their way through pruning: retraining with the widths they have, and sparse training.

In: weights (a pruned network's widths survive) and a data set. Out: a run folder as ultralytics makes it, whose
checkpoints plain ultralytics opens. A killed run continues exactly where it was. The distillation trainer builds on the
same parts.
"""
