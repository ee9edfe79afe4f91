"""A detector in float and in INT8, side by side in the runtimes that compute with 8 bits: accuracy, size, time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from kd_yolo.base.extras import is_installed
from kd_yolo.base.files import write_text
from kd_yolo.report.comparison import markdown, print_whole, rich_table, setup
from kd_yolo.yolo.evaluate import validate
from kd_yolo.yolo.export import export_model
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.measure import Latency, measure_latency
from kd_yolo.yolo.onnx_session import file_runner
from kd_yolo.yolo.openvino_model import convert_onnx, openvino_runner

FLOAT, AFTER, AWARE = "float", "INT8 after training", "INT8 aware"
ONNX, OPENVINO = "ONNX Runtime", "OpenVINO"
SCORE = "metrics/mAP50-95(B)"
FAST_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")  # of x86 and of ARM, as Linux calls them


@dataclass(frozen=True)
class Form:
    """One form of the network.

    Attributes:
        name: float, INT8 after training, INT8 aware.
        file: the ONNX file.
        scores: mAP50-95 on the validation split, by runtime.
        latency: of one image, by runtime.
    """

    name: str
    file: Path
    scores: dict[str, float] = field(default_factory=dict)
    latency: dict[str, Latency] = field(default_factory=dict)


@dataclass(frozen=True)
class Int8Table:
    """The forms, float first."""

    forms: tuple[Form, ...]
    caption: str
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Writes ``int8.json`` and ``int8.md``."""
        rows = [self._record(form, folder) for form in self.forms]
        body = {"caption": self.caption, "notes": self.notes, "setup": setup(), "rows": rows}
        write_text(folder / "int8.json", json.dumps(body, indent=1) + "\n")
        write_text(folder / "int8.md", markdown(self._cells(), (self.caption, *self.notes)))

    def print(self) -> None:
        """Prints the table, how it was measured, and the notes."""
        console = Console(highlight=False)
        print_whole(rich_table(self._cells(), ", "), console)
        for line in (self.caption, *self.notes):
            console.print(f"- {line}", markup=False, soft_wrap=True)

    def _record(self, form: Form, folder: Path) -> dict[str, Any]:
        latency = {runtime: {"p50_ms": time.p50_ms, "p90_ms": time.p90_ms} for runtime, time in form.latency.items()}
        file = os.path.relpath(form.file, folder)  # a run may be moved
        facts = {"name": form.name, "file": file, "file_mb": form.file.stat().st_size / 1e6}
        return {**facts, "mAP50-95": form.scores, "latency": latency}

    def _cells(self) -> list[list[str]]:
        runtimes = list(self.forms[0].scores)
        titles = [f"{what}, {runtime}" for runtime in runtimes for what in ("mAP50-95", "p50 ms", "p90 ms")]
        rows = [["network", "file MB", *titles]]
        for form in self.forms:
            row = [form.name, f"{form.file.stat().st_size / 1e6:.1f}"]
            for runtime in runtimes:
                time = form.latency.get(runtime)
                row += ["", "", ""] if time is None else [
                    f"{form.scores[runtime]:.4f}", f"{time.p50_ms:.2f}", f"{time.p90_ms:.2f}"
                ]  # fmt: skip
            rows.append(row)
        return rows


def compare_int8(
    before: Path, aware: Path, folder: Path, *, data: str, imgsz: int, rounds: int = 30, trust: bool = False
) -> Int8Table:
    """Exports a network in three forms and measures each in ONNX Runtime, and in OpenVINO where that is installed.

    Args:
        before: the float network.
        aware: the same after training for INT8.
        folder: where the exported files go.
        data: data YAML; INT8 after training is calibrated on its validation images.
        imgsz: longer side in pixels.
        rounds: timed rounds; one thread, batch 1.
        trust: ``--trust-weights``.

    Raises:
        InputError: weights or data that cannot be used.
        MissingDependencyError: a package of the export is missing.
    """
    size: dict[str, Any] = {"imgsz": imgsz}
    calibrated = {**size, "int8": True, "data": data}
    sources = {FLOAT: (before, size), AFTER: (before, calibrated), AWARE: (aware, size)}
    files = {
        name: export_model(weights, "onnx", folder / name.replace(" ", "-").lower(), arguments, trust=trust)
        for name, (weights, arguments) in sources.items()
    }
    forms = tuple(Form(name, file) for name, file in files.items())
    model, _ = load_checkpoint(before, trust=trust)

    def measure(runtime: str, files: dict[str, Path], runner: Callable[[Path, int], Callable[[], None]]) -> None:
        times = measure_latency({name: runner(file, 1) for name, file in files.items()}, rounds=rounds)
        for form in forms:
            if form.name in files:
                found = validate(model, data, imgsz=imgsz, batch=1, exported=files[form.name])
                form.scores[runtime], form.latency[runtime] = found[SCORE], times[form.name]

    measure(ONNX, files, file_runner)
    notes = []
    if is_installed("openvino"):
        own = {name: convert_onnx(files[name]) for name in (FLOAT, AWARE)}
        if is_installed("nncf"):  # OpenVINO does not run what ONNX Runtime has quantised
            own[AFTER] = export_model(before, "openvino", folder / "openvino-int8", calibrated, trust=trust)
        else:
            notes.append(f"{AFTER} in OpenVINO: pip install nncf")
        measure(OPENVINO, own, openvino_runner)
    else:
        notes.append("OpenVINO: pip install 'kd-yolo[openvino]' nncf")
    if not has_fast_int8():
        notes.append("this CPU has no instructions for INT8 (VNNI): INT8 need not be faster than float here")
    caption = (
        f"{imgsz} px; mAP50-95 on val of {data}; latency of one image on the CPU, 1 thread, {rounds} rounds in turns"
    )
    return Int8Table(forms, caption, tuple(notes))


def has_fast_int8(facts: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU says that it multiplies 8-bit numbers faster; True where it says nothing."""
    if not facts.is_file():
        return True
    words = facts.read_text(encoding="utf-8", errors="replace").split()
    return any(flag in words for flag in FAST_INT8)
