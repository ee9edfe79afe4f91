"""Recipes and seeds as they are typed, and which word of a command line is what."""

from __future__ import annotations

import json

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.league import split_recipes
from kd_yolo.config.distill import resolve_distill
from kd_yolo.config.league import Recipe, parse_recipe, parse_recipes, parse_seeds


def test_none_and_shipped_are_always_there_and_first() -> None:
    assert [recipe.name for recipe in parse_recipes(["cwd", "cwd+bkd"])] == ["none", "shipped", "cwd", "cwd+bkd"]
    assert parse_recipes(["shipped", "cwd", "none", "cwd"]) == parse_recipes(["cwd"])


def test_a_recipe_is_a_loss_a_name_and_flags() -> None:
    assert parse_recipe("cwd") == Recipe(name="cwd", loss="cwd")
    assert parse_recipe("both=cwd+bkd") == Recipe(name="both", loss="cwd+bkd")
    recipe = parse_recipe("a=cwd+bkd:weight=1+2,taps=15,18,21,stop-at=0.8")
    assert recipe.loss == "cwd+bkd"
    assert recipe.flags == {"weight": "1+2", "taps": [15, 18, 21], "stop_at": "0.8"}
    assert str(recipe) == "cwd+bkd:weight=1+2,taps=15,18,21,stop_at=0.8"
    assert parse_recipe(f"a={recipe}") == recipe


def test_arms_with_settings_of_their_own() -> None:
    none, shipped, ours = parse_recipes(
        ["lr2=none:lr0=0.002,nbs=16", "dis12=shipped:dis=12,lr0=0.002", "a=cwd:tau=2,lrf=0.1"]
    )[2:]
    assert (none.kind, none.train, str(none)) == ("plain", {"lr0": "0.002", "nbs": "16"}, "none:lr0=0.002,nbs=16")
    assert none.resolved() == {"loss": "none", "train": {"lr0": "0.002", "nbs": "16"}}
    assert (shipped.kind, shipped.train) == ("shipped", {"dis": "12", "lr0": "0.002"})
    assert (ours.kind, ours.flags, ours.train) == ("distill", {"tau": "2"}, {"lrf": "0.1"})
    assert ours.resolved()["train"] == {"lrf": "0.1"}
    assert parse_recipe(f"a={ours}") == ours


def test_arms_at_equal_cost_and_controls() -> None:
    rows = parse_recipes(["cwd", "none@cost", "none@cwd", "none@1.8", "r=cwd:teacher=random", "s=cwd:teacher=student"])[
        2:
    ]
    assert [(row.name, row.kind, row.cost) for row in rows[1:4]] == [
        ("none@cost", "plain", "cost"), ("none@cwd", "plain", "cwd"), ("none@1.8", "plain", "1.8"),
    ]  # fmt: skip
    assert rows[1].resolved() == {"loss": "none", "cost": "cost"}
    assert [row.control for row in rows] == [None, None, None, None, "random", "student"]
    assert rows[4].resolved() == {**rows[0].resolved(), "control": "random"}
    assert str(rows[4]) == "cwd:teacher=random"
    assert parse_recipe(f"r={rows[4]}") == rows[4]


def test_flags_reach_the_distillation_as_they_are() -> None:
    recipe = parse_recipe("a=cwd+bkd:weight=1+2,schedule=constant,stop_at=mosaic,gate=all")
    config = resolve_distill("t.pt", "cwd+bkd", weight="1+2", schedule="constant", stop_at="mosaic", gate="all")
    expected = json.loads(
        config.model_dump_json(exclude_none=True, exclude={"teacher", "trust_weights", "teacher_val"})
    )
    assert recipe.resolved() == expected


def test_recipes_of_the_configuration_folder() -> None:
    recipe = parse_recipes(["mgd_bottleneck"])[-1]
    assert recipe.resolved()["terms"][0]["params"] == {"bottleneck": 64}
    path = parse_recipes(["cfg/distill/mgd_bottleneck.yaml"])[-1]
    assert (path.name, path.resolved()) == (recipe.name, recipe.resolved())
    assert parse_recipes(["ours=shipped"])[-1].resolved()["terms"][0]["loss"] == "score_l2"


def test_no_paths_of_this_machine() -> None:
    recipe = Recipe(name="a", loss="cwd", flags={"unlabelled": "/home/me/images"})
    assert str(recipe) == "cwd:unlabelled=images"
    assert "/home" not in json.dumps(recipe.resolved())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cwdd", "unknown loss 'cwdd'. Did you mean 'cwd'?"),
        ("a=cwd+bdk", "unknown loss 'bdk'. Did you mean 'bkd'?"),
        ("cwd:weight=2", "keys need a name for the row: cwd2=cwd:weight=2"),
        ("a=cwd:wieght=2", "wieght"),
        ("a=cwd:weight=many", "--weight must be a number"),
        ("a=cwd:weight", "'weight' is no key=value (name=loss:key=value,key=value)"),
        ("a=cwd:", "'' is no key=value"),
        ("a=cwd:teacher=t.pt", "'teacher=' is the same for all"),
        ("a=", "no loss, expected name=loss"),
        ("teacher=cwd", "'teacher' is a row of its own"),
        ("none=cwd", "'none' is a row of its own"),
        ("a/b=cwd", "'a/b' cannot be the name of a file"),
        ("missing.yaml", "no such file"),
        ("none@", "says no cost, expected none@cost, none@1.8 or none@ROW"),
        ("none@0.5", "no distilled row '0.5', expected none@cost"),
        ("none@cost", "no distilled row 'cost'"),
        ("a=none:tau=2", "'tau=' is nothing to none, expected epochs, batch, nbs, optimizer, lr0"),
        ("a=none", "it is none under another name"),
        ("a=shipped:dis=3,teacher=random", "'teacher=' is nothing to shipped"),
        ("a=cwd:dis=3", "'dis=' weighs ultralytics' own distillation: a=shipped:dis=3"),
    ],
)
def test_wrong_recipes(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_recipes([text])
    assert message in str(error.value)
    assert str(error.value).startswith(f"recipe '{text}': ")


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError, match=r"'cwdd'(.|\n)*'mgdd'"):
        parse_recipes(["cwdd", "mgdd"])
    with pytest.raises(ConfigError, match="another one has the name 'a' already: cwd"):
        parse_recipes(["a=cwd", "a=bkd"])


def test_seeds() -> None:
    assert parse_seeds("2, 0,1") == (2, 0, 1)
    for text in ("", "0,,1", "0,0", "a", "-1", "0.5"):
        with pytest.raises(ConfigError, match="expected different whole numbers such as 0,1,2"):
            parse_seeds(text)


def test_words_behind_losses_are_recipes_unless_ultralytics_knows_their_key() -> None:
    words, pairs = split_recipes(
        ["epochs=3", "--losses", "cwd", "a=cwd:weight=2", "lr0=0.1", "b=bkd", "--seeds", "0", "typo=1", "imgsz=64"]
    )
    assert words == ["--losses", "cwd", "a=cwd:weight=2", "b=bkd", "--seeds", "0"]
    assert pairs == ["epochs=3", "lr0=0.1", "typo=1", "imgsz=64"]


def test_how_the_teacher_runs_is_part_of_a_recipe_and_where_it_is_kept_is_not() -> None:
    (*_, kept) = parse_recipes(["kept=bkd:teacher_cache=4,teacher_every=2"])
    assert {"teacher_cache": 4, "teacher_every": 2}.items() <= kept.resolved().items()
    (*_, plain) = parse_recipes(["bkd"])
    assert not [key for key in {**plain.resolved(), **kept.resolved()} if key.endswith(("_dir", "_gb"))]
    assert not [key for key in plain.resolved() if key.startswith("teacher")]
