"""Losses of ReID networks: a pure function each, and a thin module registered under the name of its file.

In come features, logits and maps of a batch, with the index of each row's identity; out comes one scalar, in float32 at
least, also under autocast. Supervised: ``id``, ``triplet``, ``center``, ``circle``, ``local``. Distillation, with a
gradient for the student only: ``logit``, ``overhaul``, ``relation``, ``self_kd``. ``base.py`` holds the contract. A
tensor's name ends in its shape: n images (m of them as anchors), k identities, d features, c channels, h and w of a
map, h stripes in ``nhd``. Every module of this folder is imported here, so a new loss is a new file and its test.
"""

from __future__ import annotations

import importlib
import pkgutil

from kd_yolo.reid.losses.base import ReIDLoss, build_loss, check_loss, losses

__all__ = ["ReIDLoss", "build_loss", "check_loss", "losses"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
