"""A league on one GPU within ten minutes: many trainings at once, each in a process of its own.

    python benchmarks/gpu_league.py --sets path/to/bccd/data.yaml street --teacher yolov8s.pt --student yolov8n.pt

First the cost of a training step on the card, alone on it and with AMP: plain, shipped, ``mgd``, ``auto``, as a ratio
to plain + teacher and to plain, and the peak of its memory. The dearest of our losses sets the epochs of the row at
equal cost (``equal_cost``). Then the teachers of all sets and all students seed by seed, each as soon as its teacher is
there, ``--at-once`` processes at a time, images cached in memory. When ``--minutes`` are over, what runs is
interrupted; the same command goes on from there. Results are those of ``kd-yolo league``, a folder a set, with the name
of the card, and ``gpu_league.json`` that sums them up.

Where polars is missing (ultralytics reads ``results.csv`` with it into each checkpoint), the training processes get one
that reads nothing; no display is needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from kd_yolo.base.files import write_json
from kd_yolo.config.rows import TEACHER

os.environ.update(YOLO_AUTOINSTALL="false", MPLBACKEND="Agg")
NO_POLARS = 'def read_csv(*_args, **_values):\n    raise RuntimeError("polars is not installed")\n'


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", required=True, help="data YAMLs; 'street' is the built-in demo set")
    parser.add_argument("--teacher", required=True, help="weights of the teacher before fine-tuning")
    parser.add_argument("--student", required=True, help="weights of the student")
    parser.add_argument("--losses", nargs="+", default=["mgd", "auto"])
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--teacher-seeds", default="0", help="runs of the teacher, as kd-yolo league has them")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--teacher-epochs", type=int, default=50)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="0")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="training processes at a time")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each method")
    parser.add_argument("--split", default="test", choices=["val", "test"])
    parser.add_argument("--claims", type=Path, help="claims file, noted in each set's folder before the first run")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks/gpu_league"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "gpu_league")
    parser.add_argument("--measure-steps", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def step_costs(args: argparse.Namespace) -> dict[str, Any]:
    """What a step costs; measured once, so that an interrupted league goes on with the same row at equal cost."""
    target = args.out / "steps.json"
    if not target.is_file():
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "steps.json"
            subprocess.run([sys.executable, *sys.argv, "--measure-steps", str(part)], check=True)
            found = json.loads(part.read_text())
        plain, teacher = found["plain"]["seconds"], found["fused teacher"]["seconds"]
        for row in found.values():
            row |= {"of_plain": row["seconds"] / plain, "of_plain_and_teacher": row["seconds"] / (plain + teacher)}
        write_json(target, found)
    return dict(json.loads(target.read_text()))


def leagues(args: argparse.Namespace, ratio: float) -> list[Any]:
    """A league for each set; ``equal_cost`` trains plainly for as long as the dearest of our losses takes."""
    from kd_yolo.builtin.demo import demo_data
    from kd_yolo.config.league import parse_seeds
    from kd_yolo.league.agreement import check_agreement
    from kd_yolo.league.plan import data_name, make_league
    from kd_yolo.league.request import Request

    found = []
    for name in args.sets:
        data = demo_data(write=True)[0] if name == "street" else name
        arguments = {
            "data": data, "epochs": args.epochs, "imgsz": args.imgsz, "batch": args.batch, "nbs": args.batch,
            "optimizer": "AdamW", "lr0": 1e-3, "cache": "ram", "workers": 0, "device": args.device,
            "project": str(args.runs.resolve()),
        }  # fmt: skip
        recipes = (*args.losses, f"equal_cost=none:epochs={math.ceil(args.epochs * ratio)}")
        league = make_league(
            Request(
                recipes, parse_seeds(args.seeds), args.teacher, args.student, args.teacher_epochs, data_name(data),
                args.out / data_name(data), arguments=arguments, split=args.split,
                teacher_seeds=parse_seeds(args.teacher_seeds), claims=args.claims,
            )
        )  # fmt: skip
        check_agreement(league)
        note(league, args.claims)
        found.append(league)
    return found


def scan_labels(league: Any) -> None:
    """Lets ultralytics scan the labels once: many processes that write its cache at once could stumble over it."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data import build_yolo_dataset
    from ultralytics.data.utils import check_det_dataset

    from kd_yolo.data.resolve import resolved_yaml

    job = league.jobs[0]
    data = check_det_dataset(str(resolved_yaml(job.data, league.folder / "data")))
    for split in {"train", "val", job.split}:
        build_yolo_dataset(get_cfg(overrides={"imgsz": job.arguments["imgsz"]}), data[split], 1, data)


def note(league: Any, claims: Path | None) -> None:
    """Notes the claims before the first run."""
    from kd_yolo.league.claims import note_claims

    if claims is not None:
        results, started = (sum(getattr(job, key).is_file() for job in league.jobs) for key in ("target", "started"))
        print(f"claims of {claims.name} {note_claims(claims, league.out, results, started)}")


def run_all(jobs: list[Any], at_once: int, end: float) -> list[str]:
    """Does jobs in several processes until they are done or the time is over; a student waits for its teacher.

    Returns:
        A line for each job that failed or is not done. Processes that still run end with this one, by themselves.
    """
    from kd_yolo.league.run import run_job

    waiting, running, lock = list(jobs), set(), threading.Lock()
    left = {job.folder: f"{job.folder.parent.name}/{job.name}: not done in time" for job in jobs}

    def take() -> Any:
        """The first job whose teacher is there, None if there is none now."""
        with lock:
            ready = [job for job in waiting if job.teacher is None or Path(job.teacher).parents[1] not in left]
            if ready:
                waiting.remove(ready[0])
                running.add(ready[0].folder)
            return ready[0] if ready else None

    def work() -> None:
        while time.monotonic() < end:
            job = take()
            if job is None:
                if not running:
                    return
                time.sleep(0.1)
                continue
            reason = run_job(job)
            if reason is None:
                left.pop(job.folder)
                print(f"{job.folder.parent.name}/{job.name} done, {len(left)} left", flush=True)
            else:
                left[job.folder] = f"{job.folder.parent.name}/{job.name}: {reason}"
            running.discard(job.folder)  # last: who waits for a teacher gives up when nothing runs

    threads = [threading.Thread(target=work, daemon=True) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return list(left.values())


def finish(args: argparse.Namespace, found: list[Any], costs: dict[str, Any], began: float, left: list[str]) -> None:
    """Writes the report of each league and the sum, and prints them."""
    from kd_yolo.league.report import make_report

    sets = {}
    for league in found:
        report = make_report(league.out, league.folder)
        if report is not None:
            report.write(league.out)
            print(report.to_markdown())
            run = next(iter(report.results.runs.values()))
            sets[league.out.name] = {"machine": run["machine"], "versions": run["versions"], "commit": run["commit"]}
    options = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    options["sets"] = [league.out.name for league in found]
    options = {key: options[key] for key in options if key not in ("runs", "out", "measure_steps", "claims")}
    minutes = (time.monotonic() - began) / 60
    body = {"minutes": minutes, "steps": costs, "sets": sets, "options": options, "not_done": left}
    write_json(args.out / "gpu_league.json", body)
    print("| method | step / (plain + teacher) | step / plain | peak memory, MiB |\n|---|---|---|---|")
    for method, row in costs.items():
        peak = "" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        print(f"| {method} | {row['of_plain_and_teacher']:.3f} | {row['of_plain']:.3f} | {peak} |")
    print("\n".join([f"{minutes:.1f} minutes", *left]))


def main() -> int:
    """Measures steps, trains, reports; 1 when something is left to do."""
    args, began = parse(), time.monotonic()
    end = began + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        if importlib.util.find_spec("polars") is None:
            (Path(folder) / "polars.py").write_text(NO_POLARS)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), folder]))
            sys.path.append(folder)
        from kd_yolo.yolo.guard import prepare_process

        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // args.at_once)))
        prepare_process()
        if args.measure_steps:
            from gpu_steps import measure_steps

            measure_steps(args, args.measure_steps)
            return 0
        costs = step_costs(args)
        ratio = max(1.0, *(costs[loss]["of_plain"] for loss in args.losses))
        found = leagues(args, ratio)
        for league in found:
            scan_labels(league)
        jobs = [job for league in found for job in league.missing]  # teachers first, then seed by seed
        jobs.sort(key=lambda job: (0, 0) if job.recipe.name == TEACHER else (1, job.seed))
        left = run_all(jobs, args.at_once, end)
        finish(args, found, costs, began, left)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
