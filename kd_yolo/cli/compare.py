"""``kd-yolo compare``: any number of weights in one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.closing import print_next, print_results, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.config.compare import CompareConfig

FLAGS = ("runtime", "rounds", "threads", "trust_weights")
PAIRS = tuple(key for key in CompareConfig.model_fields if key not in FLAGS)
ABOUT = About(
    """Compares weights: layers, parameters, GFLOPs, file size, accuracy, latency.

    The first weights are what the others are compared with (left %). Accuracy is measured where there is data.
    Latency is that of one image on the CPU.""",
    "kd-yolo compare yolov8n.pt runs/prune/yolov8n/weights/pruned.pt data=coco8.yaml imgsz=320",
    lambda: setting_keys(CompareConfig, PAIRS, project=PROJECT),
)
PROJECT = "Folder of the run folders (default: runs/compare)"


class CompareFlags(Flags):
    """Flags of ``kd-yolo compare``."""

    weights: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """The .pt files, the one to compare with first."""
    settings: Annotated[Given, FlagsOf(CompareConfig, FLAGS)]
    name: str | None = None
    """Name of the folder in runs/compare/ (default: that of the first weights)."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo compare") -> int:
    """Runs the command and returns its exit code."""
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(CompareFlags, words, prog=prog, description=ABOUT, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs))


def _run(flags: CompareFlags, pairs: list[str]) -> None:
    settings = _settings(flags, pairs)
    project = Path(settings.pop("project", "runs/compare"))
    from kd_yolo.base.places import find_weights, reserved
    from kd_yolo.report.compare import compare

    result = compare(
        [find_weights(path) for path in flags.weights], say=lambda line: print(line, flush=True), **settings
    )
    print()
    result.print()
    with reserved(project / (flags.name or Path(result.rows[0].weights).stem)) as folder:
        files = result.write(folder)
        print_results(folder, [file.name for file in files])
        print_next(f"yolo export model={shell_path(result.rows[-1].weights)} format=onnx imgsz={result.config.imgsz}")


def _settings(flags: CompareFlags, pairs: list[str]) -> dict[str, Any]:
    """Flags and ``key=value`` words as :func:`kd_yolo.report.compare.compare` takes and checks them; ``project``."""
    known = (*PAIRS, "project")
    wrong = [pair.partition("=")[0] for pair in pairs if pair.partition("=")[0] not in known]
    if wrong:
        raise ConfigError(
            "\n".join(f"'{key}=' means nothing to compare.{nearest(key, known)}" for key in wrong)
            + f"\nIt takes {', '.join(f'{key}=' for key in known)}."
        )
    return {**dict(pair.split("=", 1) for pair in pairs), **flags.settings}
