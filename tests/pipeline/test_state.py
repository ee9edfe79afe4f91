"""state.json: what is skipped, what is refused, and that the file is always whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kd_yolo.errors import ConfigError, InputError
from kd_yolo.pipeline.state import State, differences, file_hash
from kd_yolo.pipeline.step import Step

SETTINGS = {"epochs": 3, "train": {"imgsz": 64}}


@pytest.fixture
def made(tmp_path: Path) -> Step:
    """A finished stage whose file exists."""
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    return Step("retrain", path, {"map50_95": 0.5}, ("a note",))


def finished(folder: Path, step: Step) -> State:
    state = State(folder)
    assert state.begin(step.stage, SETTINGS) is None
    state.finish(step)
    return state


def test_a_finished_stage_is_found_by_the_next_process(tmp_path: Path, made: Step) -> None:
    finished(tmp_path, made)
    assert State(tmp_path).begin("retrain", SETTINGS) == made
    assert State(tmp_path).finished == [made]


def test_a_started_stage_is_run_again(tmp_path: Path) -> None:
    State(tmp_path).begin("retrain", SETTINGS)
    assert State(tmp_path).begin("retrain", SETTINGS) is None
    assert State(tmp_path).finished == []


@pytest.mark.parametrize("is_finished", [True, False])
def test_changed_settings_are_refused_with_the_difference(tmp_path: Path, made: Step, is_finished: bool) -> None:
    if is_finished:
        finished(tmp_path, made)
    else:
        State(tmp_path).begin("retrain", SETTINGS)
    before = (tmp_path / "state.json").read_text()
    with pytest.raises(ConfigError, match=r"train\.imgsz: 64 -> 96") as error:
        State(tmp_path).begin("retrain", {"epochs": 3, "train": {"imgsz": 96}})
    assert "epochs" not in str(error.value).replace("settings", "")
    assert (tmp_path / "state.json").read_text() == before


def test_paths_and_tuples_are_the_same_after_a_reload(tmp_path: Path) -> None:
    State(tmp_path).begin("retrain", {"data": Path("a.yaml"), "layers": (1, 2)})
    assert State(tmp_path).begin("retrain", {"data": Path("a.yaml"), "layers": (1, 2)}) is None


def test_a_result_that_is_gone(tmp_path: Path, made: Step) -> None:
    finished(tmp_path, made)
    made.path.unlink()
    with pytest.raises(InputError, match=r"best\.pt.*is gone"):
        State(tmp_path).begin("retrain", SETTINGS)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99, "stages": {}}', '{"version": 1, "stages": 3}'])
def test_a_foreign_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match=r"state\.json is not the state"):
        State(tmp_path)


def test_nothing_is_written_before_a_stage_begins(tmp_path: Path) -> None:
    State(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_file_is_replaced_whole(tmp_path: Path, made: Step) -> None:
    finished(tmp_path, made)
    assert [p.name for p in tmp_path.iterdir() if p.suffix in {".json", ".part"}] == ["state.json"]
    assert json.loads((tmp_path / "state.json").read_text())["stages"]["retrain"]["result"]["metrics"] == made.metrics


def test_differences_go_into_depth_and_see_absent_keys() -> None:
    assert differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 5}, "e": 4}) == [
        "a.c: 2 -> 5",
        "d: 3 -> null",
        "e: null -> 4",
    ]
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) == []


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    assert file_hash(one) == file_hash(two)
    two.write_bytes(b"y")
    assert file_hash(one) != file_hash(two)
    assert file_hash("yolov8n.yaml") == "yolov8n.yaml"
