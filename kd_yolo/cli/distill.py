"""``train_distill.py`` / ``kd-yolo distill``: a student trains under a teacher."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, argument_keys
from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path
from kd_yolo.cli.flags import Flags, FlagsOf, Given
from kd_yolo.cli.run import parse_flags, run_guarded, split_overrides
from kd_yolo.config.options import DistillOptions, RunOptions

if TYPE_CHECKING:  # importing it costs an import of torch and ultralytics
    from kd_yolo.distill.job import Result

ABOUT = About(
    """Trains a YOLO student under a frozen teacher.

    Anything written key=value goes to ultralytics. Without data= the built-in street scenes are used, without --teacher
    a small demo teacher, without --student the next smaller size of the teacher's family.""",
    "kd-yolo distill --teacher yolov8m.pt --loss cwd+bkd data=coco8.yaml epochs=100",
    lambda: argument_keys("distill", "name", "device", "seed"),
)


class DistillFlags(RunOptions, Flags):
    """Flags of ``kd-yolo distill``."""

    teacher: tuple[str, ...] = ()
    """Weights of the teacher: a file, an official name such as yolov8m.pt, or ema (the student's own moving average).
    With several, each term is the mean over them (default: a demo teacher)."""
    student: str | None = None
    """Weights or model YAML of the student (default: the next smaller size of the teacher)."""
    options: Annotated[Given, FlagsOf(DistillOptions, tuple(DistillOptions.model_fields))]
    baseline: bool = False
    """Afterwards train the same student without a teacher (same start, seed, data and epochs), in <run>/alone, and say
    the difference."""
    dry_run: bool = False
    """Check everything, print taps, shapes, adapters and cost, write nothing."""
    list_losses: bool = False
    """Print every loss with its default weight, parameters and paper, and every recipe."""


def main(argv: Sequence[str] | None = None, prog: str = "train_distill.py") -> int:
    """Runs the command and returns its exit code."""
    words, pairs = split_overrides(sys.argv[1:] if argv is None else argv)
    flags = parse_flags(DistillFlags, words, prog=prog, description=ABOUT, pairs=pairs)
    return run_guarded(lambda: _run(flags, pairs), detector=not flags.list_losses)


def _run(flags: DistillFlags, pairs: list[str]) -> None:
    if flags.list_losses:
        _print_losses()
        return
    from kd_yolo.distill import job
    from kd_yolo.distill.alone import is_missing
    from kd_yolo.yolo.arguments.check import join_flags, parse_overrides

    own = flags.model_dump(include={"device", "seed", "name"})
    overrides = join_flags(parse_overrides(pairs), own, "distill")
    if flags.resume:
        _refuse_changes(flags)
        trust = flags.trust_weights
        result = job.finished_run(flags.resume, trust_weights=trust)
        # of a finished run, resume says that there is nothing to resume
        if result is None or (_is_drawn(result) and not is_missing(result.save_dir, result.baseline, trust=trust)):
            result = job.resume(flags.resume, overrides, teacher=flags.teacher, trust_weights=trust)
        finish(result, trust=trust)
        return
    request = job.Request(
        flags.teacher, flags.student, flags.options.get("loss"), _term_flags(flags), flags.trust_weights, overrides
    )  # fmt: skip
    plan = job.with_run_folder(job.make_plan(request, write=not flags.dry_run))
    plan = replace(plan, baseline=flags.baseline)
    for note in plan.notes:
        print(f"warning: {note}")
    if flags.dry_run:
        print("\n".join([*plan.lines, "dry run: nothing was written"]))
        return
    finish(job.distil(plan), trust=flags.trust_weights)


def _refuse_changes(flags: DistillFlags) -> None:
    """A resumed run keeps its settings; a flag that would be ignored is an error."""
    given = [*(key for key in ("student", "name", "baseline") if key in flags.model_fields_set), *flags.options]
    changed = [f"--{key.replace('_', '-')}" for key in given]
    if changed:
        raise ConfigError(
            f"--resume continues the run as it was started: {', '.join(changed)} cannot change. Leave out "
            f"{'it' if len(changed) == 1 else 'them'}, or start a new run."
        )


def _term_flags(flags: DistillFlags) -> dict[str, object]:
    """Flags that change the terms, as :func:`kd_yolo.config.distill.resolve_distill` takes them."""
    from kd_yolo.config.term import parse_taps

    terms = {key: value for key, value in flags.options.items() if key != "loss"}
    return {**terms, "taps": parse_taps(terms["taps"])} if "taps" in terms else terms


def _print_losses() -> None:
    from kd_yolo.config.base import recipes
    from kd_yolo.config.distill import DEFAULT_LOSS
    from kd_yolo.losses import describe_losses, losses

    for problem in losses.problems().values():
        print(f"warning: {problem}", file=sys.stderr)
    for info in describe_losses():
        print(f"{info.name:9} {info.summary}")
        parameters = ", ".join(info.parameters) or "none"
        print(f"{'':9} {info.kind} loss, {info.weight}; {info.paper}; parameters: {parameters}\n")
    print("recipes (--loss NAME):")
    print(f"  {DEFAULT_LOSS:15} The default: terms, gate and weights that fit classes and heads; --dry-run says why.")
    for name, comment in recipes("distill").items():
        print(f"  {name:15} {comment}")


def finish(result: Result, *, trust: bool = False) -> None:
    """Trains the student alone where that was asked for; where the results are, and what to type next."""
    from kd_yolo.distill.alone import train_alone

    start = result.baseline
    alone = None if start is None else train_alone(result.save_dir, start, trust=trust)
    _draw(result)
    gains = _gains(result, alone, trust=trust)
    score = result.metrics.get("metrics/mAP50-95(B)")
    files = ("results.csv", "results.png", "distillation.png", "side_by_side.png", "gains.csv", "alone")
    print_results(result.save_dir, files)
    if score is not None:
        print(f"mAP50-95 of best.pt on val: {score:.4f}")
    for line in gains:
        print(line)
    print_network(result.best, label="student")
    if result.is_int8:
        print_next(f"yolo export model={shell_path(result.best)} format=onnx imgsz={result.imgsz}")
    else:
        print_next(f"yolo val model={shell_path(result.best)} data={shell_path(result.save_dir / 'data.yaml')}")


def _gains(result: Result, alone: Path | None, *, trust: bool) -> list[str]:
    """Lines on the gain by class, where there is something to compare with."""
    from kd_yolo.distill.scores import Measuring, gain_lines, measured_teachers
    from kd_yolo.yolo.files.loading import load_checkpoint

    data = result.save_dir / "data.yaml"
    if not data.is_file() or not (alone or measured_teachers(result.save_dir)):
        return []
    measuring = Measuring(str(data), result.imgsz)
    student, other = (
        None if path is None else measuring.score(load_checkpoint(path, trust=trust)[0])
        for path in (result.best, alone)
    )
    assert student is not None, "a finished run has a best.pt"
    return gain_lines(result.save_dir, student, other)


def _is_drawn(result: Result) -> bool:
    """Whether the images of :func:`_draw` are there: a run may have been killed before them."""
    names = ["distillation.png", *(["side_by_side.png"] if result.task == "detect" else [])]
    return all((result.save_dir / name).is_file() for name in names)


def _draw(result: Result) -> None:
    """``distillation.png``, and ``side_by_side.png``: labels, teacher and student on val images; detectors only."""
    from kd_yolo.distill.plots import draw_distillation
    from kd_yolo.report.side_by_side import side_by_side

    draw_distillation(result.save_dir)
    data = result.save_dir / "data.yaml"
    if result.task == "detect" and data.is_file() and result.best.is_file():
        models: list[tuple[str, str | Path]] = [("student", result.best)]
        if result.teacher is not None:
            models.insert(0, ("teacher", result.teacher))
        side_by_side(models, data, result.save_dir / "side_by_side.png", imgsz=result.imgsz)
