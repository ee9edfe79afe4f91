"""``kd-yolo crops``: flags, recipes, exit codes, what is said at the end, and real weights on real images."""

from __future__ import annotations

import shlex
from pathlib import Path

import polars
import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.app import main
from kd_yolo.cli.crops import ABOUT, CropsFlags, _settings, _stem
from kd_yolo.cli.flags import list_flags
from kd_yolo.cli.run import parse_flags
from kd_yolo.config.base import RECIPES, read_yaml
from kd_yolo.search.crops import ledger
from kd_yolo.search.settings import CropRules, CropsConfig, DetectorSettings, resolve_crops
from tests.search.crops_helpers import image_of, use_bright_detector, walk, write_images, write_video

SHIPPED = sorted(path.stem for path in (RECIPES / "search").glob("*.yaml"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    use_bright_detector(monkeypatch)
    return tmp_path


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_are_valid_and_say_their_command(name: str) -> None:
    first = (RECIPES / "search" / f"{name}.yaml").read_text().splitlines()[0]
    assert f"kd-yolo crops video.mp4 --recipe {name}" in first
    assert resolve_crops(name, {}) == CropsConfig.parse(read_yaml(RECIPES / "search" / f"{name}.yaml"), name)


FLAGS = ["v.mp4", "--recipe", "reid", "--pad=0.2", "--imgsz", "320", "--camera", "4", "--weights", "w/best.pt"]


def test_flags_go_over_the_recipe() -> None:
    config = _settings(parse_flags(CropsFlags, FLAGS, prog="kd-yolo crops", description=ABOUT))
    recipe = resolve_crops("reid", {})
    assert config.rules == recipe.rules.model_copy(update={"pad": 0.2})
    assert config.detector == DetectorSettings(weights="w/best.pt", imgsz=320)
    assert (config.camera, config.stride) == (4, 1)


def test_every_setting_has_a_flag() -> None:
    settings = {*DetectorSettings.model_fields, *CropRules.model_fields, *CropsConfig.model_fields}
    own = {"source", "recipe", "csv", "out", "trust_weights"}
    assert {flag.name for flag in list_flags(CropsFlags)} - own == settings - {"detector", "rules"}


def test_an_unknown_recipe() -> None:
    with pytest.raises(ConfigError, match=r"no search recipe 'reit'. Did you mean 'reid'\? Known: "):
        resolve_crops("reit", {})


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("0", "webcam0"),
        ("rtsp://user:secret@10.0.0.7:554/live/1", "10.0.0.7-554-live-1"),
        ("http://host/a.mp4?x=1", "host-a.mp4-x-1"),
        ("pictures/*.jpg", "-.jpg"),
        ("some/folder/", "folder"),
    ],
)
def test_the_folder_is_named_after_the_source_without_its_password(source: str, stem: str) -> None:
    assert _stem(source).strip("-") == stem.strip("-")


def test_the_end_says_where_and_what_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(here / "my video.avi", walk(8))
    words = ["crops", "my video.avi", "--min-height", "8", "--min-width", "4", "--csv"]
    assert main(words) == 0
    said = capsys.readouterr().out
    folder = Path("runs/search/my video-crops")
    assert f"results: {folder} (crops/, crops.parquet, crops.csv)" in said
    assert f"next:    kd-yolo search index {shlex.quote(str(folder))}" in said
    assert len(polars.read_parquet(folder / "crops.parquet")) == len(list((folder / "crops").iterdir())) > 5
    assert main(words) == 0
    assert "going on: 8 frames are done, 0 of 1 inputs are left" in capsys.readouterr().out


def test_nobody_there_is_no_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(here / "in", [image_of()])
    assert main(["crops", "in"]) == 0
    assert "no person found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone.mp4"], 3, "gone.mp4: no such file"),
        (["bad.mp4"], 3, "cannot be opened as a video"),
        (["rtsp://127.0.0.1:9/x"], 3, "nothing of rtsp://127.0.0.1:9/x can be read"),
        (["bad.mp4", "--recipe", "nope"], 2, "no search recipe 'nope'"),
        (["bad.mp4", "--out", "full"], 2, "is not empty and holds no crops"),
    ],
)
def test_exit_codes(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    (here / "bad.mp4").write_bytes(b"no video")
    (here / "full").mkdir()
    (here / "full" / "file").touch()
    assert main(["crops", *words]) == code
    assert message in capsys.readouterr().err


def test_a_flag_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["crops", "bad.mp4", "--conf", "2"])
    assert stop.value.code == 2
    assert "--conf: Input should be less than 1 (got '2')" in capsys.readouterr().err


def test_interrupted_keeps_what_is_done_and_says_how_to_go_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(here / "v.avi", walk(8))
    add = ledger.Ledger.add

    def interrupted(self: ledger.Ledger, note: ledger.Note) -> None:
        add(self, note)
        if note.next_frame == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "add", interrupted)
    words = ["crops", "v.avi", "--min-height", "8", "--out", "o ut"]
    assert main(words) == 130
    assert "what is done is kept in o ut; go on with: kd-yolo crops v.avi --min-height 8 --out 'o ut'" in (
        capsys.readouterr().err
    )
    assert set(polars.read_parquet("o ut/crops.parquet")["frame"]) == {1, 2, 3, 4}


def test_help_is_quick_and_unknown_flags_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words, code in ((["--help"], 0), (["x.mp4", "--stryde", "2"], 2), ([], 2)):
        with pytest.raises(SystemExit) as ended:
            main(["crops", *words])
        assert ended.value.code == code
    assert "crops" in capsys.readouterr().out


@pytest.mark.e2e
def test_the_shared_video(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One person at a time walks up to a table: at most two are seen in a frame, in most frames one."""
    video = shared / "data" / "video" / "one-by-one-person-detection.mp4"
    weights = shared / "weights" / "yolov8n.pt"
    words = ["crops", str(video), "--weights", str(weights), "--imgsz", "320", "--stride", "20", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    table = polars.read_parquet(tmp_path / "out" / "crops.parquet")
    per_frame = table.group_by("frame").len()["len"]
    assert 40 <= len(per_frame) <= 70
    assert per_frame.max() <= 2
    assert "70 frames" in capsys.readouterr().out
