"""Flags come from the models: names, types, defaults and help, and what was typed is told from what was not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from pydantic import Field

from kd_yolo.base.errors import ConfigError
from kd_yolo.cli.about import About, setting_keys
from kd_yolo.cli.flags import Flags, FlagsOf, Given, list_flags, parse, typed_flags
from kd_yolo.config.base import StrictModel


class Inner(StrictModel):
    """A section."""

    depth: int = 4
    """How deep."""


class Model(StrictModel):
    """A configuration."""

    share: float | None = Field(default=None, gt=0)
    """How much, 20 % of it (default: all)."""
    kind: Literal["a", "b"] = "b"
    """Which."""
    either: Literal["head"] | list[int] = "head"
    """One or many."""
    names: tuple[str, ...] = ()
    """Names that stay."""
    deep: bool = False
    """Go deeper."""
    check: bool | None = None
    """Whether it is checked."""
    inner: Inner = Inner()


class Command(Flags):
    """Flags."""

    source: Annotated[str, tyro.conf.Positional]
    """Where from."""
    settings: Annotated[Given, FlagsOf(Model, ("share", "kind", "names", "deep", "check"), {"deep": "go_deep"})]
    out: Path = Path("here")
    """Where to."""
    no_video: bool = False
    """Write no video."""


ABOUT = About("It works.\n\n" + "word " * 40, "kd-yolo it x", lambda: setting_keys(Model, project="Folder."))


def read(*words: str) -> Command:
    return parse(Command, words, "kd-yolo it", ABOUT)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        read(*words)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_only_what_was_typed_is_given() -> None:
    flags = read("x")
    assert (flags.source, flags.settings, flags.out) == ("x", {}, Path("here"))
    assert flags.model_fields_set == {"source", "settings"}


def test_a_default_that_is_typed_is_given() -> None:
    assert read("x", "--kind", "b", "--out", "here").model_fields_set == {"source", "settings", "out"}
    assert read("x", "--kind", "b").settings == {"kind": "b"}
    assert typed_flags(read("x", "--kind", "b", "--go-deep")) == {"--source": "x", "--kind": "b", "--go-deep": True}


def test_a_switch_may_begin_with_no() -> None:
    assert (read("x").no_video, read("x", "--no-video").no_video) == (False, True)


def test_the_model_reads_the_values() -> None:
    flags = read("--share=0.5", "x", "--names", "a", "b", "--go-deep", "--no-check")
    model = Model.parse(flags.settings, "it")
    assert (model.share, model.names, model.deep, model.check) == (0.5, ("a", "b"), True, False)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("x --shar 3", "--share"),
        ("x --share", "Missing value"),
        ("x --kind c", "('a', 'b')"),
        ("x --kind None", "('a', 'b')"),
        ("x --deep", "Unrecognized"),
        ("x --go-dee", "--go-deep"),
        ("x --no-go-deep", "Unrecognized"),
        ("x y", "Unrecognized"),
        ("--share 3", "SOURCE"),
    ],
)
def test_what_is_wrong_is_refused(words: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer in refused(capsys, *words.split())


def test_a_value_is_checked_by_the_model() -> None:
    with pytest.raises(ConfigError, match=r"share.*got 'x'"):
        Model.parse(read("x", "--share", "x").settings, "it")


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        read("--share", "-h")
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert said.startswith("It works.\n\nword")
    assert said.endswith("example: kd-yolo it x\n")
    assert max(map(len, said.splitlines())) <= 100
    lines = {" ".join(line.strip("│ ").split()) for line in said.splitlines()}
    assert lines >= {
        "--share FLOAT How much, 20 % of it (default: all).",
        "--kind {a,b} Which. (default: b)",
        "--names TEXT ... Names that stay. (default: none)",
        "--go-deep Go deeper.",
        "--no-check Whether it is checked.",
        "--out PATH Where to. (default: here)",
        "kind= Which. (default: b)",
        "inner.depth= How deep. (default: 4)",
        "project= Folder.",
    }
    assert "None" not in said


def test_flags_know_their_field() -> None:
    found = {flag.name: (flag.part, flag.key, flag.default) for flag in list_flags(Command)}
    assert found["go_deep"] == ("settings", "deep", False)
    assert found["no_check"] == ("settings", "check", None)
    assert found["out"] == ("", "out", Path("here"))
