"""What do ranking metrics, re-ranking and stripe alignment cost, beside the matrix product that they cannot do without?

    python benchmarks/reid_eval.py                      # Market-1501's size: minutes
    python benchmarks/reid_eval.py --size 500 2000      # seconds

Synthetic clustered embeddings: unit rows around one centre an identity, six cameras, a sixth of the gallery
distractors.
Everything runs in one process on the same arrays, after a warm-up that compiles. CPU time is counted, not wall time,
and divided by that of the matrix product of the same size, so the machine matters little. Peers rank a few queries
only, as they would take too long: their time is given per pair. They know no cameras, so they do less. Peak memory is
that of a process of its own, above its inputs. Writes ``docs/benchmarks/reid_eval.json``.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import numpy as np

LIMITS = {
    "evaluation / its GEMM": 1.25,
    "ranking, ns a pair": 10.0,
    "evaluation, peak MiB / (Nq x Ng x 8 bytes)": 1.0,
    "re-ranking / all-pairs GEMM": 1.5,
    "re-ranking, peak GB above the inputs": 1.2,
    "re-ranking, growth exponent": 2.0,
    "DMLI on the top-100 / evaluation": 0.05,
    "DMLI of all pairs, us a pair": 0.6,
}
MARKET = (3368, 15913)
STRIPES, STRIPE_SIZE = 8, 128


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=MARKET, metavar=("QUERIES", "GALLERY"))
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-queries", type=int, default=32)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "reid_eval.json")
    parser.add_argument("--memory-of", choices=["evaluation", "re-ranking"], help=argparse.SUPPRESS)
    return parser.parse_args()


class People:
    """Embeddings, identities, cameras and stripes of queries and gallery."""

    def __init__(self, num_queries: int, num_gallery: int, dim: int) -> None:
        rng = np.random.default_rng(0)
        num_ids = max(num_gallery // 21, 2)  # Market-1501: 750 identities in the test set
        ids = rng.integers(1, num_ids + 1, num_queries + num_gallery)
        ids[num_queries:][rng.random(num_gallery) < 1 / 6] = 0
        self.q_ids, self.g_ids = ids[:num_queries], ids[num_queries:]
        cams = rng.integers(1, 7, len(ids))
        self.q_cams, self.g_cams = cams[:num_queries], cams[num_queries:]
        self.both_nd = rows_around(ids, dim, rng, noise=3.0)
        self.q_nd, self.g_nd = self.both_nd[:num_queries], self.both_nd[num_queries:]
        stripes = rows_around(np.repeat(ids, STRIPES), STRIPE_SIZE, rng, noise=1.5)
        stripes_nhd = stripes.reshape(len(ids), STRIPES, STRIPE_SIZE)
        self.q_stripes, self.g_stripes = stripes_nhd[:num_queries], stripes_nhd[num_queries:]

    @property
    def query(self) -> tuple[Any, Any, Any]:
        """What the evaluation takes."""
        return self.q_nd, self.q_ids, self.q_cams

    @property
    def gallery(self) -> tuple[Any, Any, Any]:
        """What the evaluation takes."""
        return self.g_nd, self.g_ids, self.g_cams


def rows_around(ids: Any, dim: int, rng: Any, *, noise: float) -> Any:
    """Unit rows around a centre an identity; distractors, identity 0, have no centre."""
    centres = rng.standard_normal((ids.max() + 1, dim), np.float32)
    centres[0] = 0
    rows = rng.standard_normal((len(ids), dim), np.float32)
    rows *= noise
    for start in range(0, len(ids), 1024):
        rows[start : start + 1024] += centres[ids[start : start + 1024]]
        rows[start : start + 1024] /= np.linalg.norm(rows[start : start + 1024], axis=1, keepdims=True)
    return rows


def cpu_seconds(job: Callable[[], Any]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    job()
    return time.process_time() - start


def by_turns(jobs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each job; they take turns, so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(cpu_seconds(job))
    return {name: statistics.median(values) for name, values in times.items()}


def all_pairs(rows_nd: Any) -> None:
    """The matrix product of all rows with all rows, 1024 rows at a time so that it fits into memory."""
    for start in range(0, len(rows_nd), 1024):
        rows_nd[start : start + 1024] @ rows_nd.T


def warm_up() -> None:
    """Compiles everything, for the types that are timed."""
    from kd_yolo.reid.evaluation.align import local_distance
    from kd_yolo.reid.evaluation.rank import evaluate_embeddings
    from kd_yolo.reid.evaluation.realign import realign_top
    from kd_yolo.reid.evaluation.rerank import rerank

    small = People(20, 200, 16)
    evaluate_embeddings(small.query, small.gallery)
    rerank(small.q_nd, small.g_nd)
    local_distance(small.q_stripes, small.g_stripes)
    realign_top(small.q_nd @ small.g_nd.T, small.q_stripes, small.g_stripes)


def measure(people: People, args: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each stage, and what is limited or compared."""
    from kd_yolo.reid.evaluation.align import local_distance
    from kd_yolo.reid.evaluation.distance import distance_matrix
    from kd_yolo.reid.evaluation.rank import evaluate, evaluate_embeddings
    from kd_yolo.reid.evaluation.realign import realign_top
    from kd_yolo.reid.evaluation.rerank import rerank

    dist_qg = distance_matrix(people.q_nd, people.g_nd)
    labels = (people.q_ids, people.g_ids, people.q_cams, people.g_cams)
    result = evaluate(dist_qg, *labels)
    print(f"mAP {result.map:.3f}, Rank-1 {result.cmc[0]:.3f}, mINP {result.minp:.3f}")
    joined_qg = dist_qg.copy()  # changed in place; the nearest stay the nearest
    some = people.q_stripes[:256], people.g_stripes[:4096]
    half = People(args.size[0] // 2, args.size[1] // 2, args.dim)
    seconds = by_turns(
        {
            "GEMM": lambda: people.q_nd @ people.g_nd.T,
            "evaluation": lambda: evaluate_embeddings(people.query, people.gallery),
            "ranking": lambda: evaluate(dist_qg, *labels),
            "DMLI top-100": lambda: realign_top(joined_qg, people.q_stripes, people.g_stripes),
            "DMLI all pairs": lambda: local_distance(*some),
        },
        args.rounds,
    )
    seconds |= by_turns(
        {
            "all-pairs GEMM": lambda: all_pairs(people.both_nd),
            "re-ranking": lambda: rerank(people.q_nd, people.g_nd),
            "re-ranking of half": lambda: rerank(half.q_nd, half.g_nd),
        },
        min(args.rounds, 1 if len(people.both_nd) > 10_000 else 3),
    )
    pairs = len(people.q_nd) * len(people.g_nd)
    figures = {
        "evaluation / its GEMM": seconds["evaluation"] / seconds["GEMM"],
        "ranking, ns a pair": seconds["ranking"] / pairs * 1e9,
        "evaluation, peak MiB / (Nq x Ng x 8 bytes)": peak_memory("evaluation", args) / (pairs * 8 / 2**20),
        "re-ranking / all-pairs GEMM": seconds["re-ranking"] / seconds["all-pairs GEMM"],
        "re-ranking, peak GB above the inputs": peak_memory("re-ranking", args) * 2**20 / 1e9,
        "re-ranking, growth exponent": math.log2(seconds["re-ranking"] / seconds["re-ranking of half"]),
        "DMLI on the top-100 / evaluation": seconds["DMLI top-100"] / seconds["evaluation"],
        "DMLI of all pairs, us a pair": seconds["DMLI all pairs"] / (len(some[0]) * len(some[1])) * 1e6,
    }
    return seconds, figures


def peers(people: People, num_queries: int, ours_ns: dict[str, float]) -> dict[str, dict[str, float]]:
    """Nanoseconds a pair of others on a few queries, and how many times ours that is."""
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN
    from torchmetrics.retrieval import RetrievalMAP

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    q_nd, g_nd = torch.from_numpy(people.q_nd[:num_queries]), torch.from_numpy(people.g_nd)
    q_ids, g_ids = torch.from_numpy(people.q_ids[:num_queries]), torch.from_numpy(people.g_ids)
    wanted = ("mean_average_precision", "precision_at_1")
    calculator = AccuracyCalculator(include=wanted, knn_func=CustomKNN(CosineSimilarity()), device=torch.device("cpu"))
    score_qg = q_nd @ g_nd.T
    is_same_qg = q_ids[:, None] == g_ids
    query_qg = torch.arange(len(q_nd))[:, None].expand_as(is_same_qg)
    jobs = {
        "pytorch-metric-learning AccuracyCalculator, distances + mAP + P@1": lambda: calculator.get_accuracy(
            q_nd, q_ids, g_nd, g_ids, ref_includes_query=False
        ),
        "torchmetrics RetrievalMAP, mAP of given scores": lambda: RetrievalMAP()(score_qg, is_same_qg, query_qg),
    }
    seconds = by_turns(jobs, 1)
    ours = dict(zip(jobs, (ours_ns["evaluation"], ours_ns["ranking"]), strict=True))
    per_pair = {name: value / is_same_qg.numel() * 1e9 for name, value in seconds.items()}
    return {name: {"ns_a_pair": value, "times_ours": value / ours[name]} for name, value in per_pair.items()}


def peak_memory(job: str, args: argparse.Namespace) -> float:
    """Peak MiB above the inputs of a process that does this alone."""
    words = [sys.executable, __file__, "--memory-of", job, "--dim", str(args.dim), "--size", *map(str, args.size)]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return float(out.strip().splitlines()[-1])


def run_for_memory(args: argparse.Namespace) -> None:
    """The body of :func:`peak_memory`'s process."""
    from kd_yolo.reid.evaluation.rank import evaluate_embeddings
    from kd_yolo.reid.evaluation.rerank import rerank

    warm_up()
    people = People(*args.size, args.dim)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = resident_peak()
    if args.memory_of == "evaluation":
        evaluate_embeddings(people.query, people.gallery)
    else:
        rerank(people.q_nd, people.g_nd)
    print(resident_peak() - before)


def resident_peak() -> float:
    """Peak resident memory of this process in MiB; ``ru_maxrss`` would start from that of the parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def report(body: dict[str, Any], out: Path) -> None:
    """Prints the tables and writes the JSON."""
    print("\n| what | measured | limit | |\n|---|---:|---:|---|")
    for name, row in body["figures"].items():
        met = "" if row["limit"] is None else "met" if row["measured"] <= row["limit"] else "MISSED"
        print(f"| {name} | {row['measured']:.3f} | {row['limit'] or ''} | {met} |")
    print("\n| peer | ns a pair | times ours |\n|---|---:|---:|")
    for name, row in body["peers"].items():
        print(f"| {name} | {row['ns_a_pair']:.0f} | {row['times_ours']:.1f} |")
    write_json(out, body)


def setup(args: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions, commit, and how it was measured."""
    from importlib.metadata import version

    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    packages = ("numpy", "numba", "scipy", "torch", "pytorch-metric-learning", "torchmetrics")
    return {
        "queries": args.size[0], "gallery": args.size[1], "dim": args.dim, "rounds": args.rounds,
        "peer_queries": args.peer_queries, "stripes": f"{STRIPES} of {STRIPE_SIZE}",
        "threads": int(os.environ["OMP_NUM_THREADS"]), **{name: version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "commit": commit,
    }  # fmt: skip


def main() -> None:
    """Measures, on one thread unless OMP_NUM_THREADS says otherwise."""
    args = parse()
    if args.memory_of:
        run_for_memory(args)
        return
    warm_up()
    people = People(*args.size, args.dim)
    seconds, figures = measure(people, args)
    pairs = args.size[0] * args.size[1]
    ours_ns = {name: seconds[name] / pairs * 1e9 for name in ("evaluation", "ranking")}
    limited = tuple(args.size) == MARKET and args.dim == 2048
    rows = {name: {"measured": value, "limit": LIMITS[name] if limited else None} for name, value in figures.items()}
    found = peers(people, args.peer_queries, ours_ns)
    report({"setup": setup(args), "seconds": seconds, "figures": rows, "peers": found}, args.out)


if __name__ == "__main__":
    main()
