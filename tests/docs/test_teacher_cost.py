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


@pytest.mark.parametrize("name", ["bccd", "coco128"])
def test_the_losses_of_kept_responses(name: str) -> None:
    losses = json.loads((DOCS / "benchmarks" / "teacher_cache" / f"{name}.json").read_text())["losses"]
    largest = max(abs(losses["difference"][f"{loss}, balanced"]) for loss in ("bkd", "dfl_kl"))
    said = re.search(rf"([0-9.]+) % or less[^%]*? on `{name}` \([^)]*?([0-9]+) kB", (DOCS / "distil.md").read_text())
    assert said is not None
    assert said.groups() == (f"{100 * largest:.1f}", f"{losses['bytes_per_view'] / 1e3:.0f}")
