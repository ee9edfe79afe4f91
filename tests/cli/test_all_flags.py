"""Over all commands: the help shows the models' defaults, nothing is typed twice, examples and typing errors."""

from __future__ import annotations

import importlib
import re
import shlex
from typing import Any

import pytest
from pydantic import BaseModel

from kd_yolo.cli.app import COMMANDS, main
from kd_yolo.cli.flags import Flag, Flags, FlagsOf, list_flags
from kd_yolo.config.compare import CompareConfig
from kd_yolo.config.distill import DEFAULT_LOSS, DistillConfig, resolve_distill
from kd_yolo.config.options import DEFAULTS, DistillOptions, RunOptions, SparseOptions
from kd_yolo.config.pipeline import PipelineConfig
from kd_yolo.config.prune import DEFAULT_FACTOR, PruneSettings
from kd_yolo.yolo.arguments.check import DEFAULTS as TRAIN_DEFAULTS
from tests.cli.commands import FLAGS

# The models whose fields a command's flags set.
MODELS: dict[str, tuple[type[BaseModel], ...]] = {
    "distill": (DistillConfig, DistillOptions, RunOptions),
    "sparse": (SparseOptions, RunOptions),
    "retrain": (RunOptions,),
    "prune": (PruneSettings,),
    "pipeline": (PipelineConfig,),
    "compare": (CompareConfig,),
}
# Fields that a command has beside a model's of the same name, and why.
RESTATED = {
    ("distill", "teacher"): "the model needs one, the command trains a demo teacher without",
    ("prune", "model"): "the model needs one, the command finds the newest",
    ("pipeline", "gate"): "the recipe holds a table of limits, the flag is one of them",
}
CONVERTED = {name: kind for name, kind in FLAGS.items() if issubclass(kind, Flags)}
EVERY_FLAG = [(name, flag) for name, kind in CONVERTED.items() for flag in list_flags(kind)]


def help_of(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def entries(said: str) -> dict[str, str]:
    """The text beside each flag, by the flag."""
    found: dict[str, str] = {}
    name = ""
    said = said.partition("usage:")[2].partition("key=value")[0].partition("example:")[0]
    for line in said.replace("│", " ").splitlines():  # a box where the terminal can draw one
        if start := re.match(r" {1,3}(--[a-z-]+)", line):
            name = start[1]
        found[name] = f"{found.get(name, '')} {line.strip()}"
    return found


def test_every_command_is_in_the_table() -> None:
    assert {name.split()[0] for name in FLAGS} == set(COMMANDS)


@pytest.mark.parametrize("name", CONVERTED)
def test_help_shows_the_default_of_the_model(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = help_of(name, capsys, monkeypatch)
    assert "None" not in said
    assert max(len(line) for line in said.splitlines() if not line.startswith("usage:")) <= 100
    texts = entries(said)
    for flag in list_flags(CONVERTED[name]):
        if flag.is_positional:
            continue
        text = texts[f"--{flag.name.replace('_', '-')}"]
        assert text.count("(default:") == (0 if is_plain_switch(flag) or flag.info.is_required() else 1), text
        if flag.default not in (None, (), []) and not flag.is_switch and not flag.info.is_required():
            shown = " ".join(map(str, flag.default)) if isinstance(flag.default, tuple) else str(flag.default)
            assert f"(default: {shown})" in " ".join(text.split()), text


@pytest.mark.parametrize("name", ["distill", "retrain", "pipeline", "league"])
def test_help_shows_the_defaults_of_ultralytics(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, said = help_of(name, capsys, monkeypatch).partition("with its defaults")
    pairs = dict(word.split("=", 1) for word in said.partition("example:")[0].split() if "=" in word)
    assert len(pairs) > 40
    assert (pairs["epochs"], pairs["imgsz"], pairs["optimizer"], pairs["data"]) == ("100", "640", "auto", "")
    wrong = {key for key, text in pairs.items() if text != str(TRAIN_DEFAULTS.get(key, "")).replace("None", "")}
    assert wrong == set()


def required_words(name: str, but: Flag) -> list[str]:
    """What the command cannot do without."""
    needed = [flag for flag in list_flags(CONVERTED[name]) if flag.info.is_required() and flag.name != but.name]
    value = "street" if name == "data make" else "x"
    return [word for flag in needed for word in ([value] if flag.is_positional else [f"--{flag.name}", value])]


def is_plain_switch(flag: Flag) -> bool:
    """Off by default, which need not be said."""
    return flag.is_switch and flag.default is False


@pytest.mark.parametrize("name", CONVERTED)
def test_every_flag_has_a_sentence(name: str) -> None:
    for flag in list_flags(CONVERTED[name]):
        assert flag.info.description, flag.name
        assert (
            flag.info.description[0].isupper()
            or flag.info.description[0].isdigit()
            or "," in flag.help
            or "(" in flag.help
        )


@pytest.mark.parametrize("name", MODELS)
def test_no_field_of_a_model_is_written_again(name: str) -> None:
    fields: set[str] = {key for model in MODELS[name] for key in model.model_fields}
    restated = {key for key in vars(FLAGS[name])["__annotations__"] if key in fields}
    assert {(name, key) for key in restated} == {pair for pair in RESTATED if pair[0] == name}


def test_defaults_that_depend_are_those_of_the_code() -> None:
    term = resolve_distill("t.pt", "cwd+bkd")
    assert (term.terms[0].taps, term.terms[1].gate, term.schedule.kind) == (
        DEFAULTS.taps, DEFAULTS.gate, DEFAULTS.schedule,
    )  # fmt: skip
    assert term.unlabelled_ratio == DEFAULTS.unlabelled_ratio
    loss = DistillOptions.model_fields["loss"].description or ""
    assert f"(default: {DEFAULT_LOSS}, which\nchooses by classes and heads)" in loss
    assert f"(default: {DEFAULT_FACTOR}," in str(PruneSettings.model_fields["factor"].description)
    assert PruneSettings(model="a.pt").criterion == "l2"
    assert PruneSettings(model="a.pt", data="d.yaml").criterion == "taylor"


@pytest.mark.parametrize("name", CONVERTED)
def test_the_example_is_understood(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.findall(r"^example: kd-yolo (.*)$", help_of(name, capsys, monkeypatch), flags=re.MULTILINE)
    assert len(example) == 1
    assert example[0].startswith(name)
    seen: list[Any] = []
    for place, _ in COMMANDS.values():
        module = importlib.import_module(place.partition(":")[0])
        if hasattr(module, "run_guarded"):
            monkeypatch.setattr(module, "run_guarded", lambda *_, **__: seen.append(1) or 0)
    for module in ("gallery", "track", "serve"):
        monkeypatch.setattr(f"kd_yolo.cli.search.{module}.run_guarded", lambda *_, **__: seen.append(1) or 0)
    assert main(shlex.split(example[0])) == 0
    assert seen == [1]


@pytest.mark.parametrize(("name", "flag"), [(n, f) for n, f in EVERY_FLAG if not f.is_positional and len(f.name) > 4])
def test_typing_errors_and_abbreviations_are_refused(name: str, flag: Flag, capsys: pytest.CaptureFixture[str]) -> None:
    right = f"--{flag.name.replace('_', '-')}"
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), *required_words(name, flag), right[:-1]])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert right in said


def test_no_flag_shares_a_field() -> None:
    for name, kind in CONVERTED.items():
        names = [flag.name for flag in list_flags(kind)]
        assert len(set(names)) == len(names), name
        parts = [one for info in kind.model_fields.values() for one in info.metadata if isinstance(one, FlagsOf)]
        assert all(set(part.names) <= set(part.fields) for part in parts), name
