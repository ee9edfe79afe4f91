"""Classes are matched by name, ambiguity is an error, one line says the mapping; a dry run sees the data's names."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

from kd_yolo.base.errors import ConfigError
from kd_yolo.data.spec import read_data_yaml
from kd_yolo.distill.classes import ClassMap, class_names, map_classes, student_for
from kd_yolo.distill.trainer import say_note
from kd_yolo.yolo.heads import input_channels

LAYERS = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]],
    "head": [[[2], 1, "Detect", ["nc"]]],
}


def model(names: list[str] | int, *, trained: bool = True) -> Any:
    """A detector with these names, or a number of classes and the names that a YAML gives."""
    count = names if isinstance(names, int) else len(names)
    found: Any = DetectionModel(dict(LAYERS), ch=3, nc=count, verbose=False)
    if not isinstance(names, int):
        found.names = dict(enumerate(names))
    found.args = {"data": "data.yaml"} if trained else {}
    return found


def mapping(own: Any, other: Any) -> dict[int, int]:
    found, _ = map_classes("bkd", own, other)
    return dict(zip(found.student, found.teacher, strict=True))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("words", [["0", "1", "2"], ["a", "b", "c"], ["7", "1", "x y"], ["1", "2", "3"]])
def test_permuted_names_are_matched_by_name(order: tuple[int, ...], words: list[str]) -> None:
    """Names that are digits are names: a number never stands in for one."""
    teacher = [words[i] for i in order]
    found, notes = map_classes("bkd", model(words), model(teacher))
    expected = {i: teacher.index(word) for i, word in enumerate(words)}
    if teacher == words:
        assert (found, notes) == (ClassMap(), ["matched by name: all 3 classes, in the same order"])
    else:
        assert mapping(model(words), model(teacher)) == expected
        assert notes[0].startswith("matched by name: " + ", ".join(f"{words[i]}->{j}" for i, j in expected.items()))


def test_the_logits_follow_the_map() -> None:
    found, _ = map_classes("bkd", model(["0", "1", "2"]), model(["1", "2", "0"]))
    student, teacher = found.select(torch.tensor([[[0.0], [1], [2]]]), torch.tensor([[[1.0], [2], [0]]]))
    assert torch.equal(student, teacher)


def test_case_and_spaces_do_not_count() -> None:
    assert mapping(model(["Traffic  Light", "dog"]), model([" DOG", "traffic light "])) == {0: 1, 1: 0}
    found, notes = map_classes("bkd", model(["A", "b"]), model(["a", "B"]))
    assert found == ClassMap()
    assert notes == ["matched by name: A->0, b->1 (2 of 2 are taught)"]


def test_what_is_left_out_is_said() -> None:
    found, notes = map_classes("bkd", model(["cat", "emu", "dog"]), model(["dog", "cat", "cow"]))
    assert dict(zip(found.student, found.teacher, strict=True)) == {0: 1, 2: 0}
    assert notes == [
        "matched by name: cat->1, dog->0 (2 of 3 are taught)",
        "not taught, the teacher does not know them: ['emu']",
        "not used, the data does not have them: ['cow']",
    ]


@pytest.mark.parametrize(
    ("own", "other", "message"),
    [
        (["a", "b"], ["c", "d"], "none in common"),
        (["car", "Car ", "dog"], ["car", "dog"], r"classes 0 'car', 1 'Car ' of the data have the same name"),
        (["car", "dog"], ["dog", "car", "CAR"], r"classes 1 'car', 2 'CAR' of the teacher have the same name"),
        (["x", "x"], ["x", "y"], "of the data have the same name"),
        (["0", "1"], ["a", "b"], "none in common"),
        (["a"], ["0"], "none in common"),
    ],
)
def test_ambiguity_is_an_error(own: list[str], other: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        map_classes("bkd", model(own), model(other))


def test_a_name_that_is_there_twice_but_not_shared_does_not_matter() -> None:
    assert mapping(model(["a", "b"]), model(["?", "b", "?", "a"])) == {0: 3, 1: 1}
    assert map_classes("bkd", model(["x", "x"]), model(["x", "x"]))[0] == ClassMap(), "the very same data"


def test_only_an_untrained_model_of_a_yaml_has_no_names() -> None:
    fresh = model(2, trained=False)
    assert class_names(fresh) is None
    assert class_names(model(2)) == ["0", "1"]
    found, notes = map_classes("bkd", model(["a", "b"]), fresh)
    assert (found, notes) == (ClassMap(), ["matched by number: the teacher has no class names"])
    with pytest.raises(ConfigError, match="teacher has 2 classes, data has 3"):
        map_classes("bkd", model(["a", "b", "c"]), fresh)
    with pytest.raises(ConfigError, match="none in common"):
        map_classes("bkd", model(["a", "b"]), model(2))


def test_only_a_whole_match_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, list[str]] = {"info": [], "warning": []}
    for level, lines in said.items():
        monkeypatch.setattr(LOGGER, level, lines.append)
    for other in (["a", "b"], ["b", "a"], ["a", "c"]):
        for note in map_classes("bkd", model(["a", "b"]), model(other))[1]:
            say_note("kd_bkd", note)
    assert said["info"] == ["kd-yolo: kd_bkd: matched by name: all 2 classes, in the same order"]
    assert len(said["warning"]) == 4


def test_many_classes_make_a_short_line() -> None:
    names = [f"class {i}" * 50 for i in range(300)]
    notes = map_classes("bkd", model(names), model(names[::-1]))[1]
    assert len(notes[0]) < 2500
    assert "and 290 more" in notes[0]


@pytest.mark.parametrize("names", [["0", "1"], ["1", "0"], ["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_dry_run_sees_the_data(names: list[str], channels: int, tiny_data: Path, tmp_path: Path) -> None:
    body = yaml.safe_load(tiny_data.read_text()) | {"names": names, "channels": channels}
    body |= {"path": str(tiny_data.parent)}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(body))
    student = student_for(model(2, trained=False), read_data_yaml(tmp_path / "data.yaml"))
    assert class_names(student) == names
    assert input_channels(student) == channels
    assert student.model[-1].nc == len(names)
