"""``kd-yolo reid``: from training to a tracker's settings, and what bad input gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import tests.reid.tiny_backbone  # noqa: F401, it registers itself
from kd_yolo.builtin.crops_set import make_crops
from kd_yolo.cli.reid.app import main
from kd_yolo.cli.reid.train import ABOUT, Train, _settings
from kd_yolo.cli.run import parse_flags

SMALL = [
    "backbone=tiny_resnet", "pretrained=none", "height=64", "width=32", "ids=3", "images=3", "device=cpu", "workers=0",
    "warmup=1", "holdout=0.25", "epochs=1", "lr=1e-3",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a set and a trained network."""
    folder = tmp_path_factory.mktemp("work")
    make_crops(folder / "crops", "smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "--kd", "--name", "net", "data=crops", *SMALL]) == 0
        yield folder


BEST = "runs/reid/net/weights/best.pt"


def test_test_writes_metrics_and_images(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--weights", BEST, "--name", "t", "--strips", "2", "data=crops", "rerank=true"]) == 0
    out = capsys.readouterr().out
    assert "| query | 4 | 12 | 3 |" in out.splitlines()
    assert "next:    kd-yolo reid export --weights" in out
    metrics = json.loads((place / "runs/reid/t/metrics.json").read_text())
    assert 0 < metrics["mAP"] <= 1
    assert metrics["queries"] == 12
    assert metrics["settings"]["rerank"]
    assert len(list((place / "runs/reid/t/strips").glob("*.png"))) == 2
    assert (place / "runs/reid/t/cmc.png").is_file()


def test_eval_only_equals_test(place: Path) -> None:
    assert main(["test", "--weights", BEST, "--name", "one", "data=crops"]) == 0
    assert main(["train", "--eval-only", "--start", BEST, "--name", "two", "data=crops", "train.device=cpu"]) == 0
    one, two = (json.loads((place / f"runs/reid/{name}/metrics.json").read_text()) for name in ("one", "two"))
    assert one == two


def test_rank_lists_and_draws(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = next((place / "crops" / "query").glob("*.jpg"))
    assert main(["rank", "--weights", BEST, "--query", str(image), "--out", "r.png", "data=crops"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "bounding_box_test" in line]
    distances = [float(line.split()[0]) for line in lines]
    assert len(lines) == 10
    assert distances == sorted(distances)
    assert (place / "r.png").is_file()


def test_export_writes_a_network_and_a_tracker(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--weights", BEST]) == 0
    assert "on noise (data= compares on crops): " in capsys.readouterr().out
    assert main(["export", "--weights", BEST, "data=crops"]) == 0
    assert "PyTorch's on 8 crops: " in capsys.readouterr().out
    tracker = yaml.safe_load((place / BEST).with_name("reid_botsort.yaml").read_text())
    assert tracker["tracker_type"] == "botsort"
    assert tracker["with_reid"]
    assert Path(tracker["model"]) == (place / BEST).with_suffix(".onnx")


def test_prune_and_train_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--weights", BEST, "--factor", "0.5"]) == 0
    assert "parameters 25,608 -> 11,144 (44%)" in capsys.readouterr().out
    start = str((place / BEST).with_name("pruned.pt"))
    assert main(["distill", "--teacher", BEST, "--start", start, "data=crops", *SMALL]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "| query | 4 | 12 | 3 |" in said
    assert said[-1] == "next:    kd-yolo reid test --weights runs/reid/pruned/weights/best.pt data=crops"
    assert "kd_logit" in (place / "runs/reid/pruned/results.csv").read_text()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train", "epoch=3"], 2, "Did you mean 'epochs'?"),
        (["train", "--recipe", "strong_baselin"], 2, "Did you mean 'strong_baseline'?"),
        (["train", "data=nothing"], 3, "no ReID folder"),
        (["train", "--eval-only", "data=crops"], 2, "add --start best.pt"),
        (["train", "--eval-only", "--start", BEST, "--kd", "--recipe", "sbs"], 2, "leave out --recipe, --kd"),
        (["train", "--resume", "runs/reid/net/weights/last.pt"], 3, "the run is finished"),
        (["train", "--resume", "last.pt", "epochs=3"], 2, "a resumed run keeps its epochs"),
        (["train", "data=crops", "ids=100", "holdout=0", "pretrained=none"], 2, "set train.ids=8 or lower"),
        (["distill", "data=crops"], 2, "--teacher is missing"),
        (["test", "--weights", "none.pt", "data=crops"], 3, "network 'none.pt' cannot be opened"),
        (["test", "--weights", BEST, "data=crops", "lr=3"], 2, "means nothing here"),
        (["test", "--weights", BEST, "data=crops", "feature=local"], 2, "needs the local branch"),
        (["rank", "--weights", BEST, "--query", "none.jpg", "data=crops"], 3, "query 'none.jpg' cannot be opened"),
        (["export", "--weights", BEST, "--format", "onxx"], 2, "Did you mean 'onnx'?"),
        (["export", "--weights", BEST, "data=nothing"], 3, "no ReID folder"),
        (["export", "--weights", BEST, "lr=3"], 2, "lr: not taken here"),
        (["prune", "--weights", BEST, "--factor", "2"], 2, "expected a share between 0 and 1"),
    ],
)
def test_bad_input(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    assert main(words) == code
    assert message in capsys.readouterr().err


def test_a_coefficient_of_zero_is_not_dropped() -> None:
    words = ["--kd", "--feature-loss-coefficient", "0"]
    flags = parse_flags(Train, words, prog="kd-yolo reid train", description=ABOUT)
    assert _settings(flags, ["data=crops"]).self_kd.feature_weight == 0


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main([]), main(["--help"]), main(["trian"])) == (2, 0, 2)
    assert "train|distill|test|rank|export|prune" in capsys.readouterr().out
