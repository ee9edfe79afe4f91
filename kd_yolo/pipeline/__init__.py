"""The chain: sparse training, pruning, retraining, distillation, comparison; one class, one resumable folder.

In: weights (or a model YAML) and a data set. Out: a folder with one sub-folder a stage and ``state.json``, which says
what was done with which settings; whoever opens that folder again goes on where it stopped.
"""

from kd_yolo.pipeline.step import Step

__all__ = ["Step"]
