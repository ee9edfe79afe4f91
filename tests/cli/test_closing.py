"""The last lines: only what is there, as it can be typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from kd_yolo.cli.closing import print_network, print_next, print_results, shell_path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runs/a/best.pt", "runs/a/best.pt"),
        ("{here}/runs/a/best.pt", "runs/a/best.pt"),
        ("{here}/my runs/best.pt", "'my runs/best.pt'"),
        ("a'b.pt", "'a'\"'\"'b.pt'"),
        ("$HOME;x.pt", "'$HOME;x.pt'"),
        ("-x.pt", "./-x.pt"),
        ("{here}/--model", "./--model"),
        ("/elsewhere/best.pt", "/elsewhere/best.pt"),
        ("{here}-2/best.pt", "{here}-2/best.pt"),
    ],
)
def test_a_path_can_be_pasted(here: Path, path: str, expected: str) -> None:
    found = shell_path(path.format(here=here))
    assert found == expected.format(here=here)
    (word,) = shlex.split(found)
    assert Path(word).absolute() == Path(path.format(here=here)).absolute()


def test_a_path_through_a_link(here: Path) -> None:
    (here / "real").mkdir()
    (here.parent / f"{here.name}-link").symlink_to(here)
    assert shell_path(here.parent / f"{here.name}-link" / "real") == "real"


def test_only_what_is_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run" / "crops").mkdir(parents=True)
    (here / "run" / "results.csv").touch()
    names = ("results.csv", "results.png", "crops/", "vectors/")
    print_results(here / "run", names)
    print_results(here / "run", ("results.png",))
    print_results("run", (), note="12 crops")
    assert capsys.readouterr().out == (
        "\nresults: run (results.csv, crops/)\n\nresults: run\n\nresults: run (12 crops)\n"
    )


def test_network_and_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_network(here / "w" / "it's.pt")
    print_network("best.pt", label="student", plain=False)
    print_next(f"yolo val model={shell_path('my runs/best.pt')}")
    assert capsys.readouterr().out.splitlines() == [
        "network: 'w/it'\"'\"'s.pt', a plain model: YOLO(\"w/it's.pt\")",
        "student: best.pt",
        "next:    yolo val model='my runs/best.pt'",
    ]
