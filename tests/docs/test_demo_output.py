"""README's output of the demo is that of its file, and the table of seeds that of theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import demo_seeds
from kd_yolo.pipeline.demo.closing import Gain, verdict
from kd_yolo.pipeline.demo.train import TITLES

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "docs" / "results" / "demo"
DEMO = json.loads((SEEDS / "demo.json").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = README.partition("$ make demo\n")[2].partition("```")[0].splitlines()


@pytest.mark.parametrize("name", TITLES)
def test_a_row_of_the_table(name: str) -> None:
    (line,) = (line for line in BLOCK if line.startswith(f"{TITLES[name]}  "))
    row = DEMO["rows"][name]
    assert re.split(r"\s{2,}", line) == [
        TITLES[name], str(row["epochs"]), f"{row['cost_s']:.0f}", f"{row['score']:.3f}",
        f"{row['parameters'] / 1e6:.2f}", f"{row['gflops']:.3f}", f"{row['p50_ms']:.2f}", f"{row['p90_ms']:.2f}",
    ]  # fmt: skip


def test_the_lines_on_the_gain() -> None:
    assert BLOCK[-2:] == verdict([Gain(**gain) for gain in DEMO["gains"]])


def test_the_table_of_seeds() -> None:
    """After another seed: ``python benchmarks/demo_seeds.py --table``."""
    assert demo_seeds.table(SEEDS) in (SEEDS / "table.md").read_text(encoding="utf-8")
