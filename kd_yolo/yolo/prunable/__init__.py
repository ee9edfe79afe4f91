"""What must be known of ultralytics' blocks to prune them: where outputs are split, which widths are not free.

In comes a stock model, which is never altered while it is studied. Out come a copy that a dependency graph can be
traced through (:class:`TraceView`), the raw outputs of a head (:func:`head_maps`), and, after cutting, the blocks' own
notes of their widths set right (:func:`synchronise`).
"""

from kd_yolo.yolo.prunable.attributes import synchronise
from kd_yolo.yolo.prunable.maps import head_maps
from kd_yolo.yolo.prunable.view import CONVS, Place, TraceView

__all__ = ["CONVS", "Place", "TraceView", "head_maps", "synchronise"]
