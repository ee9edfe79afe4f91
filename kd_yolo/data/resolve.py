"""Writes a data YAML that means the same from every working directory, and holds nothing that is run or fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.errors import InputError
from kd_yolo.base.files import write_bytes
from kd_yolo.data.source import find_class_folder
from kd_yolo.data.spec import DataSpec, list_images, read_data_yaml


def resolved_data(data: str | Path, task: str, out_dir: Path, split: str | None = None) -> str:
    """The one door for ``data=`` to ultralytics: what it gets was checked, is local, and was written here.

    Args:
        data: what the user gave.
        task: of the model; "classify" takes a folder, every other a data YAML.
        out_dir: gets the copy.
        split: the split that is evaluated; None is a training, which needs train and val.

    Returns:
        The path of a copy made by :func:`resolved_yaml`, or of a classifier's folder.

    Raises:
        InputError: data that cannot be used.
    """
    if task == "classify":
        return str(find_class_folder(data, ("train", split or "val")))
    return str(resolved_yaml(data, out_dir, None if split is None else (split,)))


def resolved_yaml(data: str | Path, out_dir: Path, needs: tuple[str, ...] | None = None) -> Path:
    """Writes ``out_dir/data.yaml``, a copy with absolute paths and plain values, for ultralytics to read.

    List files are copied with absolute lines, as ultralytics counts theirs from the working directory. Only values that
    training reads are kept: ``download`` would be run.

    Args:
        data: the YAML, a folder with one, or the name of one that ultralytics ships.
        out_dir: made if needed.
        needs: splits whose places must exist; None is train and val.

    Returns:
        the copy.

    Raises:
        InputError: the YAML is unusable.
    """
    spec = read_data_yaml(data) if needs is None else read_data_yaml(data, needs)
    out_dir = Path(out_dir).absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    body: dict[str, Any] = {"path": str(spec.root)}
    body |= {split: str(place) for split, place in spec.missing.items() if split != "test"}  # upstream wants the keys
    body |= {split: _entries(spec, split, out_dir) for split in spec.splits}
    body["names"] = spec.names
    body |= spec.extras
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    target = out_dir / "data.yaml"
    _write(target, f"# {ascii(str(spec.yaml_path))[1:-1]} with absolute paths\n{text}")
    return target


def _entries(spec: DataSpec, split: str, out_dir: Path) -> str | list[str]:
    """What the split is in the copy: its folders, or one list of all its images when it has lists."""
    entries = spec.splits[split]
    if any(entry.is_file() for entry in entries):
        target = out_dir / f"{split}.txt"
        images = [str(image) for image in list_images(spec, split)]
        if any(len(image.splitlines()) > 1 for image in images):
            raise InputError(f"'{split}' of {spec.yaml_path} has image names with line breaks: rename them.")
        _write(target, "".join(f"{image}\n" for image in images))
        return str(target)
    return str(entries[0]) if len(entries) == 1 else [str(entry) for entry in entries]


def _write(target: Path, text: str) -> None:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        name = text[max(error.start - 40, 0) : error.end].encode("utf-8", "backslashreplace").decode()
        raise InputError(f"a path of the data set is no UTF-8 text (...{name}): rename it.") from None
    write_bytes(target, data)
