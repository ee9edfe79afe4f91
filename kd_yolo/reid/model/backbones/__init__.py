"""Backbones by name: torchvision's ResNets, their IBN-a variants, every network of timm, and those that are added.

In comes a name as a user types it, out comes a module that maps crops to the maps of its stages. ``base.py`` holds the
contract. Every module of this folder is imported here, so a new backbone is a new file and its test.
"""

from __future__ import annotations

import importlib
import pkgutil

from kd_yolo.reid.model.backbones.base import Backbone, backbones
from kd_yolo.reid.model.backbones.build import TIMM_PREFIX, full_name, random_backbone
from kd_yolo.reid.model.backbones.stages import final_relu, last_norms, residual_stages

__all__ = [
    "TIMM_PREFIX",
    "Backbone",
    "backbones",
    "final_relu",
    "full_name",
    "last_norms",
    "random_backbone",
    "residual_stages",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
