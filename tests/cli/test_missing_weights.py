"""What each command says of weights that are not there: nothing of another command's flags."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.app import main

# The command, with {data} and {weights}, and the flags that its message may name.
COMMANDS: dict[str, set[str]] = {
    "distill --teacher yolov8x.pt --student {weights} data={data}": {"--teacher"},
    "distill --teacher {weights} --student yolov8x.pt data={data}": {"--student"},
    "distill --teacher {weights} --student yolov8x.pt data={data} --dry-run": {"--student"},
    "prune --model yolov8x.pt": set(),
    "prune --model yolov8x.pt --dry-run": set(),
    "prune --model yolov8x.pt --sensitivity data={data}": set(),
    "sparse --model yolov8x.pt data={data}": set(),
    "retrain --model yolov8x.pt data={data}": set(),
    "compare yolov8x.pt": set(),
    "compare {weights} yolov8x.pt data={data}": set(),
    "league --losses cwd --teacher yolov8x.pt data={data}": {"--teacher"},
    "crops {image} --weights yolov8x.pt": {"--weights"},
    "search track {image} --weights yolov8x.pt": {"--weights"},
}


@pytest.mark.parametrize("line", COMMANDS)
def test_advice_is_that_of_the_command(
    line: str, tmp_path: Path, tiny_data: Path, make_weights: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    image = tiny_data.parent / "images" / "val" / "0.png"
    words = shlex.split(line.format(data=tiny_data, weights=make_weights("tiny8"), image=image))
    assert main(words) == 3
    said = capsys.readouterr()
    assert "yolov8x.pt is not here" in said.err
    assert set(re.findall(r"--[a-z][a-z-]*", said.err)) <= COMMANDS[line]
    assert "results:" not in said.out
    assert "next:" not in said.out
