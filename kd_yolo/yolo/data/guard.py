"""The last door before ultralytics' readers of data sets, for whatever did not come through ``resolved_data``.

Every way of ours to ultralytics hands it a copy that we wrote. Should one be forgotten, or a customer call a trainer of
ultralytics in a process of ours: what is not a local data YAML or folder is refused, and nothing is downloaded or run.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ultralytics.data.utils as readers
from ultralytics.utils import USER_CONFIG_DIR, patches

from kd_yolo.data.source import find_class_folder, find_data_yaml
from kd_yolo.yolo.data.label_cache import load_label_cache


def install_data_guard() -> None:
    """Puts the guarded readers in place in all modules of ultralytics, loaded or not; may be repeated."""
    _replace("load_dataset_cache_file", lambda _: load_label_cache)
    _replace("check_det_dataset", _guarded_detection)
    _replace("check_cls_dataset", _guarded_classes)
    _replace("convert_ndjson_to_yolo_if_needed", _guarded_conversion)
    _replace("check_font", lambda _: _local_font)
    if importlib.util.find_spec("pi_heif") is None:
        patches._pil_plugins_registered = True  # or every file that is no image asks for an installation of it


def _replace(name: str, guard: Callable[[Any], Any]) -> None:
    """Replaces a function wherever it was imported to; what is imported later finds the new one."""
    original = vars(readers)[name]
    if getattr(original, "__kd_yolo__", False):
        return
    new: Any = functools.wraps(original)(guard(original))
    new.__kd_yolo__ = True
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("ultralytics") and getattr(module, name, None) is original:
            setattr(module, name, new)


def _guarded_detection(original: Any) -> Any:
    def check_det_dataset(dataset: str | Path, autodownload: bool = True, split: str = "") -> dict[str, Any]:  # noqa: ARG001
        return original(str(find_data_yaml(dataset)), autodownload=False, split=split)  # type: ignore[no-any-return]

    return check_det_dataset


def _guarded_classes(original: Any) -> Any:
    def check_cls_dataset(dataset: str | Path, split: str = "") -> dict[str, Any]:
        return original(find_class_folder(dataset, ("train",)), split=split)  # type: ignore[no-any-return]

    return check_cls_dataset


def _guarded_conversion(_: Any) -> Any:
    def convert_ndjson_to_yolo_if_needed(data: str | Path, *_args: Any, **_kwargs: Any) -> str | Path:
        return data  # the reader refuses what is not local YAML

    return convert_ndjson_to_yolo_if_needed


def _local_font(font: str = "Arial.ttf") -> str | None:
    """Stands in for ``check_font``, which fetches a font for a data set's names; plots take another one without it."""
    from matplotlib import font_manager  # importing it costs 0.3 s

    kept = USER_CONFIG_DIR / Path(font).name
    found = [entry.fname for entry in font_manager.fontManager.ttflist if font in entry.fname]
    return next((str(file) for file in (kept, *found) if Path(file).is_file()), None)
