"""From what a user typed to a configuration: names joined by +, flags, recipes, and flags that would do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DEFAULT_LOSS, DistillConfig, resolve_distill

RECIPE = """# train_distill.py --loss mine
terms:
  - loss: cwd
    weight: 2
    taps: cv2
  - loss: bkd
    params: {beta: 0.5}
schedule:
  kind: linear
  end: 0.5
"""


def resolve(loss: Any = "cwd", **flags: Any) -> DistillConfig:
    return resolve_distill("t.pt", loss, **flags)


def problem(loss: Any = "cwd", **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(loss, **flags)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return str(tmp_path / "mine.yaml")


def test_default_loss_is_valid() -> None:
    config = resolve_distill("t.pt")
    assert config == resolve_distill("t.pt", DEFAULT_LOSS)
    assert [(term.loss, term.weight, term.gate) for term in config.terms] == [
        ("bkd", 2, "balanced"), ("dfl_kl", 4, "balanced"),
    ]  # fmt: skip
    assert (config.schedule.kind, config.trust_weights) == ("constant", False)


def test_names_joined() -> None:
    assert [term.loss for term in resolve(" cwd + bkd ").terms] == ["cwd", "bkd"]


def test_every_misspelt_name_is_told() -> None:
    text = problem("cdw+bdk+", weight="1+2")
    assert "unknown loss 'cdw'. Did you mean 'cwd'?" in text
    assert "unknown loss 'bdk'. Did you mean 'bkd'?" in text
    assert "unknown loss ''" in text


def test_weight_for_all_or_one_each() -> None:
    assert [t.weight for t in resolve("cwd+bkd", weight="0.5").terms] == [0.5, 0.5]
    assert [t.weight for t in resolve("cwd+bkd", weight="1e+1+2").terms] == [10.0, 2.0]
    assert [t.weight for t in resolve("cwd+bkd", weight=[0, 3]).terms] == [0.0, 3.0]


def test_tau_goes_to_the_terms_that_have_one() -> None:
    assert [t.params for t in resolve("cwd+mgd+bkd", tau=2).terms] == [{"tau": 2.0}, {}, {"tau": 2.0}]
    assert [t.params for t in resolve("cwd+mgd+bkd", tau="2+4").terms] == [{"tau": 2.0}, {}, {"tau": 4.0}]
    assert resolve([{"loss": "bkd", "params": {"beta": 2}}], tau=3).terms[0].params == {"beta": 2, "tau": 3.0}


def test_taps_go_to_feature_terms() -> None:
    config = resolve("cwd+bkd", taps=[15, 18])
    assert [t.taps for t in config.terms] == [[15, 18], None]


def test_schedule_flags() -> None:
    config = resolve(schedule="constant", stop_at="0.75")
    assert (config.schedule.kind, config.schedule.stop_at) == ("constant", 0.75)
    assert resolve(stop_at="mosaic").schedule.stop_at == "mosaic"


@pytest.mark.parametrize(
    ("loss", "flags", "message"),
    [
        ("mgd", {"tau": 2}, "--tau: none of mgd has a temperature"),
        ("mgd+bkd", {"tau": "1+2"}, "--tau has 2 values for 1 loss term"),
        ("bkd", {"taps": "head"}, "--taps: only feature losses have taps"),
        ("cwd+bkd", {"weight": "1+2+3"}, "--weight has 3 values for 2 loss term"),
        ("cwd+bkd", {"weight": "1+x"}, "--weight must be a number"),
        ("cwd", {"weight": ""}, "--weight must be a number"),
        ("cwd", {"taw": 2}, "unknown distillation key\\(s\\): taw"),
        ([{"loss": "cwd", "schedule": {"kind": "linear"}}], {"stop_at": 0.5}, "every term has a schedule of its own"),
    ],
)
def test_flags_that_would_do_nothing_are_refused(loss: Any, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(loss, **flags)


def test_absent_flags_are_none() -> None:
    assert resolve(weight=None, tau=None, taps=None, schedule=None, stop_at=None) == resolve()


def test_recipe(recipe: str) -> None:
    config = resolve(recipe)
    assert [(t.loss, t.weight, t.taps) for t in config.terms] == [("cwd", 2.0, "cv2"), ("bkd", 1.0, None)]
    assert config.terms[1].params == {"beta": 0.5}
    assert (config.schedule.kind, config.schedule.end) == ("linear", 0.5)


def test_flags_beat_the_recipe(recipe: str) -> None:
    config = resolve(recipe, weight="5+6", tau=2, taps="head", schedule="cosine")
    assert [t.weight for t in config.terms] == [5.0, 6.0]
    assert config.terms[1].params == {"beta": 0.5, "tau": 2.0}
    assert config.terms[0].taps == "head"
    assert (config.schedule.kind, config.schedule.end) == ("cosine", 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("terms: cwd\n", "'terms' must be a list"),
        ("terms: [cwd]\n", "'terms' must be a list of 'loss: name' entries"),
        ("terms:\n", "'terms' must be a list"),
        ("terms: [{loss: cwd}]\nteacher: x.pt\n", "'teacher' is not part of a recipe: say it with --teacher"),
        ("terms: [{loss: cwd}]\ntrust_weights: true\n", "say it with --trust-weights"),
        ("terms: [{loss: cwd}]\nschedule: linear\n", "schedule: Input should be"),
        ("terms: [{loss: cwd}]\nshedule: {kind: linear}\n", "unknown key 'shedule'. Did you mean 'schedule'?"),
        ("terms: [{loss: [cwd]}]\n", "terms.0.loss: Input should be a valid string"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve(str(path))
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_term_list_without_loss() -> None:
    assert "terms.1.loss: Field required" in problem([{"loss": "cwd"}, {"weight": 1}], tau=2, taps="head")


def test_missing_recipe() -> None:
    assert "none.yaml: no such file" in problem("none.yaml")


@pytest.mark.parametrize("params", [[1], "tau"])
def test_parameters_that_are_no_mapping(params: Any) -> None:
    assert "terms.0.params: Input should be a valid dictionary" in problem([{"loss": "cwd", "params": params}], tau=2)
