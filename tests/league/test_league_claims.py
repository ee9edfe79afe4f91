"""Claims are noted before the first run, cannot change afterwards, and are shown or not shown."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.config.claims import Claim, ClaimsFile
from kd_yolo.league.claims import check_names, note_claims, read_claims
from kd_yolo.league.report import make_report
from tests.league.test_league_table import write

CLAIMS = """
question: is cwd worth it?
claims:
  - {recipe: cwd, sets: [bccd, street], threshold: 0.01}
  - {recipe: cwd, sets: [bccd], threshold: 5e-2}
  - {recipe: cwd, than: none@1.8, sets: [bccd]}
  - {recipe: shipped, sets: [bccd], alternative: less}
  - {recipe: cwd, sets: [bccd], measure: share, threshold: 0.2}
  - {recipe: cwd, sets: [bccd], split: val}
  - {recipe: cwd, sets: [street], threshold: 0.5}
  - {recipe: mgd, sets: [bccd]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(CLAIMS)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Five seeds in which nothing is left to chance."""
    out = tmp_path / "out"
    write(out, "teacher", 0, 0.60)
    for seed, shift in enumerate((0.0, 0.01, 0.02, 0.005, 0.015)):
        jitter = 0.002 * (seed % 2)
        write(out, "none", seed, 0.50 + shift)
        write(out, "none@1.8", seed, 0.54 + shift - jitter)
        write(out, "cwd", seed, 0.54 + shift + jitter)
        write(out, "shipped", seed, 0.48 + shift)
    return out


def test_shown_and_not_shown(file: Path, out: Path) -> None:
    noted = note_claims(file, out, 0, 0)
    assert noted.endswith(" before the first run")
    report = make_report(out, out)
    assert report is not None
    found = [(verdict.is_shown, str(verdict).partition(": +")[0].partition(": -")[0]) for verdict in report.verdicts]
    assert found == [
        (True, "shown: cwd minus none > 0.01 on test"),
        (False, "not shown: cwd minus none > 0.05 on test"),
        (False, "not shown: cwd minus none@1.8 > 0 on test"),
        (True, "shown: shipped minus none < 0 on test"),
        (True, "shown: cwd minus none as a share of the gap > 0.2 on test"),
        (False, "not shown: mgd minus none > 0 on test: no seed has both"),
    ]
    first, second = report.verdicts[:2]
    assert first.interval is not None
    assert first.interval == second.interval
    assert first.interval.low > 0.01
    assert str(first).endswith(f": {first.found:+.4f} ({first.interval})")
    (compared,) = (item for item in report.comparisons if (item.recipe, item.control) == ("cwd", "none"))
    assert compared.gain == first.found
    text = report.to_markdown()
    assert f"Claims of claims.yaml, {noted}:" in text
    assert f"- {second}" in text
    saved = json.loads(report.to_json())
    assert saved["claims"]["sha256"] == hashlib.sha256(CLAIMS.encode()).hexdigest()
    assert saved["claims"]["time"] in noted
    assert [verdict["is_shown"] for verdict in saved["verdicts"]] == [shown for shown, _ in found]


def test_claims_cannot_change_once_runs_began(file: Path, out: Path) -> None:
    note_claims(file, out, 0, 0)
    record = (out / "claims.json").read_bytes()
    assert note_claims(file, out, 5, 9).endswith("before the first run")  # the same file: it was noted then
    file.write_text(CLAIMS.replace("0.01", "0.001"))
    for results, started in ((1, 0), (0, 1)):
        with pytest.raises(ConfigError, match=r"is not the claims file that was noted on .*claims are written before"):
            note_claims(file, out, results, started)
    assert (out / "claims.json").read_bytes() == record
    note_claims(file, out, 0, 0, write=False)
    assert (out / "claims.json").read_bytes() == record
    note_claims(file, out, 0, 0)  # nothing has run: they may still be improved
    assert (out / "claims.json").read_bytes() != record


def test_late_claims_are_called_late(file: Path, tmp_path: Path) -> None:
    assert note_claims(file, tmp_path / "a", 3, 4).endswith("AFTER 3 run(s) had a result here")
    assert note_claims(file, tmp_path / "b", 0, 4).endswith("before any result here, after 4 run(s) were started")


def test_names(file: Path) -> None:
    claims, _ = read_claims(file)
    rows = ["none", "shipped", "cwd", "none@1.8"]
    with pytest.raises(ConfigError, match=r"no row mgd in this league, expected none, shipped, cwd, none@1\.8"):
        check_names(claims, rows, "bccd")
    check_names(claims, [*rows, "mgd"], "bccd")
    with pytest.raises(ConfigError, match="no claim is about the set coco, only about bccd, street"):
        check_names(claims, [*rows, "mgd"], "coco")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: []", "at least 1"),
        ("claims: [{recipe: cwd}]", "sets"),
        ("claims: [{recipe: cwd, sets: [a], alternative: better}]", "greater"),
        ("claims: [{recipe: cwd, sets: [a], threshold: .inf}]", "finite"),
        ("claims: [{recipe: cwd, sets: [a], treshold: 1}]", "Did you mean 'threshold'"),
        ("- cwd", "must hold 'claims:'"),
        ("claims: [", "is not valid YAML"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_claims(file)
    with pytest.raises(ConfigError, match="cannot be opened"):
        read_claims(tmp_path / "nothing.yaml")


def test_a_record_that_is_none(out: Path) -> None:
    (out / "claims.json").write_text("{}")
    with pytest.raises(InputError, match="is no record of claims"):
        make_report(out, out)


def test_claims_in_words() -> None:
    values: dict[str, Any] = {"recipe": "cwd", "sets": ["bccd"]}
    assert str(Claim.parse(values, "")) == "cwd minus none > 0 on test"
    assert ClaimsFile.parse({"claims": [values]}, "").claims[0].split == "test"
