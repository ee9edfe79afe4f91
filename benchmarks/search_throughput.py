"""How near the search comes to what its parts take alone, and how far it is ahead of a plain loop.

    python benchmarks/search_throughput.py --video film.mp4 --detector yolov8n.pt --reid reid.onnx [--imgsz 320]

On one video, round after round in one process: decoding alone, the detector's and the embedder's batched forward passes
alone (on inputs made beforehand), the pipeline (decode, detect, cut, embed), and a plain loop that predicts one frame
with ``YOLO.predict``, cuts its people out and embeds them one by one. Then a gallery of random unit vectors against
faiss alone: time of a query and memory of indexing. Each figure is the median of the rounds' ratios. There are as many
threads as cores, or ``OMP_NUM_THREADS``. Writes ``docs/benchmarks/search_throughput/<video>-<threads>t.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kd_yolo.base.files import write_json

os.environ["YOLO_AUTOINSTALL"] = "false"
LIMITS = {
    "pipeline, share of what its parts allow": (0.9, "at least"), "pipeline / plain loop": (1.5, "at least"),
    "query of 1, time / faiss alone": (1.2, "at most"), "query of 16, time / faiss alone": (1.2, "at most"),
    "indexing, memory / raw vectors": (1.3, "at most"),
}  # fmt: skip
VECTORS, DIM, PORTION = 100_000, 512, 10_000


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--reid", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--stride", type=int, default=5)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks" / "search_throughput")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


class Parts:
    """The networks, and each thing that is timed."""

    def __init__(self, args: argparse.Namespace) -> None:
        from kd_yolo.yolo.guard import prepare_process

        prepare_process()
        from ultralytics import YOLO

        from kd_yolo.search.networks.detector import PersonDetector
        from kd_yolo.search.networks.embedder import Embedder
        from kd_yolo.search.settings import CropRules, DetectorSettings

        self.args, self.rules = args, CropRules()
        self.settings = DetectorSettings(weights=args.detector, imgsz=args.imgsz, device="cpu")
        self.yolo = YOLO(args.detector)
        self.detector, self.embedder = PersonDetector.open(self.settings), Embedder.open(args.reid, "cpu")

    def frames(self) -> Iterator[Any]:
        """Decoded frames, one after the other."""
        from kd_yolo.search.frames.sources import open_source

        source = open_source(str(self.args.video), camera=1, stride=self.args.stride, say=lambda _: None)
        return islice(source, self.args.frames)

    def decode(self) -> int:
        """Decodes and forgets."""
        return sum(1 for _ in self.frames())

    def pipeline(self) -> int:
        """Decode, detect, cut and embed as the commands do."""
        from kd_yolo.search.frames.cut import cut
        from kd_yolo.search.networks.batches import detect_people

        count, waiting = 0, []
        for frame, people in detect_people(self.frames(), self.detector, self.rules.conf, self.settings.batch):
            waiting += cut(frame, people, self.rules)
            if len(waiting) >= 64:
                count += len(self.embedder.embed([crop.image_hw3 for crop in waiting]))
                waiting = []
        return count + len(self.embedder.embed([crop.image_hw3 for crop in waiting]))

    def plain_loop(self) -> int:
        """One frame, one crop at a time."""
        import cv2

        count, capture = 0, cv2.VideoCapture(str(self.args.video))
        for index in range(self.args.frames * self.args.stride):
            is_read, image = capture.read()
            if not is_read:
                break
            if index % self.args.stride:
                continue
            found = self.yolo.predict(
                image, imgsz=self.args.imgsz, conf=self.rules.conf, classes=[self.detector.class_id], device="cpu",
                verbose=False,
            )[0]  # fmt: skip
            for x1, y1, x2, y2 in found.boxes.xyxy.int().tolist():
                if y2 - y1 >= self.rules.min_height and x2 - x1 >= self.rules.min_width:
                    self.embedder.embed([np.ascontiguousarray(image[y1:y2, x1:x2, ::-1])])
                    count += 1
        return count

    def forwards(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """The forward passes of detector and embedder for all frames and crops, on inputs that are ready."""
        import torch
        from ultralytics.data.augment import LetterBox

        from kd_yolo.search.frames.cut import cut
        from kd_yolo.search.networks.batches import detect_people

        pairs = list(detect_people(self.frames(), self.detector, self.rules.conf, self.settings.batch))
        fit = LetterBox(new_shape=(self.args.imgsz, self.args.imgsz), auto=True, stride=32)
        fitted = np.stack([fit(image=frame.image_hw3) for frame, _ in pairs])
        images = torch.from_numpy(fitted).permute(0, 3, 1, 2).flip(1).float().div(255).split(self.settings.batch)
        crops = sum(len(cut(frame, people, self.rules)) for frame, people in pairs)
        looks = torch.rand(crops, 3, *self.embedder.size_hw).split(64)

        def detect() -> None:
            with torch.inference_mode():
                for batch in images:
                    self.detector.network.model(batch)

        def embed() -> None:
            for batch in looks:
                self.embedder._run(batch)

        return detect, embed


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flow_figures(args: argparse.Namespace) -> tuple[dict[str, float], dict[str, Any]]:
    """Ratios of the pipeline, and what they are made of."""
    parts = Parts(args)
    detect, embed = parts.forwards()
    counts = {"frames": parts.decode(), "crops": parts.pipeline(), "crops of the plain loop": parts.plain_loop()}
    steps = {"decode": parts.decode, "detect": detect, "embed": embed, "pipeline": parts.pipeline,
             "loop": parts.plain_loop}  # fmt: skip
    rounds = [{name: timed(work) for name, work in steps.items()} for _ in range(args.rounds)]
    share = [(r["decode"] + r["detect"] + r["embed"]) / r["pipeline"] for r in rounds]
    figures = {
        "pipeline, share of what its parts allow": statistics.median(share),
        "pipeline / plain loop": statistics.median(r["loop"] / r["pipeline"] for r in rounds),
    }
    seconds = {name: round(statistics.median(r[name] for r in rounds), 3) for name in steps}
    return figures, {**counts, "seconds": seconds}


def unit_vectors(portion: int) -> np.ndarray:
    """Some of the gallery's vectors."""
    drawn = np.random.default_rng(portion).standard_normal((PORTION, DIM), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def rows_of(portion: int) -> list[dict[str, Any]]:
    """Lines of an index, one a vector."""
    base = {"source": "film.mp4", "seconds": None, "camera": 1, "track": -1, "x1": 0, "y1": 0, "x2": 9, "y2": 9,
            "score": 0.9, "file": ""}  # fmt: skip
    return [{**base, "frame": portion * PORTION + place} for place in range(PORTION)]


def fill(folder: Path) -> None:
    """A gallery with all vectors."""
    import cv2

    from kd_yolo.search.gallery.gallery import Gallery

    jpeg = cv2.imencode(".jpg", np.zeros((8, 4, 3), np.uint8))[1].tobytes()
    gallery = Gallery.create(folder, "0" * 16, DIM)
    for portion in range(VECTORS // PORTION):
        gallery.add(unit_vectors(portion), rows_of(portion), [jpeg] * PORTION)


def query_figures(folder: Path, rounds: int) -> dict[str, float]:
    """Times of queries against faiss alone."""
    import faiss

    from kd_yolo.search.gallery.gallery import Gallery

    faiss.omp_set_num_threads(1)
    gallery, alone = Gallery.open(folder), faiss.IndexFlatIP(DIM)
    for portion in range(VECTORS // PORTION):
        alone.add(unit_vectors(portion))
    figures = {}
    for size in (1, 16):
        asked = unit_vectors(99)[:size]
        gallery.query(asked, 10)
        ratios = []
        for _ in range(rounds * 4):
            own = timed(lambda asked=asked: [gallery.query(asked, 10) for _ in range(5)])
            ratios.append(own / timed(lambda asked=asked: [alone.search(asked, 10) for _ in range(5)]))
        figures[f"query of {size}, time / faiss alone"] = statistics.median(ratios)
    return figures


def memory_figure(folder: Path) -> float:
    """Peak memory that opening and asking a gallery adds, in a process of its own, over the raw vectors."""
    command = [sys.executable, __file__, "--video", "-", "--detector", "-", "--reid", "-", "--memory", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1]) / (VECTORS * DIM * 4)


def print_memory(folder: Path) -> None:
    """Prints the bytes that the process grew by at most."""
    import faiss
    import polars  # noqa: F401  # what is imported counts before

    from kd_yolo.search.gallery.gallery import Gallery

    small = faiss.IndexFlatIP(DIM)
    small.add(unit_vectors(0)[:8])
    before, seen, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    gallery = Gallery.open(folder)
    gallery.query(np.eye(1, DIM, dtype=np.float32), 10)
    done.set()
    watcher.join()
    print(max(seen) - before)


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measures, prints the table, writes the JSON."""
    args = parse()
    if args.memory:
        print_memory(args.memory)
        return
    import torch

    figures, details = flow_figures(args)
    threads = torch.get_num_threads()  # of the flow; faiss has one
    with tempfile.TemporaryDirectory() as place:
        fill(Path(place) / "gallery")
        figures |= query_figures(Path(place) / "gallery", args.rounds)
        figures["indexing, memory / raw vectors"] = memory_figure(Path(place) / "gallery")
    result = {
        "figures": {k: {"measured": round(v, 3), LIMITS[k][1]: LIMITS[k][0]} for k, v in figures.items()}, **details,
        "setup": {
            "video": args.video.name, "detector": Path(args.detector).name, "reid": args.reid.name,
            "stride": args.stride, "imgsz": args.imgsz, "rounds": args.rounds, "threads": threads,
            **{name: metadata.version(name) for name in ("torch", "ultralytics", "onnxruntime", "faiss-cpu")},
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU",
        },
    }  # fmt: skip
    write_json(args.out / f"{args.video.stem}-{threads}t.json", result)
    for name, value in figures.items():
        print(f"{name:45} {value:7.3f}   {LIMITS[name][1]} {LIMITS[name][0]}")


if __name__ == "__main__":
    main()
