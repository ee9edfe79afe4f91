"""Second opinions on hostile pickles: whatever picklescan or fickling flags, the loader refuses."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path

import pytest
import torch

from kd_yolo.base.errors import InputError
from kd_yolo.yolo.files.loading import load_checkpoint, load_checkpoint_dict
from tests.trust.hostile_pickles import corpus, forms, is_pickle

pytestmark = pytest.mark.usefixtures("no_installs")


def refusal(path: Path) -> str:
    """The message with which a file is refused; empty when it is loaded."""
    try:
        load_checkpoint_dict(path)
    except InputError as error:  # exit code 3
        return str(error)
    return ""


def test_every_hostile_file_is_refused_and_none_of_it_runs(tmp_path: Path) -> None:
    canary, path = tmp_path / "CANARY", tmp_path / "x.pt"
    files = corpus(canary)
    assert len(files) > 200
    loaded = []
    for what, data in files.items():
        path.write_bytes(data)
        if not refusal(path):
            loaded.append(what)
        assert not canary.exists(), what
    assert loaded == []


def test_what_picklescan_flags_is_refused(tmp_path: Path) -> None:
    scanner = pytest.importorskip("picklescan.scanner")
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    path = tmp_path / "x.pt"
    flagged = 0
    for what, data in corpus(tmp_path / "CANARY").items():
        suffix = ".pt" if what.startswith("archive") else ".pkl"
        found = scanner.scan_bytes(io.BytesIO(data), f"x{suffix}", suffix)
        if found.issues_count or getattr(found, "suspicious_count", 0):  # 1.0.4, the last for Python 3.10, has none
            flagged += 1
            path.write_bytes(data)
            assert refusal(path), what
    assert flagged > 120  # the oracle sees what it is asked about


def test_what_fickling_flags_is_refused(tmp_path: Path) -> None:
    fickling = pytest.importorskip("fickling")
    logging.getLogger("fickling").setLevel(logging.CRITICAL)
    path = tmp_path / "x.pt"
    flagged = 0
    for what, data in corpus(tmp_path / "CANARY").items():
        if not (what.startswith("plain") and is_pickle(data)):
            continue
        path.write_bytes(data)
        try:
            is_safe = fickling.is_likely_safe(str(path))
        except Exception:  # it cannot read every form
            continue
        if not is_safe:
            flagged += 1
            assert refusal(path), what
    assert flagged > 25


def test_the_files_are_hostile(tmp_path: Path) -> None:
    """Opened without care, every form of the one call does what it says."""
    for form, data in forms("pathlib", "Path", str(tmp_path)).items():
        if form not in {"NEWOBJ", "NEWOBJ_EX", "BUILD", "named only", "under DUP"}:
            assert pickle.loads(data) in (tmp_path, {"model": tmp_path}), form


def test_a_network_of_ours_passes(tiny_model: object, tmp_path: Path) -> None:
    torch.save({"model": tiny_model}, tmp_path / "x.pt")
    assert load_checkpoint(tmp_path / "x.pt")
