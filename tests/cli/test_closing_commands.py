"""The last lines of the commands name files that are there, whatever was switched off."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kd_yolo.cli.app import main
from kd_yolo.distill import job
from kd_yolo.prune import sensitivity

YAML = """
nc: 2
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3], 1, Detect, [nc]]
"""
SMALL = ["imgsz=64", "batch=4", "device=cpu"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a space in its name."""
    (tmp_path / "my work").mkdir()
    monkeypatch.chdir(tmp_path / "my work")
    return tmp_path / "my work"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, make_weights: Any) -> str:
    file = tmp_path_factory.mktemp("net") / "three.yaml"
    file.write_text(YAML)
    return str(make_weights(str(file)))


def check_closing(said: str) -> list[str]:
    """Asserts that everything named in the last lines is there; returns the lines."""
    lines = [line for line in said.splitlines() if re.match(r"(results|network|student|next):", line)]
    for line in lines:
        label, _, rest = line.partition(":")
        if label == "results":
            found = re.fullmatch(r" (.*?)(?: \((.*)\))?", rest)
            assert found is not None
            assert Path(found[1]).exists(), line
            assert [
                name for name in (found[2] or "").split(", ") if name and not (Path(found[1]) / name).exists()
            ] == []
        else:
            words = shlex.split(re.sub(r", a plain model: .*", "", rest))
            paths = [word.partition("=")[2] or word for word in words if "/" in word or word.endswith(".pt")]
            assert paths, line
            assert [path for path in paths if not Path(path).exists()] == [], line
    assert [line.partition(":")[0] for line in lines][-1:] == ["next"]
    return lines


def fake_run(folder: Path, *files: str) -> Path:
    """What a training leaves."""
    for name in ("weights/best.pt", "weights/last.pt", *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder / "weights" / "best.pt"


@pytest.mark.parametrize(
    "files", [("results.csv",), ("results.csv", "results.png"), ("results.csv", "results.jpg"), ()]
)
@pytest.mark.parametrize("command", ["retrain", "sparse"])
def test_trainings(
    command: str, files: tuple[str, ...], weights: str, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def train(_trainers: Any, _weights: str, folder: Path, *_: Any, **__: Any) -> Path:
        return fake_run(Path(folder), "weights/sparse.pt", *files)

    monkeypatch.setattr("kd_yolo.training.stage.train_stage", train)
    assert main([command, "--model", weights, f"data={tiny_data}", "--name", "a b", *SMALL]) == 0
    lines = check_closing(capsys.readouterr().out)
    there = [name for name in ("results.csv", "results.png") if name in files]
    assert lines[0] == f"results: runs/{command}/a b" + (f" ({', '.join(there)})" if there else "")
    assert lines[1].startswith(f"network: 'runs/{command}/a b/weights/")


@pytest.mark.parametrize("drawn", [True, False])
def test_distill(drawn: bool, weights: str, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def distil(plan: job.Plan) -> job.Result:
        folder = Path(plan.overrides["project"]) / plan.overrides["name"]
        best = fake_run(folder, "results.csv", "data.yaml")
        return job.Result(folder, best, {"metrics/mAP50-95(B)": 0.5}, None, "detect" if drawn else "segment", 64)

    def draw(folder: Path, *_: Any, **__: Any) -> None:
        (folder / "distillation.png").touch()

    monkeypatch.setattr(job, "distil", distil)
    monkeypatch.setattr("kd_yolo.distill.plots.draw_distillation", draw)
    monkeypatch.setattr("kd_yolo.report.side_by_side.side_by_side", lambda _m, _d, out, **_: out.touch())
    words = ["distill", "--teacher", weights, "--student", weights, "--name", "x", f"data={tiny_data}", *SMALL]
    assert main([*words, "plots=False"]) == 0
    lines = check_closing(capsys.readouterr().out)
    assert "results.png" not in lines[0]
    assert ("side_by_side.png" in lines[0]) is drawn
    assert lines[1].startswith("student: runs/distill/")


def test_prune_and_sensitivity(
    weights: str, tiny_data: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sensitivity, "validate", lambda *_, **__: {"metrics/mAP50-95(B)": 0.5})
    inside = here / "a net.pt"
    inside.write_bytes(Path(weights).read_bytes())
    words = ["prune", "--model", "a net.pt", f"data={tiny_data}", *SMALL, "--batches", "1"]
    assert main([*words, "--factor", "0.4", "--save-dir", "out/small one.pt"]) == 0
    lines = check_closing(capsys.readouterr().out)
    assert lines[1] == "network: 'out/small one.pt', a plain model: YOLO('out/small one.pt')"
    assert "kd-yolo retrain --model 'out/small one.pt' data=" in lines[2]
    assert main([*words, "--sensitivity", "--sensitivity-images", "2"]) == 0
    lines = check_closing(capsys.readouterr().out)
    assert "--model 'a net.pt' --plan 'runs/prune/a net-sensitivity/plan.yaml'" in lines[1]


def test_a_failed_pruning_leaves_no_folder(weights: str, here: Path) -> None:
    assert main(["prune", "--model", weights, "--factor", "0.01", "imgsz=64"]) == 2
    assert not list(here.iterdir())


def test_compare(weights: str, capsys: Any) -> None:
    assert main(["compare", weights, "imgsz=64", "--rounds", "1", "--name", "x y"]) == 0
    lines = check_closing(capsys.readouterr().out)
    assert lines[0] == "results: runs/compare/x y (compare.csv, compare.md, compare.json, compare.png)"


@pytest.mark.parametrize("table", [True, False])
def test_pipeline(table: bool, weights: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def run(_config: Any, folder: Path, **_: Any) -> Any:
        best = fake_run(Path(folder) / "distill")
        for name in ("channels.png", "timeline.png", *(["compare.csv", "compare.png"] if table else [])):
            (Path(folder) / name).touch()
        return SimpleNamespace(steps=[SimpleNamespace(path=best)], table=None, int8=None)

    monkeypatch.setattr("kd_yolo.pipeline.chain.run_chain", run)
    Path("mine.yaml").write_text(f"model: {weights}\n")
    assert main(["pipeline", "mine.yaml"]) == 0
    lines = check_closing(capsys.readouterr().out)
    assert ("compare.csv" in lines[0]) is table
    assert "compare.md" not in lines[0]


def test_the_checker_sees_a_file_that_is_not_there() -> None:
    Path("run").mkdir()
    for said in ("results: run (results.png)\nnext:    yolo val model=run/", "next:    yolo val model=run/best.pt"):
        with pytest.raises(AssertionError):
            check_closing(said)


def test_one_hand_writes_them() -> None:
    folder = Path(job.__file__).parents[1] / "cli"
    line = re.compile(r"print\(f?\"(\\n)?(results:|network:|next:   )")
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    assert [name for name, text in texts.items() if line.search(text) and name != "closing.py"] == []
