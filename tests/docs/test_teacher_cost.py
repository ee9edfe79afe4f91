"""What docs/distil.md says of kept responses is what the files say that the commands beside it wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
METHODS = json.loads((DOCS / "benchmarks" / "teacher_cost.json").read_text())["methods"]
ROWS = {
    "none": "",
    "`--teacher-cache VIEWS`": " cached",
    "`--teacher-every N`": " every 2",
    "`--teacher-half`": " half",
}


@pytest.mark.parametrize(("flag", "method"), ROWS.items())
def test_the_cost_of_a_step(flag: str, method: str) -> None:
    text = (DOCS / "distil.md").read_text().partition("## What the teacher costs")[2].partition("\n## ")[0]
    row = next(line for line in text.splitlines() if line.startswith(f"| {flag} |"))
    assert row.split("|")[3].split(",")[0].strip() == f"{METHODS[f'bkd+dfl_kl{method}']['of_plain']:.2f}"
    assert "--methods plain bkd+dfl_kl" in text


def test_the_cost_of_a_step_of_an_rtdetr() -> None:
    methods = json.loads((DOCS / "benchmarks" / "step_cost_rtdetr.json").read_text())["methods"]
    responses, features = (f"{methods[name]['of_plain']:.2f}" for name in ("bkd+box_iou", "cwd"))
    said = f"A step of `bkd+box_iou` costs {responses} plain ones, one of `cwd` {features} ("
    assert said in (DOCS / "distil.md").read_text()


def test_the_cost_of_other_runtimes_and_of_int8() -> None:
    methods = json.loads((DOCS / "benchmarks" / "step_cost_beyond.json").read_text())["methods"]
    names = ["", " openvino", " openvino half", " half"]
    live, fast, fast_half, half = (f"{methods[f'bkd+dfl_kl{name}']['of_plain']:.2f}" for name in names)
    alone, taught = (f"{methods[name]['of_plain']:.2f}" for name in ("int8", "int8 bkd+dfl_kl"))
    said = " ".join((DOCS / "distil.md").read_text().split())
    assert f"a step of `bkd+dfl_kl` is {live} plain ones, {fast} with the teacher in OpenVINO, {fast_half}" in said
    assert f"(in torch {half}); training for INT8 alone is {alone}, under this teacher {taught}." in said


@pytest.mark.parametrize("name", ["bccd", "coco128"])
def test_the_losses_of_kept_responses(name: str) -> None:
    losses = json.loads((DOCS / "benchmarks" / "teacher_cache" / f"{name}.json").read_text())["losses"]
    largest = max(abs(losses["difference"][f"{loss}, balanced"]) for loss in ("bkd", "dfl_kl"))
    said = re.search(rf"([0-9.]+) % or less[^%]*? on `{name}` \([^)]*?([0-9]+) kB", (DOCS / "distil.md").read_text())
    assert said is not None
    assert said.groups() == (f"{100 * largest:.1f}", f"{losses['bytes_per_view'] / 1e3:.0f}")
