"""state.json: what is skipped, what is refused, and that the file is always whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kd_yolo.base.errors import ConfigError, InputError
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
    assert state.find(step.stage, SETTINGS) is None
    state.begin(step.stage, SETTINGS)
    state.finish(step)
    return state


def test_a_finished_stage_is_found_by_the_next_process(tmp_path: Path, made: Step) -> None:
    finished(tmp_path, made)
    assert State(tmp_path).find("retrain", SETTINGS) == made
    assert State(tmp_path).finished == [made]


def test_a_started_stage_is_run_again(tmp_path: Path) -> None:
    State(tmp_path).begin("retrain", SETTINGS)
    assert State(tmp_path).find("retrain", SETTINGS) is None
    assert State(tmp_path).finished == []


OTHERS = {"epochs": 3, "train": {"imgsz": 96}}


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("file", ["weights/last.pt", "retrain1/weights/last.pt", "weights/step1.pt"])
def test_changed_settings_are_refused_with_the_difference(
    tmp_path: Path, made: Step, is_finished: bool, file: str
) -> None:
    if is_finished:
        finished(tmp_path, made)
    else:
        State(tmp_path).begin("retrain", SETTINGS)
        left = tmp_path / "retrain" / file
        left.parent.mkdir(parents=True)
        left.touch()
    before = (tmp_path / "state.json").read_text()
    with pytest.raises(ConfigError, match=r"train\.imgsz: 64 -> 96") as error:
        State(tmp_path).find("retrain", OTHERS)
    assert "epochs" not in str(error.value).replace("settings", "")
    assert (tmp_path / "state.json").read_text() == before


def test_a_stage_that_made_nothing_may_change(tmp_path: Path) -> None:
    State(tmp_path).begin("retrain", SETTINGS)
    (tmp_path / "retrain" / "weights").mkdir(parents=True)
    (tmp_path / "retrain" / "args.yaml").touch()
    assert State(tmp_path).find("retrain", OTHERS) is None
    State(tmp_path).begin("retrain", OTHERS)
    assert State(tmp_path).find("retrain", OTHERS) is None


def test_paths_and_tuples_are_the_same_after_a_reload(tmp_path: Path, made: Step) -> None:
    state = State(tmp_path)
    state.begin("retrain", {"data": Path("a.yaml"), "layers": (1, 2)})
    state.finish(made)
    assert State(tmp_path).find("retrain", {"data": Path("a.yaml"), "layers": (1, 2)}) == made


def test_a_chain_may_be_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    weights = old / "sparse" / "weights" / "sparse.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    state = State(old)
    state.begin("sparse", SETTINGS | {"teacher": str(weights)})
    state.finish(Step("sparse", weights))
    old.rename(new)
    there = new / "sparse" / "weights" / "sparse.pt"
    assert State(new).find("sparse", SETTINGS | {"teacher": str(there)}) == Step("sparse", there)


def test_a_result_that_is_gone(tmp_path: Path, made: Step) -> None:
    finished(tmp_path, made)
    made.path.unlink()
    with pytest.raises(InputError, match=r"best\.pt.*is gone"):
        State(tmp_path).find("retrain", SETTINGS)


RESULT = '{"stage": "a", "path": "b", "metrics": {}, "notes": []}'
DEEP = 2000 if sys.version_info >= (3, 13) else 800  # what json itself still reads
STAGE = '{"version": 1, "stages": {"retrain": %s}}'


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "3", "null", '{"version": 99, "stages": {}}', '{"version": 1, "stages": 3}', "\x00", "[" * 9999,
        '{"version": 1}', STAGE % "3", STAGE % "{}", STAGE % '{"settings": {}}',
        STAGE % '{"settings": 3, "result": null}', STAGE % '{"settings": {}, "result": 3}',
        STAGE % '{"settings": {}, "result": {"stage": "a", "path": "b"}}',
        *(STAGE % f'{{"settings": {{}}, "result": {RESULT.replace(*change)}}}' for change in (
            ('"b"', "3"), ('"a"', "null"), ('"metrics": {}', '"metrics": []'),
            ('"metrics": {}', '"metrics": {"x": "y"}'), ('"notes": []', '"notes": 3'), ('"notes": []', '"notes": [3]'),
        )),
        STAGE % ('{"settings": ' + '{"a": ' * DEEP + "1" + "}" * DEEP + ', "result": null}'),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match=r"state\.json") as error:
        State(tmp_path)
    assert len(str(error.value)) < 1000


def test_a_state_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state.json")  # would be waited for for ever
    with pytest.raises(InputError, match="is a pipe"):
        State(tmp_path)


HOLDER = """
import sys
from pathlib import Path
from kd_yolo.pipeline.state import State
with State(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_another_process_in_the_same_chain(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"process {holder.pid} is working on the chain"), State(tmp_path).locked():
        pass
    holder.kill()
    holder.wait()
    state = State(tmp_path)
    with state.locked(), state.locked():  # a killed one does not block; a chain holds it for its stages
        state.begin("retrain", SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


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
