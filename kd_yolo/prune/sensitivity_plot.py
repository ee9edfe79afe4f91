"""Figure of a sensitivity analysis: what pruning each layer alone costs in accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.figure import write_figure
from kd_yolo.prune.plots import AFTER, ZERO, short_layer

SHOWN = 0.05  # a share of the base accuracy: a layer that costs more is drawn in the other colour


def draw_sensitivity(drops: Mapping[str, float], metric: str, base: float, path: str | Path) -> Path:
    """Draws one bar per layer: the accuracy that is lost when it alone is pruned.

    Args:
        drops: by layer name, in network order; below 0 where the network got better.
        metric: name of the accuracy.
        base: accuracy of the whole network, above 0.
        path: the PNG.

    Returns:
        ``path``.

    Raises:
        ConfigError: nothing to draw.
    """
    if not drops or base <= 0:
        raise ConfigError("no sensitivity to draw: no layer was pruned, or the network finds nothing.")
    figure = Figure(figsize=(7, 1.2 + 0.2 * len(drops)), layout="constrained")
    axis = figure.subplots()
    values = list(drops.values())
    axis.barh(range(len(values)), values, 0.75, color=[ZERO if value > SHOWN * base else AFTER for value in values])
    axis.set_yticks(range(len(values)), [short_layer(name) for name in drops], fontsize=7)
    axis.set_ylim(len(values) - 0.4, -0.6)
    axis.axvline(0, color="0.4", linewidth=0.8)
    axis.set_xlabel(f"{metric} lost (of {base:.3f}) when this layer alone is pruned", fontsize=9)
    axis.set_title(f"orange: more than {math.floor(100 * SHOWN)} % of it", fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color="0.92", linewidth=0.6)
    axis.set_axisbelow(True)
    return write_figure(path, figure)
