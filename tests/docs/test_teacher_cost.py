"""The costs in docs/distil.md are those of the file that the command beside them wrote."""

from __future__ import annotations

import json
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
