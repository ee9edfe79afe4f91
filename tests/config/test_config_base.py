"""What every configuration shares: unknown keys with the nearest spelling, all problems at once, YAML errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import parse_yaml
from kd_yolo.config import base
from kd_yolo.config.base import StrictModel, find_recipe, read_yaml, recipe_path


class Inner(StrictModel):
    colour: str = "red"


class Outer(StrictModel):
    width: int = Field(default=1, ge=1)
    name: str
    inner: Inner = Inner()
    many: list[Inner] = Field(default_factory=list)


def problem(values: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        Outer.parse(values, "file.yaml")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_reads_what_is_right() -> None:
    parsed = Outer.parse({"name": "x", "many": [{"colour": "blue"}]}, "file.yaml")
    assert parsed.many[0].colour == "blue"


def test_all_problems_at_once_with_place_and_value() -> None:
    text = problem({"width": 0, "widht": 3, "inner": {"color": "x"}, "many": [{}, {"colour": 5}]})
    assert text.splitlines()[0] == "file.yaml: 5 problem(s)"
    assert "width: Input should be greater than or equal to 1 (got 0)" in text
    assert "unknown key 'widht'. Did you mean 'width'?" in text
    assert "unknown key 'inner.color'. Did you mean 'colour'?" in text
    assert "many.1.colour: Input should be a valid string (got 5)" in text
    assert "name: Field required" in text


def test_a_word_far_from_every_key_has_no_suggestion() -> None:
    assert "unknown key 'zzzz'.\n" in problem({"name": "x", "zzzz": 1}) + "\n"


def test_parsed_values_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        Outer(name="x").name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "is not valid YAML"),
        ("- 1\n- 2\n", "must hold 'key: value' lines, found list"),
        ("", "found NoneType"),
    ],
)
def test_unreadable_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)


def test_yaml_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not a text file"):
        read_yaml(path)


def test_missing_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        read_yaml(path)


def test_find_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RECIPES", tmp_path)
    (tmp_path / "distill").mkdir()
    recipe = tmp_path / "distill" / "mine.yaml"
    recipe.write_text("a: 1\n")
    monkeypatch.chdir(tmp_path)
    assert find_recipe("mine", "distill") == recipe
    assert find_recipe("mine.yaml", "distill") == recipe
    assert find_recipe(str(recipe), "distill") == recipe
    assert find_recipe("yours", "distill") is None
    assert find_recipe("yours.yaml", "distill") == Path("yours.yaml")  # named as a file: the reader says it is missing
    assert recipe_path("mine", "distill", what="test") == recipe
    with pytest.raises(ConfigError, match=r"no test recipe 'mein'\. Did you mean 'mine'\? Known: mine, or a path"):
        recipe_path("mein", "distill", what="test")


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e-4", 5e-4), ("-2E3", -2e3), ("1.5e2", 150.0), ("1e400", float("inf")), ("'5e-4'", "5e-4"), ("5e", "5e"),
     ("e4", "e4"), ("1e3x", "1e3x"), ("12", 12), ("1.5", 1.5)],
)  # fmt: skip
def test_numbers_of_settings_may_have_an_exponent(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"key": value}


def test_a_data_yaml_has_the_numbers_that_ultralytics_reads() -> None:
    assert parse_yaml("names: [1e3, a]", "data") == {"names": ["1e3", "a"]}
