"""``kd-yolo pipeline``: a whole chain from a recipe, resumable."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.cli.about import About, argument_keys
from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path
from kd_yolo.cli.flags import Flags
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.config.base import TrustWeights

ABOUT = About(
    """Runs a chain: (base training, sparse training,) prune, retrain, distil, (train for INT8,) compare.

    The recipe is a YAML file, or a name in cfg/prune/. Everything goes into runs/prune/<name>/; the same command goes
    on where an interrupted one stopped, and refuses settings that have changed. key=value goes to ultralytics, every
    stage.""",
    "kd-yolo pipeline demo epochs=3 imgsz=320",
    lambda: argument_keys("train", "project", "name"),
)


class PipelineFlags(TrustWeights, Flags):
    """Flags of ``kd-yolo pipeline``."""

    recipe: Annotated[str, tyro.conf.Positional]
    """A recipe: path of a YAML, or a name in cfg/prune/."""
    name: str | None = None
    """Name of the folder in runs/prune/ (default: the recipe's name)."""
    gate: str | None = None
    """Exit code 4 when missed: max-map-drop=0.02 (mAP50-95 lost against the first network) (default: the recipe's)."""


def main(argv: Sequence[str] | None = None, prog: str = "kd-yolo pipeline") -> int:
    """Runs the command and returns its exit code."""
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(PipelineFlags, words, prog=prog, description=ABOUT, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs))


def _run(flags: PipelineFlags, pairs: list[str]) -> None:
    from kd_yolo.config.base import recipe_path
    from kd_yolo.pipeline.chain import read_recipe, run_chain
    from kd_yolo.yolo.arguments.check import parse_overrides
    from kd_yolo.yolo.arguments.values import NAME

    recipe = recipe_path(flags.recipe, "prune", what="pipeline")
    config = read_recipe(recipe, train=parse_overrides(pairs, command="train"), gate=parse_gate(flags.gate))
    if flags.name is not None and not NAME.holds(flags.name):
        raise ConfigError(f"--name is {shown(flags.name)}, expected {NAME.expected}.")
    folder = Path("runs/prune") / (flags.name or recipe.stem)
    result = run_chain(config, folder, trust=flags.trust_weights)
    if result.table is not None:
        result.table.print()
    if result.int8 is not None:
        print()
        result.int8.print()
    files = ("compare.csv", "compare.md", "compare.json", "compare.png", "int8.md", "int8.json")
    print_results(folder, (*files, "channels.png", "timeline.png"))
    print_network(result.steps[-1].path)
    print_next(f"yolo export model={shell_path(result.steps[-1].path)} format=onnx")


def parse_gate(text: str | None) -> dict[str, float]:
    """``"max-map-drop=0.02"`` as a dict.

    Raises:
        ConfigError: not of that form.
    """
    if text is None:
        return {}
    name, _, value = text.partition("=")
    try:
        return {name: float(value)}
    except ValueError:
        raise ConfigError(f"--gate {shown(text)}: expected name=number, for example max-map-drop=0.02.") from None
