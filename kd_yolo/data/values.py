"""The values of a data YAML, checked and made plain: class names, channels, keypoints.

What is not listed here does not reach ultralytics: ``download`` is run there, ``complete`` and ``masks_dir`` change
which data are read, unknown keys do nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kd_yolo.base.errors import InputError
from kd_yolo.base.reading import first_few, shown

MAX_CLASSES = 100_000
MAX_NAME = 1000  # characters of a class name
MAX_CHANNELS = 1024
MAX_KEYPOINTS = 10_000
_PLAIN = (str, int, float, bool, type(None))


def class_names(file: Path, raw: dict[str, Any]) -> dict[int, str]:
    """Class names by id, 0..n-1, as ultralytics reads ``names`` and ``nc``.

    Raises:
        InputError: neither, ids with gaps, names that are no text, other numbers of them, too many.
    """
    names, count = raw.get("names"), _count(file, raw)
    if names is None and count is not None:
        return {index: f"class_{index}" for index in range(count)}
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InputError(
            f"{file} has 'names: {_said(names)}': expected a list of class names, or a mapping from class id to name."
        )
    if len(names) > MAX_CLASSES:
        raise InputError(f"{file} has {len(names)} class names, expected at most {MAX_CLASSES}.")
    by_id = {_class_id(file, key, len(names)): _name(file, key, name) for key, name in names.items()}
    if sorted(by_id) != list(range(len(names))):
        ids = shown(sorted(by_id)) if len(by_id) > 10 else sorted(by_id)
        raise InputError(f"{file} has class ids {ids} in 'names': expected 0..{len(names) - 1} without gaps.")
    if count is not None and count != len(by_id):
        raise InputError(f"{file} has 'nc: {count}' but {len(by_id)} names. Leave 'nc' out.")
    return dict(sorted(by_id.items()))


def _class_id(file: Path, key: object, count: int) -> int:
    try:
        if isinstance(key, str | int) and not isinstance(key, bool) and len(str(key)[:20]) < 20:
            return int(key)
    except ValueError:
        pass
    raise InputError(f"{file} has the class id {shown(key)} in 'names': expected the class ids 0..{count - 1}.")


def _name(file: Path, key: object, name: object) -> str:
    if not isinstance(name, _PLAIN):
        raise InputError(f"{file} names class {shown(key)} {shown(name)}: expected text.")
    text = name if isinstance(name, str) else shown(name)
    if len(text) > MAX_NAME:
        raise InputError(f"{file} names class {shown(key)} with {len(text)} characters, expected at most {MAX_NAME}.")
    return text


def _count(file: Path, raw: dict[str, Any]) -> int | None:
    """``nc``, which may be written 3.0 or '3' as well."""
    if "nc" not in raw:
        return None
    value = raw["nc"]
    try:
        count = int(float(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0
        is_whole = float(value) == count
    except (TypeError, ValueError, OverflowError):
        count, is_whole = 0, False
    if not is_whole or not 0 < count <= MAX_CLASSES:
        raise InputError(f"{file} has 'nc: {_said(value)}': expected the number of classes, 1 to {MAX_CLASSES}.")
    return count


def extra_values(file: Path, raw: dict[str, Any], num_classes: int) -> dict[str, Any]:
    """``channels``, ``kpt_shape``, ``flip_idx``, ``kpt_names`` and ``kpt_oks_sigmas`` where the YAML has them.

    Raises:
        InputError: a value that training cannot use.
    """
    found: dict[str, Any] = {}
    if raw.get("channels") is not None:
        found["channels"] = _whole(file, "channels", raw["channels"], 1, MAX_CHANNELS)
    if raw.get("kpt_shape") is None:
        return found  # the other keys mean nothing without it
    found["kpt_shape"] = shape = _keypoint_shape(file, raw["kpt_shape"])
    if raw.get("flip_idx") not in (None, []):
        found["flip_idx"] = _flip(file, raw["flip_idx"], shape[0])
    if raw.get("kpt_names") not in (None, [], {}):
        found["kpt_names"] = _keypoint_names(file, raw["kpt_names"], shape[0], num_classes)
    if raw.get("kpt_oks_sigmas") not in (None, []):
        found["kpt_oks_sigmas"] = _sigmas(file, raw["kpt_oks_sigmas"], shape[0])
    return found


def _whole(file: Path, key: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"{file} has '{key}: {_said(value)}': expected a whole number, {low} to {high}.")
    return value


def _keypoint_shape(file: Path, value: object) -> list[int]:
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(entry) is int for entry in value)
    if not is_pair or not isinstance(value, list) or not 0 < value[0] <= MAX_KEYPOINTS or value[1] not in (2, 3):
        raise InputError(
            f"{file} has 'kpt_shape: {_said(value)}': expected [number of keypoints, 2 or 3], such as [17, 3]"
            " (2: x, y; 3: x, y and visibility)."
        )
    return list(value)


def _flip(file: Path, value: object, count: int) -> list[int]:
    whole = isinstance(value, list) and all(type(entry) is int for entry in value)
    if not whole or not isinstance(value, list) or sorted(value) != list(range(count)):
        raise InputError(
            f"{file} has 'flip_idx: {_said(value)}': expected the keypoints 0..{count - 1} in their order in a mirrored"
            " image, each once."
        )
    return list(value)


def _keypoint_names(file: Path, value: object, count: int, num_classes: int) -> dict[int, list[str]] | list[str]:
    """Names of the keypoints, of one class or by class."""
    lists: list[Any] = list(value.values()) if isinstance(value, dict) else [value]
    fits = len(lists) <= num_classes and all(_are_names(names, count) for names in lists)
    keys = list(value) if isinstance(value, dict) else []
    if not fits or not all(isinstance(key, int) and 0 <= key < num_classes for key in keys):
        raise InputError(
            f"{file} has 'kpt_names: {_said(value)}': expected a list of {count} names, or one by class id."
        )
    texts = [[shown(n) if isinstance(n, int) else str(n)[:MAX_NAME] for n in names] for names in lists]
    return dict(zip(map(int, keys), texts, strict=True)) if keys else texts[0]


def _are_names(value: object, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(isinstance(name, str | int) for name in value)


def _sigmas(file: Path, value: object, count: int) -> list[float]:
    numbers = isinstance(value, list) and all(isinstance(n, int | float) and 0 < n < 1e6 for n in value)
    if not numbers or not isinstance(value, list) or len(value) != count:
        raise InputError(f"{file} has 'kpt_oks_sigmas: {_said(value)}': expected {count} positive numbers.")
    return [float(number) for number in value]


def duplicate_names(names: dict[int, str]) -> list[str]:
    """A note on every name that several classes have; ultralytics takes them for different classes."""
    owners: dict[str, list[int]] = {}
    for number, name in names.items():
        owners.setdefault(name, []).append(number)
    return [
        f"classes {first_few(ids)} are all called {shown(name)}: they stay different classes"
        for name, ids in owners.items()
        if len(ids) > 1
    ][:5]


def _said(value: object) -> str:
    """A value as it stands in the YAML: text without quotes."""
    return shown(value).strip("'") if isinstance(value, str) else shown(value)
