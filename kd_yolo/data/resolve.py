"""Writes a data YAML that means the same from every working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kd_yolo.atomic import write_atomically
from kd_yolo.data.spec import SPLIT_KEYS, DataSpec, list_images, read_data_yaml


def resolved_yaml(data_yaml: Path, out_dir: Path) -> Path:
    """Writes ``out_dir/data.yaml``, a copy with absolute paths, for ultralytics to read.

    List files are copied with absolute lines, as ultralytics counts theirs from the working directory. ``download`` is
    left out: ultralytics would run it. Other keys stay.

    Args:
        data_yaml: the YAML, or a folder with one.
        out_dir: made if needed.

    Returns:
        the copy.

    Raises:
        InputError: the YAML is unusable.
    """
    spec, out_dir = read_data_yaml(data_yaml), Path(out_dir).absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    body: dict[str, Any] = {"path": str(spec.root)}
    body |= {split: _entries(spec, split, out_dir) for split in spec.splits}
    body["names"] = spec.names
    body |= {
        key: value for key, value in spec.raw.items() if key not in (*SPLIT_KEYS, "path", "names", "nc", "download")
    }
    target = out_dir / "data.yaml"
    _write(
        target, f"# {spec.yaml_path} with absolute paths\n" + yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    )
    return target


def _entries(spec: DataSpec, split: str, out_dir: Path) -> str | list[str]:
    """What the split is in the copy: its folders, or one list of all its pictures when it has lists."""
    entries = spec.splits[split]
    if any(entry.is_file() for entry in entries):
        target = out_dir / f"{split}.txt"
        _write(target, "".join(f"{image}\n" for image in list_images(spec, split)))
        return str(target)
    return str(entries[0]) if len(entries) == 1 else [str(entry) for entry in entries]


def _write(target: Path, text: str) -> None:
    write_atomically(target, text.encode())
