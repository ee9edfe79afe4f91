"""What a user should know before reading the numbers of a pruning."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_yolo.prune.network import Network
from kd_yolo.yolo.files.pruned_file import is_pruned

NORMAL = (
    "mAP near zero is normal after pruning without retraining: kd-yolo retrain brings it back (plain yolo train builds"
    " the unpruned network again)"
)
SPARSE_GAMMA = 0.01  # sparse training leaves its share of gammas below this, ordinary training none


def notes_on(network: Network) -> tuple[str, ...]:
    """One line for each thing to know about a network that was just loaded, and about its settings."""
    model, settings = network.model, network.settings
    notes = []
    if is_pruned(model):
        notes.append(f"{settings.model} is pruned already: it is pruned further, and compared with what it is now")
    if settings.importance is None and settings.data is None:
        notes.append("no data=: channels are ranked by their L2 norm; with data= Taylor scores rank them better")
    if not settings.recalibrates:
        notes.append("BatchNorm statistics are those of the unpruned network: retraining mends that")
    if settings.criterion == "lamp" and not settings.global_ranking:
        notes.append(
            "lamp says how layers compare: all are ranked together (--global), which removes parameters more than FLOPs"
        )
    if settings.criterion == "bn" and _sparse_share(model) < settings.share / 2:
        notes.append(
            f"only {_sparse_share(model):.0%} of the BatchNorm gammas are nearly zero: ranking by gamma is for networks"
            " that were trained sparse (kd-yolo sparse)"
        )
    return (*notes, NORMAL)


def _sparse_share(model: nn.Module) -> float:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    gammas = torch.cat([norm.weight.detach().abs().cpu() for norm in norms]) if norms else torch.ones(1)
    return float((gammas < SPARSE_GAMMA).float().mean())
