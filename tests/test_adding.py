"""docs/adding.md: every example, as it stands there, in a package of its own and with its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ultralytics.trackers.track import TRACKER_MAP

from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.cli.app import main
from kd_yolo.reid.tracker import tracker_settings
from kd_yolo.search.networks.detector import PersonDetector
from kd_yolo.search.tracks.rules import TrackRules
from kd_yolo.search.tracks.settings import settings_of
from kd_yolo.yolo.track import Follower
from tests.search.crops_helpers import BrightDetector
from tests.search.track_helpers import write_two

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs/adding.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE))
QUICK = {"distill": ["workers=0", "batch=4", "plots=False"], "reid": ["workers=0"]}  # what the examples leave out


def blocks(section: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", SECTIONS[section], re.DOTALL | re.MULTILINE)


def files(section: str) -> Iterator[tuple[str, str]]:
    for kind in ("python", "yaml"):
        for text in blocks(section, kind):
            name = re.match(r"# (\S+)\n", text)
            assert name is not None, "a block begins with the name of its file"
            yield name[1], text


def entry_points(section: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for text in blocks(section, "toml"):
        for group, entries in re.findall(
            r'^\[project\.entry-points\."(.+?)"\]\n((?:\S+ = ".+"\n)+)', text, re.MULTILINE
        ):
            found[group] = dict(re.findall(r'^(\S+) = "(.+)"$', entries, re.MULTILINE))
    return found


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reid") / "crops"
    make_crops(folder, "smoke")
    return folder


@pytest.fixture
def follow(
    install_package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """Installs what a section shows, runs its commands, and returns what each printed."""

    def do(section: str) -> list[str]:
        name = re.sub(r"\W", "_", section.lower())
        install_package(name, dict(files(section)), entry_points(section))
        monkeypatch.chdir(tmp_path)
        for file, text in files(section):
            if file.endswith(".yaml"):
                (tmp_path / file).write_text(text)
        printed = []
        for line in "".join(blocks(section, "bash")).splitlines():
            program, command, *words = shlex.split(line)
            assert program == "kd-yolo"
            assert main([command, *words, *([] if "--list-losses" in words else QUICK.get(command, []))]) == 0
            printed.append(capsys.readouterr().out)
        return printed

    return do


def place(tmp_path: Path, **sources: Path | str) -> None:
    for name, source in sources.items():
        (tmp_path / name.replace("_", ".")).symlink_to(source)


def test_every_row_of_the_table_has_its_section_and_its_places_exist() -> None:
    table = re.search(r"^\| what .*?\n\n", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert table is not None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[0].strip().splitlines()[2:]]
    assert [f"A{row[0][1:]}" for row in rows] == list(SECTIONS)
    for what, here, group in rows:
        for path in re.findall(r"`([\w/.]+/[\w/.]*)`", here):
            assert (ROOT / path).exists(), path
        assert set(entry_points(f"A{what[1:]}")) == ({group.strip("`")} if group else set())
    for path in re.findall(r"`((?:kd_yolo|tests)/[\w/.]+\.py)`", DOCUMENT):
        assert (ROOT / path).exists() or "charbonnier" in path, path


def test_a_loss(follow: Any, tmp_path: Path, make_weights: Any, tiny_yaml: Any, tiny_data: Path) -> None:
    place(tmp_path, teacher_pt=make_weights(tiny_yaml(16), seed=1), student_pt=make_weights(tiny_yaml(8)))
    (tmp_path / "data.yaml").write_text(f"path: {tiny_data.parent}\n{tiny_data.read_text()}")
    listed, dry = follow("A loss")
    assert "charbonnier The mean of sqrt((S - T)^2 + eps^2) over all values of a feature map." in listed
    assert "feature loss, weight 0.5; Charbonnier et al. 1994; parameters: eps=0.001" in listed
    assert re.search(r"charbonnier.*weight 0.5", dry)


@pytest.mark.slow
def test_a_family_of_detectors(follow: Any, tmp_path: Path, make_weights: Any, tiny_yaml: Any, tiny_data: Path) -> None:
    place(tmp_path, teacher_pt=make_weights(tiny_yaml(16), seed=1))
    (tmp_path / "data.yaml").write_text(f"path: {tiny_data.parent}\n{tiny_data.read_text()}")
    distilled, pruned = follow("A family of detectors")
    assert "student: runs/distill/mine/weights/best.pt" in distilled
    assert "pruned" in pruned, pruned


def test_a_reid_backbone(follow: Any, tmp_path: Path, crops: Path) -> None:
    place(tmp_path, crops=crops)
    (printed,) = follow("A ReID backbone")
    assert (tmp_path / "runs/reid/tiny/weights/best.pt").is_file(), printed


def test_a_reid_head(follow: Any, tmp_path: Path, crops: Path) -> None:
    place(tmp_path, crops=crops)
    (printed,) = follow("A ReID head")
    assert (tmp_path / "runs/reid/soft/weights/best.pt").is_file(), printed


@pytest.mark.slow
def test_a_reid_loss(follow: Any, tmp_path: Path, crops: Path) -> None:
    place(tmp_path, crops=crops)
    (printed,) = follow("A ReID loss")
    header = (tmp_path / "runs/reid/length/results.csv").read_text().splitlines()[0]
    assert "length" in header, printed


def test_a_tracker(follow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PersonDetector, "open", classmethod(lambda cls, settings: BrightDetector()))
    (video, *_) = write_two(tmp_path / "in")
    place(tmp_path, video_mp4=video)
    (printed,) = follow("A tracker")
    assert "2 tracks" in printed
    header = next((tmp_path / "tracks").rglob("meta.json")).read_text()
    assert '"track_buffer": 90' in header


def test_a_tracker_that_ultralytics_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here knows it: its name is in ultralytics' map, its settings in ultralytics' folder."""
    monkeypatch.setitem(TRACKER_MAP, "newtrack", type("NewTracker", (TRACKER_MAP["bytetrack"],), {}))
    settings = {**tracker_settings("bytetrack"), "tracker_type": "newtrack", "track_buffer": 7}
    (tmp_path / "newtrack.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr("kd_yolo.reid.tracker.PLACE", tmp_path)  # an absolute path stands for itself
    found = settings_of(TrackRules(tracker="newtrack", buffer=50), None)
    assert (found["tracker_type"], found["track_buffer"]) == ("newtrack", 50)
    assert type(Follower.open(found).tracker).__name__ == "NewTracker"
    with pytest.raises(ConfigError, match=r"unknown tracker 'newtrak'. Did you mean 'newtrack'\?"):
        settings_of(TrackRules(tracker="newtrak"), None)


def test_a_command(follow: Any, tmp_path: Path, crops: Path) -> None:
    place(tmp_path, crops=crops)
    (printed,) = follow("A command")
    images = [file for file in crops.rglob("*") if file.suffix in {".jpg", ".png"}]
    assert printed == f"{len(images)} images\n"
    assert len(images) > 10
