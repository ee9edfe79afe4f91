"""Weights of other programs, recognised by the names of their tensors, so that errors name the file type found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_WRAPPERS = ("state_dict", "model", "net", "model_state_dict")
# The first one of which every pattern matches a name; names are without "module.", which DataParallel puts before.
_KNOWN: Sequence[tuple[str, tuple[str, ...]]] = (
    ("a CLIP-ReID network", (r"image_encoder\.", r"(prompt_learner|text_encoder|bottleneck|classifier)")),
    ("a TransReID network", (r"base\.(blocks|patch_embed)\.", r"(bottleneck|classifier)")),
    ("a BoT network (reid-strong-baseline)", (r"base\.(conv1|layer1)\.", r"(bottleneck|classifier)\.")),
    ("a FastReID network", (r"backbone\.", r"(heads\.|pixel_mean)")),
    ("an AGW network (ReID-Survey)", (r"base\.", r"global_pool|bottleneck")),
    ("an OSNet of torchreid", (r"conv2\.0\.conv2(a|\.0)\.",)),
    ("a YOLO detector's weights without the model", (r"model\.\d+\.(conv|cv1|cv2|m)\b",)),
    (
        "a Detectron or MMDetection network",
        (r"(backbone|neck)\.", r"(bbox_head|roi_head|rpn_head|proposal_generator)\."),
    ),
)


def tensors_inside(values: Any) -> dict[str, Any]:
    """The state dict of a file by other programs: itself, or in one of the usual wrappers, without ``module.``."""
    for _ in range(2):
        inner = next((values[key] for key in _WRAPPERS if isinstance(values.get(key), dict)), None) if isinstance(
            values, dict) else None  # fmt: skip
        values = values if inner is None else inner
    return (
        {str(key).removeprefix("module."): value for key, value in values.items()} if isinstance(values, dict) else {}
    )


def name_of_foreign(state: Mapping[str, Any]) -> str | None:
    """What a state dict is, by the names in it.

    Args:
        state: names as :func:`tensors_inside` gives them.

    Returns:
        "a FastReID network" and the like; None for names of no known program.
    """
    names = list(state)
    for what, patterns in _KNOWN:
        if all(any(re.match(pattern, name) for name in names) for pattern in patterns):
            return what
    return None
