"""``--loss auto``: terms that fit the networks, the reason in a line, the same after a resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.distill import main
from kd_yolo.config.distill import AUTO_RECIPE, DEFAULT_LOSS, resolve_distill
from kd_yolo.config.league import parse_recipes
from kd_yolo.distill.auto import choose
from kd_yolo.distill.build import build_terms
from kd_yolo.distill.kept import ALL_CLASSES, KeptClasses
from kd_yolo.distill.teachers.teacher import Teacher

Build = Callable[..., Any]
NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="session")
def make(build: Build, tiny_yaml: Callable[..., str]) -> Callable[..., Any]:
    """A small detector with these class names and this number of bins."""

    def named(names: list[str], bins: int = 16, head: str = "Detect") -> Any:
        model = build(tiny_yaml(8, head=head), classes=len(names))
        model.names = dict(enumerate(names))
        model.args = {"data": "data.yaml"}
        model.model[-1].reg_max = bins
        return model

    return named


def chosen(student: Any, *teachers: Any, kept: KeptClasses = ALL_CLASSES) -> tuple[dict[str, tuple[float, str]], str]:
    """Weight and gate by loss, and the reason; the terms are built, so they fit."""
    recipe = choose(student, teachers, kept)
    config = resolve_distill([f"{i}.pt" for i in range(len(teachers))] or "ema", recipe)
    build_terms(config, student, [Teacher(model) for model in teachers or [student]], seed=0, kept=kept)
    assert config.schedule.kind == ("constant" if "gate" in recipe["chosen"] else "cosine")
    return {term.loss: (term.weight, term.gate) for term in config.terms}, str(config.chosen)  # type: ignore[misc]


def test_networks_that_fit_get_the_whole_recipe(make: Any) -> None:
    terms, why = chosen(make(NAMES), make(NAMES))
    assert terms == {term["loss"]: (term["weight"], term["gate"]) for term in AUTO_RECIPE["terms"]}
    assert why == (
        "loss auto: bkd 2 + dfl_kl 4, gate balanced, constant weight: the teacher knows all 3 classes, both heads have"
        " 16 box bins"
    )
    assert chosen(make(NAMES))[0] == terms  # the student's own average


def test_what_does_not_fit_is_left_out_or_replaced(make: Any) -> None:
    assert chosen(make(NAMES), make(["cat", "dog"])) == (
        {"cwd": (1.0, None)},
        "loss auto: cwd, as teacher and data share no class: features know none",
    )
    assert chosen(make(NAMES), make(NAMES), make(["cat"]))[0] == {"cwd": (1.0, None)}
    terms, why = chosen(make(NAMES), make(["blue", "cat", "dog", "red"]))
    assert terms == {"bkd": (2.0, "balanced")}
    assert "the teacher knows 2 of 3 classes, and 2 that the data lacks, so its boxes are left out" in why
    terms, why = chosen(make(NAMES, bins=1), make(NAMES))
    assert terms == {"bkd": (2.0, "balanced"), "box_iou": (6.0, "balanced")}
    assert "boxes decoded, as the heads have 1/16 bins" in why
    assert chosen(make(NAMES, bins=1, head="OBB"), make(NAMES, head="OBB"))[0] == {"bkd": (2.0, "balanced")}


def test_one_class_has_nothing_to_balance(make: Any) -> None:
    for kept in (ALL_CLASSES, KeptClasses(single=True)):
        terms, why = chosen(make(["item"]), make(["item"]), kept=kept)
        assert terms == {"bkd": (2.0, "confidence"), "dfl_kl": (4.0, "confidence")}
        assert "the teacher knows the class, both" in why
    assert chosen(make(NAMES), make(NAMES), kept=KeptClasses((1,)))[0]["bkd"] == (2.0, "confidence")


def test_the_reason_says_how_uneven_the_classes_are(make: Any) -> None:
    recipe = choose(make(NAMES), [make(NAMES)], ALL_CLASSES, {"red": 90, "green": 8, "blue": 2})
    assert "gate balanced (red 90% of the boxes, blue 2%), constant" in recipe["chosen"]


def test_what_is_said_goes_over_the_choice(make: Any) -> None:
    recipe = choose(make(NAMES), [make(NAMES)], ALL_CLASSES)
    config = resolve_distill("t.pt", recipe, gate="all", weight="1+auto:0.2")
    assert [(term.gate, term.weight, term.share) for term in config.terms] == [("all", 1, None), ("all", 1, 0.2)]
    assert str(config.chosen).endswith("; changed by what was said: weight, gate")


def test_a_run_records_its_choice_and_a_resumed_one_keeps_it(
    train: Callable[..., Any], tmp_path: Path, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def stop(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise Stop

    with pytest.raises(Stop):
        train(loss="auto", finish=False, save=True, on={"on_train_epoch_end": stop})
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["distillation"]
    assert [(term["loss"], term["weight"]) for term in recorded["terms"]] == [("bkd", 2.0), ("dfl_kl", 4.0)]
    assert recorded["chosen"].startswith("loss auto: bkd 2 + dfl_kl 4")
    assert any(line == f"kd-yolo: {recorded['chosen']}" for line in logged)
    monkeypatch.setattr("kd_yolo.distill.start.choose", None)  # asking again would fail
    last = str(tmp_path / "run" / "weights" / "last.pt")
    resumed = train(model=last, resume=last, finish=False, save=True)
    assert resumed.kd_config.model_dump(mode="json") == recorded


def test_it_is_the_default_and_a_dry_run_says_why(student: str, teacher: str, tiny_data: Path, capsys: Any) -> None:
    words = ["--teacher", teacher, "--student", student, f"data={tiny_data}", "imgsz=64", "device=cpu", "--dry-run"]
    said = {}
    for loss in ([], ["--loss", DEFAULT_LOSS]):
        assert main([*words, *loss]) == 0
        said[len(loss)] = capsys.readouterr().out
    assert said[0] == said[2]
    assert "\nloss auto: bkd 2 + dfl_kl 4, gate balanced (c" in said[0]


def test_a_league_keeps_the_name() -> None:
    assert parse_recipes(["auto", "loud=auto:weight=2"])[-1].resolved() == {"loss": "auto", "weight": "2"}
