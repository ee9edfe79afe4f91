"""What the benchmarks that train with several seeds share: scores, paired intervals, the commit, and their main."""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCORE = "metrics/mAP50-95(B)"
TRAIN: dict[str, Any] = {
    "batch": 16, "nbs": 16, "optimizer": "AdamW", "lr0": 1e-3, "device": "cpu", "workers": 0, "cache": "ram",
    "plots": False, "verbose": False,
}  # fmt: skip


def commit() -> str:
    """The commit that runs."""
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def scores(weights: Path, data: Path, imgsz: int, device: str = "cpu") -> dict[str, float]:
    """mAP50-95 of a detector on val and on test."""
    from kd_yolo.yolo.evaluate import validate

    splits = ("val", "test")
    return {
        s: validate(weights, str(data.resolve()), imgsz=imgsz, batch=32, split=s, device=device)[SCORE] for s in splits
    }


def write_sets(data: Path, folder: Path, **choose: Callable[[list[str]], list[str]]) -> dict[str, Path]:
    """Sets that differ in their training images: ``<name>.yaml``, with ``<name>.txt`` beside it; val and test stay."""
    import yaml

    from kd_yolo.data.spec import list_images, read_data_yaml

    spec = read_data_yaml(data)
    folder.mkdir(parents=True, exist_ok=True)
    images = {split: sorted(map(str, list_images(spec, split))) for split in spec.splits}
    lists = {**images, **{name: chosen(images["train"]) for name, chosen in choose.items()}}
    for name, files in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{file}\n" for file in files))
    for name in choose:
        body = {**{split: f"{split}.txt" for split in images}, "train": f"{name}.txt", "names": spec.names}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(body))
    return {name: folder / f"{name}.yaml" for name in choose}


def paired_interval(gains: Sequence[float], comparisons: int = 1) -> tuple[float, float, float]:
    """Mean of differences that are paired by seed, at least two, and the 95 % interval of Student's t (Bonferroni)."""
    from scipy import stats

    mean = statistics.mean(gains)
    half = stats.t.ppf(1 - 0.025 / comparisons, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
    return mean, mean - half, mean + half


def paired_gain(gains: Sequence[float], comparisons: int = 1) -> str:
    """The same as it stands in a table."""
    return "{:+.4f} ({:+.4f} to {:+.4f})".format(*paired_interval(gains, comparisons))


def train_and_print(
    args: argparse.Namespace,
    run: Callable[[argparse.Namespace], None],
    table: Callable[[argparse.Namespace], str],
) -> None:
    """Runs what is missing, unless ``--table`` was given; prints the table of what is there."""
    args.set_name = args.set_name or args.data.resolve().parent.name
    if not args.table:
        from kd_yolo.training.usage import noting_usage
        from kd_yolo.yolo.guard import prepare_process

        prepare_process()
        with noting_usage():
            run(args)
    print(table(args))
