"""Help of ``kd-yolo reid``, ``crops`` and ``search``: each default is the model's, each setting is listed, no None."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kd_yolo.cli.app import main
from kd_yolo.cli.flags import list_flags
from kd_yolo.reid.resolve import SECTIONS, WITHOUT_SECTION
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.search.settings import CropsConfig, QueryRules, ServeRules
from kd_yolo.search.tracks.rules import LinkRules, TrackRules
from tests.cli.commands import FLAGS

NAMES = [name for name in FLAGS if name.startswith(("reid", "crops", "search"))]
DEFAULT = re.compile(r"\(default: (.*?)\)\.?$")
# Sections of settings behind a command's flags, with their real defaults, and flags that are called otherwise.
CROPS = CropsConfig()
MODELS: dict[str, tuple[list[Any], dict[str, str]]] = {
    "reid train": (
        [ReIDConfig().self_kd, ReIDConfig().distill],
        {"feature_loss_coefficient": "feature_weight", "kd": "enabled"},
    ),
    "crops": ([CROPS, CROPS.rules, CROPS.detector], {}),
    "search query": ([QueryRules(), CROPS.detector], {"detector": "weights"}),
    "search track": ([TrackRules(), CROPS.detector], {}),
    "search link": ([LinkRules()], {}),
    "search serve": ([ServeRules(), CROPS.rules, CROPS.detector], {}),
}


def help_of(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("kd_yolo.cli.about.WIDTH", 1000)
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def lines_of(said: str, start: str) -> dict[str, str]:
    """Name and text of the lines of a help that begin so."""
    found = {}
    lines = [line.strip("|│ ") for line in said.splitlines()]
    for place, line in enumerate(lines):
        if re.match(rf"{start}[a-z]", line):
            found[line.partition(" ")[0]] = line if "  " in line else f"{line} {lines[place + 1]}"
    return found


def same(said: str, value: Any) -> bool:
    """Whether a default in a help is a value; a text in its place says what None or an empty list means."""
    if isinstance(value, bool):
        return said == str(value).lower()
    if isinstance(value, int | float):
        return float(said) == value
    if isinstance(value, tuple) and value:
        return [float(part) for part in said.split(",")] == [*value]
    return said == value if value else bool(said)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(name, capsys, monkeypatch)
    assert "None" not in said
    assert said.splitlines()[-1].startswith(f"example: kd-yolo {name} ")
    shown = lines_of(said, "--")
    flags = [flag for flag in list_flags(FLAGS[name]) if not flag.is_positional]
    assert set(shown) == {f"--{flag.name.replace('_', '-')}" for flag in flags}
    models, names = MODELS.get(name, ([], {}))
    for flag in flags:
        text = shown[f"--{flag.name.replace('_', '-')}"]
        has_default = not flag.is_switch and not flag.info.is_required()
        assert bool(DEFAULT.search(text)) == has_default, text
        key = names.get(flag.name, flag.name)
        holder = next((model for model in models if flag.part and key in type(model).model_fields), None)
        if has_default and holder is not None:
            assert same(DEFAULT.search(text)[1], getattr(holder, key)), text  # type: ignore[index]


@pytest.mark.parametrize("name", ["reid train", "reid distill"])
def test_every_setting_is_listed_with_its_default(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = help_of(name, capsys, monkeypatch)
    listed = {
        line.split("=")[0].strip(): line for line in said.partition("key=value:\n")[2].splitlines() if "=" in line
    }
    listed = {key: line for key, line in listed.items() if re.fullmatch(r"[a-z_0-9.]+", key)}
    settings = {f"{section}.{key}" for section, model in SECTIONS.items() for key in model.model_fields}
    assert set(listed) == settings | WITHOUT_SECTION
    config = ReIDConfig()
    for key in settings:
        section, _, field = key.partition(".")
        found = DEFAULT.search(listed[key].rstrip())
        assert found is not None, listed[key]
        assert same(found[1], getattr(getattr(config, section), field)), listed[key]


def test_settings_of_a_test_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rank = help_of("reid rank", capsys, monkeypatch)
    test = help_of("reid test", capsys, monkeypatch)
    assert {"test.ap=", "test.cameras=", "test.max_rank="} == {*re.findall(r"  ([\w.]+=) ", test)} - {
        *re.findall(r"  ([\w.]+=) ", rank)
    }
    assert "train.device=" in rank
    assert "train.lr=" not in test
