"""``kd-yolo compare``: any number of weights in one table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.cli.closing import print_next, print_results, shell_path
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides

DESCRIPTION = """Compares weights: layers, parameters, GFLOPs, file size, accuracy, latency.

The first weights are what the others are compared with (left %). Accuracy is measured where there is data:
data=bccd.yaml imgsz=320 (also batch=, device=, split=, project=). Latency is that of one image on the CPU."""
PAIRS = ("data", "imgsz", "batch", "device", "split", "project")


@dataclass(frozen=True)
class CompareFlags:
    """Flags of the command; see DESCRIPTION."""

    weights: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """The .pt files, the one to compare with first."""
    runtime: Literal["torch", "onnx"] = "torch"
    """What is timed: PyTorch, or ONNX Runtime after an export to a temporary folder."""
    rounds: int = 50
    """Timed rounds; the models take turns in each."""
    threads: int = 1
    """Threads that a model may use while it is timed."""
    name: str | None = None
    """Name of the folder in runs/compare/ (default: that of the first weights)."""
    trust_weights: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Load checkpoints that name classes outside the allow-list: runs the code they hold."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo compare") -> int:
    """Runs the command and returns its exit code."""
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(CompareFlags, words, prog=prog, description=DESCRIPTION, pairs=pairs)
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
    wrong = [pair.partition("=")[0] for pair in pairs if pair.partition("=")[0] not in PAIRS]
    if wrong:
        raise ConfigError(
            "\n".join(f"'{key}=' means nothing to compare.{nearest(key, PAIRS)}" for key in wrong)
            + f"\nIt takes {', '.join(f'{key}=' for key in PAIRS)}."
        )
    given = dict(pair.split("=", 1) for pair in pairs)
    own = {"runtime": flags.runtime, "rounds": flags.rounds, "threads": flags.threads}
    return {**given, **own, "trust_weights": flags.trust_weights}
