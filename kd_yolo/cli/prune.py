"""``prune.py`` / ``kd-yolo prune``: removes channels from a detector."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.registry import nearest
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.closing import print_network, print_next, print_results, say, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.newest import find_model
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.config.prune import PruneSettings

if TYPE_CHECKING:  # importing it costs an import of torch and ultralytics
    from kd_yolo.prune.result import PruneResult

FLAGS = (
    "factor", "target_flops", "target_params", "target_latency", "plan", "importance", "global_ranking", "round_to",
    "min_channels", "ignore", "iterative", "batches", "recalibrate", "runtime", "sensitivity_images", "device", "seed",
    "trust_weights",
)  # fmt: skip
KEYS = ("data", "imgsz", "batch")
PAIRS = (*KEYS, "device", "seed", "project", "name")
UNNAMED = "best.pt"  # stands for the weights that find_model will find
ABOUT = About(
    """Removes channels from a YOLO network: weights/pruned.pt, a plain model with narrower layers.

--factor is the share of the channels that is REMOVED: 0.2 removes about 36 % of the parameters and FLOPs, 0.5 about
75 %. (Some code that passes a factor under the same name means the share that is KEPT.) Instead of it a target can be
given, or a plan. mAP near zero is normal afterwards: kd-yolo retrain brings it back (plain yolo train builds the
unpruned network again).

Targets below 1 are shares of the unpruned network's, counted in the form in which it is deployed.""",
    "kd-yolo prune --model yolov8n.pt --factor 0.3 data=coco8.yaml",
    lambda: setting_keys(
        PruneSettings,
        KEYS,
        project="Folder of the run folders (default: runs/prune).",
        name="As --name; device= and seed= as those flags.",
    ),
)


class PruneFlags(Flags):
    """Flags of ``kd-yolo prune``."""

    model: str | None = None
    """Weights to prune; already pruned ones can be pruned further (default: the newest best.pt under runs/, else a file
    in weights/, else the demo's student)."""
    settings: Annotated[Given, FlagsOf(PruneSettings, FLAGS, {"global_ranking": "global"})]
    save_dir: str | None = None
    """A file to which pruned.pt is copied, such as weights/prune.pt (default: none)."""
    dry_run: bool = False
    """Print the plan layer by layer, parameters, FLOPs and latency; write nothing."""
    sensitivity: bool = False
    """Measure the mAP after pruning each layer alone: an image, and a plan for --plan."""
    name: str | None = None
    """Name of the run folder in runs/prune/ (default: that of the model)."""


def main(argv: Sequence[str] | None = None, prog: str = "prune.py") -> int:
    """Runs the command and returns its exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    words, pairs = split_overrides(given)
    flags = parse_flags(PruneFlags, words, prog=prog, description=ABOUT, pairs=pairs)
    command = shlex.join([*(["python"] if prog.endswith(".py") else []), *prog.split(), *given])
    return run_guarded(lambda: _run(flags, _settings(flags, pairs, prog), command))


def _run(flags: PruneFlags, given: tuple[PruneSettings, Path, str], command: str) -> None:
    settings, project, name = given
    _check_output(flags)
    if flags.model is None:
        model, note = find_model(train=not flags.dry_run)
        print(note, flush=True)
        settings = settings.model_copy(update={"model": model})
    from kd_yolo.base.places import find_weights, reserved
    from kd_yolo.prune.job import Pruning

    settings = settings.model_copy(update={"model": find_weights(settings.model)})
    if flags.sensitivity:
        _analyse(settings, project / f"{name}-sensitivity", command)
    elif flags.dry_run:
        result = Pruning(settings, say).preview()
        _print_plan(result)
        print("\n".join([*result.lines(), "dry run: nothing was written"]))
    else:
        with reserved(project / name) as folder:
            result = Pruning(settings, say).run(folder)
            print("\n".join(["", *result.lines()]))
            _finish(result, flags.save_dir)


def _settings(flags: PruneFlags, pairs: list[str], prog: str) -> tuple[PruneSettings, Path, str]:
    """Settings, the folder of all runs, and the name of this one.

    Raises:
        ConfigError: words that mean nothing, values that do not fit.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key == "model":
            raise ConfigError("'model=' is set by --model here.")
        if key not in PAIRS:
            takes = ", ".join(f"{name}=" for name in PAIRS)
            raise ConfigError(f"'{key}=' means nothing to pruning.{nearest(key, PAIRS)} It takes {takes}.")
        if key in flags.settings or (key == "name" and flags.name):
            raise ConfigError(f"--{key} and {key}= say the same: give one of them.")
        given[key] = value
    project, name = Path(given.pop("project", "runs/prune")), given.pop("name", None)
    stem = Path(flags.model or UNNAMED).stem
    values = {"model": flags.model or UNNAMED, **given, **flags.settings}
    return PruneSettings.parse(values, prog), project, flags.name or name or stem


def _check_output(flags: PruneFlags) -> None:
    """Flags that would be ignored are errors."""
    if flags.dry_run and flags.sensitivity:
        raise ConfigError("--dry-run measures nothing on images: leave it or --sensitivity out.")
    if "sensitivity_images" in flags.settings and not flags.sensitivity:
        raise ConfigError("--sensitivity-images is for --sensitivity: add that, or leave it out.")
    if flags.save_dir is None:
        return
    if flags.dry_run or flags.sensitivity:
        raise ConfigError("--save-dir is for the pruned network, and none is written here: leave it out.")
    if Path(flags.save_dir).suffix != ".pt" or Path(flags.save_dir).is_dir():
        raise ConfigError(f"--save-dir is '{flags.save_dir}', expected the name of a file such as weights/prune.pt.")


def _analyse(settings: PruneSettings, first: Path, command: str) -> None:
    """Measures into a new folder, or goes on in that of the same analysis that was cut off."""
    from kd_yolo.base.lock import holding
    from kd_yolo.base.places import reserved
    from kd_yolo.prune.measured import find_unfinished

    unfinished = find_unfinished(first, settings)
    with (
        reserved(first) if unfinished is None else nullcontext(unfinished) as folder,
        holding(folder, "analysis"),
    ):
        _measure(settings, folder, command)


def _measure(settings: PruneSettings, folder: Path, command: str) -> None:
    from kd_yolo.prune.sensitivity import Analysis
    from kd_yolo.prune.sensitivity_plot import draw_sensitivity

    try:
        found = Analysis(settings, say).run(folder)
    except KeyboardInterrupt:
        print(f"\nwhat is measured is kept in {folder}; go on with: {command}", file=sys.stderr)
        raise
    drops = {row.names[0]: row.drop for row in found.drops}
    draw_sensitivity(drops, found.metric.removeprefix("metrics/"), found.base, folder / "sensitivity.png")
    found.write(folder, settings.model)
    worst = sorted(found.drops, key=lambda row: row.drop, reverse=True)[:5]
    print(f"\n{found.metric} of the whole network: {found.base:.4f}; most is lost by pruning")
    print("\n".join(f"  {row.names[0]:30} {row.width} -> {row.left} channels: -{row.drop:.4f}" for row in worst))
    print_results(folder, ("sensitivity.png", "sensitivity.json", "plan.yaml"))
    plan, data = shell_path(folder / "plan.yaml"), shell_path(str(settings.data))
    print_next(f"kd-yolo prune --model {shell_path(settings.model)} --plan {plan} data={data}")


def _print_plan(result: PruneResult) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "channels", "left", "", "why whole", title="plan", title_justify="left")
    for name, before, after, why in result.plan_rows():
        table.add_row(name, str(before), str(after), f"{after / before:.0%}", why)
    Console().print(table, markup=False)


def _finish(result: PruneResult, save_dir: str | None) -> None:
    """The image and the copy, where the results are, and what to type next."""
    from kd_yolo.base.files import write_bytes
    from kd_yolo.prune.plots import draw_channels

    assert result.path is not None
    folder, network = result.path.parents[1], str(result.path)
    draw_channels(*result.channels, folder / "channels.png")
    if save_dir is not None:
        network = str(write_bytes(save_dir, result.path.read_bytes()))
    print_results(folder, ("weights/pruned.pt", "plan.yaml", "report.json", "channels.png"))
    print_network(network)
    data = shell_path(result.settings.data) if result.settings.data else "..."
    print_next(f"kd-yolo retrain --model {shell_path(network)} data={data}")
