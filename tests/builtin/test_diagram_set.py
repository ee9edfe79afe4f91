"""The set of diagrams on disk: complete or absent, readable as YOLO data and as data with parents."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from kd_yolo.base.errors import ConfigError
from kd_yolo.builtin.diagram.render import draw_diagram
from kd_yolo.builtin.diagram.tree import CLASS_NAMES
from kd_yolo.builtin.diagram_set import DiagramReport, make_diagram
from kd_yolo.builtin.presets import get_diagram_preset
from kd_yolo.builtin.street_set import StreetReport
from kd_yolo.cli.data import main
from kd_yolo.data.check import check_detection_data
from kd_yolo.data.relation_set import read_relation_set

ROOT = Path(__file__).resolve().parents[2]
SMOKE = get_diagram_preset("smoke")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DiagramReport:
    """The smoke preset, drawn once; tests must not write to it."""
    return make_diagram(tmp_path_factory.mktemp("diagram") / "set", "smoke")


def test_the_preset_gives_the_counts(made: DiagramReport) -> None:
    assert made.images == {"train": 8, "val": 4}
    for split, count in made.images.items():
        for kind in ("images", "labels", "plabels"):
            assert len(list((made.folder / kind / split).iterdir())) == count
    assert not made.reused


def test_it_is_a_detection_set(made: DiagramReport) -> None:
    report = check_detection_data(made.data_yaml, nc_expected=7)
    assert report.names == dict(enumerate(CLASS_NAMES))
    assert {split: found.boxes for split, found in report.splits.items()} == made.boxes
    assert "path" not in yaml.safe_load(made.data_yaml.read_text())


def test_plabels_are_the_drawn_tree(made: DiagramReport) -> None:
    for split, count in made.images.items():
        samples = read_relation_set(made.folder, split)
        assert len(samples) == count
        links = 0
        for index, sample in enumerate(samples):
            drawing = draw_diagram(0, split, index, SMOKE.width_px, SMOKE.height_px)
            assert tuple(sample.truth.parents) == drawing.parents
            assert tuple(sample.truth.classes) == drawing.classes
            corners = sample.truth.boxes_xyxy(SMOKE.width_px, SMOKE.height_px)
            np.testing.assert_allclose(corners, drawing.boxes_xyxy, atol=1e-3)
            image = cv2.imread(str(sample.image)).astype(int)
            assert np.abs(image - drawing.image).mean() < 6, "JPEG loses little"
            links += sum(parent >= 0 for parent in drawing.parents)
        assert links == made.links[split]


def test_an_equal_set_is_reused_and_another_needs_force(tmp_path: Path) -> None:
    first = make_diagram(tmp_path / "set", "smoke")
    again = make_diagram(tmp_path / "set", "smoke")
    assert again.reused
    assert (again.images, again.boxes, again.links) == (first.images, first.boxes, first.links)
    with pytest.raises(ConfigError, match=r"another diagram set.*seed 0.*asked for: preset smoke, seed 1.*--force"):
        make_diagram(tmp_path / "set", "smoke", seed=1)
    assert make_diagram(tmp_path / "set", "smoke", seed=1, force=True).boxes != first.boxes
    next((tmp_path / "set" / "plabels" / "val").iterdir()).unlink()
    with pytest.raises(ConfigError, match="incomplete"):
        make_diagram(tmp_path / "set", "smoke", seed=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"], "nothing is left beside the set"


def test_a_street_set_is_left_alone(smoke_set: StreetReport) -> None:
    with pytest.raises(ConfigError, match="not made by this generator"):
        make_diagram(smoke_set.folder, "smoke", force=True)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        assert total == 12
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_diagram(tmp_path / "new" / "set", "smoke", progress=interrupt)
    assert list((tmp_path / "new").iterdir()) == []


def test_an_unknown_preset_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'smok'. Did you mean 'smoke'\? Known: smoke, demo, bench"):
        make_diagram(tmp_path / "set", "smok")


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["make", "diagram", "--preset", "smoke", "--out", str(tmp_path / "d")]
    assert main(words) == 0
    assert "drawn:" in capsys.readouterr().out
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "already there:" in out
    assert "(train 8, val 4)" in out
    assert main([*words, "--seed", "3"]) == 2


def test_the_shipped_yaml_is_about_the_demo_preset() -> None:
    text = (ROOT / "datasets" / "diagram.yaml").read_text()
    body, demo = yaml.safe_load(text), get_diagram_preset("demo")
    assert body["names"] == dict(enumerate(CLASS_NAMES))
    assert (body["train"], body["val"]) == ("diagram/images/train", "diagram/images/val")
    assert text.startswith("# kd-yolo data make diagram --preset demo\n")
    assert f"{demo.images['train']} train, {demo.images['val']} val, {demo.width_px} x {demo.height_px} px" in text


def test_the_command_puts_the_demo_where_the_shipped_yaml_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kd_yolo.base.places.project_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(
        "kd_yolo.builtin.presets._DIAGRAM", (SMOKE, type(SMOKE)("demo", 160, 120, {"train": 2, "val": 1}))
    )
    assert main(["make", "diagram"]) == 0
    assert main(["make", "diagram", "--preset", "smoke"]) == 0
    capsys.readouterr()
    assert sorted(entry.name for entry in (tmp_path / "datasets").iterdir()) == ["diagram", "diagram-smoke"]
