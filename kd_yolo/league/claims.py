"""Claims are noted before the first run and checked after the last: "shown" or "not shown", with the interval."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.files import write_json
from kd_yolo.base.reading import MAX_YAML_BYTES, first_few, parse_yaml, read_bytes, read_json_value
from kd_yolo.config.claims import Claim, ClaimsFile
from kd_yolo.league.comparisons import Comparison, Evidence
from kd_yolo.league.intervals import Interval

RECORD_FILE = "claims.json"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: what was claimed.
        is_shown: whether the whole interval is on the claimed side of the threshold.
        found: the gain or share; None where it cannot be said.
        interval: corrected for all claims of the file about this set and split.
        reason: why there is no interval.
    """

    claim: Claim
    is_shown: bool
    found: float | None = None
    interval: Interval | None = None
    reason: str = ""

    def __str__(self) -> str:
        found = self.reason if self.interval is None else f"{self.found:+.4f} ({self.interval})"
        return f"{'shown' if self.is_shown else 'not shown'}: {self.claim}: {found}"


def read_claims(path: Path) -> tuple[ClaimsFile, str]:
    """Reads a claims file.

    Returns:
        The claims and the hash of the file.

    Raises:
        ConfigError: it is no claims file.
    """
    try:
        content = read_bytes(path, limit=MAX_YAML_BYTES, what="claims file")
        values = parse_yaml(content.decode("utf-8-sig", errors="replace"), f"claims file {path}", settings=True)
    except InputError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(values, dict):
        raise ConfigError(f"claims file {path} must hold 'claims:' with a list, see docs/distil.md.")
    return ClaimsFile.parse({str(k): v for k, v in values.items()}, str(path)), hashlib.sha256(content).hexdigest()


def check_names(claims: ClaimsFile, recipes: list[str], data: str) -> None:
    """Refuses claims about rows that the league does not have.

    Raises:
        ConfigError: names that are no rows; or no claim is about this data set.
    """
    names = {name for claim in claims.claims for name in (claim.recipe, claim.than)}
    unknown = sorted(names - set(recipes))
    if unknown:
        raise ConfigError(f"--claims: no row {first_few(unknown)} in this league, expected {', '.join(recipes)}.")
    sets = sorted({name for claim in claims.claims for name in claim.sets})
    if data not in sets:
        raise ConfigError(f"--claims: no claim is about the set {data}, only about {first_few(sets)}.")


def note_claims(path: Path, out: Path, results: int, started: int, *, write: bool = True) -> str:
    """Notes a claims file beside the results, once.

    Args:
        path: the claims file.
        out: folder of the results.
        results: runs that have a result there.
        started: runs that were started, whatever they were evaluated on.
        write: else it is only checked.

    Returns:
        When they were noted, for people.

    Raises:
        ConfigError: it is another file than the one that was noted before runs began.
    """
    claims, digest = read_claims(path)
    known = read_record(out)
    if known is not None and known["sha256"] == digest:
        return str(known["noted"])
    if known is not None and results + started:
        raise ConfigError(
            f"{path} is not the claims file that was noted on {known['time']} ({known['file']}, sha256"
            f" {known['sha256'][:12]}), and runs have begun since: claims are written before the runs. Put the file"
            " back, or start another league under another --name."
        )
    time = datetime.now(timezone.utc).isoformat(timespec="seconds")
    noted = f"noted on {time} " + _when(results, started)
    record = {
        "file": path.name, "sha256": digest, "time": time, "results_before": results, "started_before": started,
        "noted": noted, **claims.model_dump(mode="json"),
    }  # fmt: skip
    if write:
        write_json(out / RECORD_FILE, record)
    return noted


def _when(results: int, started: int) -> str:
    if results:
        return f"AFTER {results} run(s) had a result here"
    return f"before any result here, after {started} run(s) were started" if started else "before the first run"


def read_record(out: Path) -> dict[str, Any] | None:
    """The claims that were noted, with their hash and time; None when there are none.

    Raises:
        InputError: a file that is no such record.
    """
    file = out / RECORD_FILE
    if not file.is_file():
        return None
    record = read_json_value(file, what="record of claims")
    if not isinstance(record, dict) or not {"file", "sha256", "time", "noted", "claims"} <= set(record):
        raise InputError(f"{file} is no record of claims: remove it, and give --claims again.")
    return record


def check_claims(record: dict[str, Any], evidence: Evidence) -> list[Verdict]:
    """Checks those claims that are about the set and split of the results.

    Args:
        record: see :func:`read_record`.
        evidence: of the finished runs.
    """
    run = next(iter(evidence.results.runs.values()))
    claims = [Claim.parse(claim, "claims") for claim in record["claims"]]
    data = run["settings"]["data"]["name"]
    claims = [claim for claim in claims if data in claim.sets and claim.split == run["split"]]
    pairs = list(dict.fromkeys((claim.recipe, claim.than) for claim in claims))
    found = {(item.recipe, item.control): item for item in evidence.compare(pairs)}
    return [_verdict(claim, found.get((claim.recipe, claim.than))) for claim in claims]


def _verdict(claim: Claim, found: Comparison | None) -> Verdict:
    if found is None:
        return Verdict(claim, False, reason="no seed has both")
    is_share = claim.measure == "share"
    value, interval = (found.share, found.share_interval) if is_share else (found.gain, found.interval)
    if interval is None or value is None:
        reason = "one repetition has no interval"
        if is_share and found.interval is not None:
            reason = "the gap to the teacher is not wide enough for a share"
        return Verdict(claim, False, reason=reason)
    border = interval.low - claim.threshold if claim.alternative == "greater" else claim.threshold - interval.high
    return Verdict(claim, border > 0, value, interval)
