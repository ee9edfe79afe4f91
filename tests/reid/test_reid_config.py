"""ReID settings: places of keys, recipes, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.base import RECIPES
from kd_yolo.reid.resolve import resolve_reid
from kd_yolo.reid.settings import ReIDConfig

SHIPPED = sorted(path.stem for path in (RECIPES / "reid").glob("*.yaml"))


def test_a_key_finds_its_section() -> None:
    config = resolve_reid(None, {"epochs": 3, "network.backbone": "resnet18", "data": "market"})
    assert (config.train.epochs, config.network.backbone, config.data) == (3, "resnet18", "market")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'"),
        ({"trian.epochs": 3}, "unknown section 'trian' in 'trian.epochs'. Did you mean 'train'"),
        ({"train.epochz": 3}, "unknown key 'train.epochz'. Did you mean 'epochs'"),
        ({"temperature": 3}, "in several sections: write self_kd.temperature or distill.temperature"),
        ({"feature": "local"}, "test.feature=local needs the local branch: network.local=true"),
        ({"teacher_stage": "layer1"}, "teaches shallower stages"),
        ({"student_stages": ["layer4"]}, "layer4 is not one"),
        ({"id_weight": 0, "triplet_weight": 0}, "no loss is left"),
        ({"milestones": [0.5, 0.2]}, "expected rising shares of the run"),
        ({"teacher": "a.pt", "logit_weight": 0}, "all weights are 0"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_reid(None, changes)
    assert message in str(error.value)


def test_an_unknown_recipe_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"no ReID recipe 'strong'\..*Known: aligned"):
        resolve_reid("strong", {})


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_are_valid_and_say_their_command(name: str) -> None:
    first = (RECIPES / "reid" / f"{name}.yaml").read_text().splitlines()[0]
    changes = {"teacher": "best.pt"} if "--teacher" in first else {}
    assert isinstance(resolve_reid(name, changes), ReIDConfig)
    assert first.startswith("# kd-yolo reid ")
    assert f"--recipe {name}" in first


def test_changes_go_over_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("train: {epochs: 7, ids: 8}\n")
    assert resolve_reid(str(recipe), {"train.epochs": 2}).train.model_dump()["epochs"] == 2
    assert resolve_reid(str(recipe), {"train.epochs": 2}).train.ids == 8
