"""Every command that trains refuses a bad value at once: exit code 2 or 3, one message, nothing written or trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.cli.app import main
from tests.yolo.test_arguments import PAIRS

FOREIGN = "kd-yolo {} does not know these words:\n"  # a heading over what to write instead
TRAININGS = ("kd_yolo.training.stage.run_training", "kd_yolo.distill.job.run_training", "kd_yolo.league.run.launch")
HEADS = {
    "distill": ["--teacher", "t.pt"],
    "retrain": ["--model", "yolov8n.yaml"],
    "sparse": ["--model", "yolov8n.yaml"],
    "league": ["--losses", "cwd", "--teacher", "t.pt"],
    "pipeline": ["demo"],
}

NO_LAYER = ["--losses", "a=cwd:taps=40", "b=dfl_kl", "--teacher", "{weights}", "--student", "yolov8n.yaml"]


@pytest.fixture(autouse=True)
def _nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in TRAININGS:
        monkeypatch.setattr(name, lambda *_a, **_k: pytest.fail("it would have been trained"))
    yield
    assert not list((tmp_path / "here").iterdir()), "something was written"


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what stands on standard error."""
    try:
        code = main(words)
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    return code, capsys.readouterr().err


@pytest.mark.parametrize("command", HEADS)
def test_values_of_every_key(command: str, tiny_data: Path, capsys: Any) -> None:
    """Each pair through one whole command; yolo/test_arguments.py tries all at the check that they share."""
    assert len(PAIRS) > 150
    for pair in PAIRS[list(HEADS).index(command) :: len(HEADS)]:
        code, printed = run([command, *HEADS[command], f"data={tiny_data}", pair], capsys)
        assert code == 2, (pair, printed)
        assert printed.startswith("\nerror: "), pair
        assert len(printed.replace(FOREIGN.format(command), "").strip().splitlines()) == 1, (pair, printed)
        assert pair.partition("=")[0] in printed, (pair, printed)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["retrain", "--model", "yolov8n.yaml", "--device", "foo"], 2, "unknown device 'foo': expected cpu, cuda"),
        (["retrain", "--model", "yolov8n.yaml", "--seed=-1"], 2, "seed=-1"),
        (["retrain", "--model", "yolov8n.yaml", "--name", "a/b"], 2, "name='a/b'"),
        (["retrain", "--model", "yolov8n.yaml", "--name", "a", "name=b"], 2, "--name and name= say the same"),
        (["retrain", "--model", "yolov8n.yaml", "--device", "cpu", "device=cpu"], 2, "--device and device= say"),
        (["retrain", "--model", "yolov8n.yaml", "exist_ok=True"], 2, "every run has a folder of its own"),
        (["retrain", "--model", "yolov8n.yaml", "dis=3"], 2, "it weighs".removeprefix("it ")),
        (["retrain", "--model", "yolov8n.yaml", "model=a.pt"], 2, "'model=' is set by --model here"),
        (["retrain", "--model", "yolov8n.yaml", "classes=99"], 2, "classes=99: the data has no class 99"),
        (["retrain", "--model", "yolov8n.yaml", "split=test"], 2, "split=test: the data has train, val only"),
        (["retrain", "--model", "{weights}", "freeze=999"], 2, "freeze=999: the network has 7 layers"),
        (["retrain", "--model", "{weights}", "freeze=[a1]"], 2, "freeze"),
        (["retrain", "--model", "yolov8n.yaml", "kobj=2"], 2, "'kobj=' does nothing for a detect network"),
        (["retrain", "--model", "{weights}", "dropout=0.5"], 2, "'dropout=' does nothing for a detect network"),
        (["sparse", "--model", "yolov8n.yaml", "--sparsity", "0"], 2, "--sparsity is 0.0, expected a share"),
        (["sparse", "--model", "yolov8n.yaml", "--sparsity", "1"], 2, "--sparsity is 1.0"),
        (["sparse", "--model", "yolov8n.yaml", "--sparsity", "nan"], 2, "--sparsity is nan"),
        (["sparse", "--model", "{weights}", "classes=5"], 2, "the data has no class 5"),
        (["distill", "--resume", "last.pt", "lr0=0.1"], 2, "a resumed run keeps its lr0"),
        (["distill", "--resume", "last.pt", "--seed", "1"], 2, "a resumed run keeps its seed"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--seeds", "²"], 2, "--seeds is '²'"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--seeds", "4294967296"], 2, "none above 4294967295"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--seeds", "9" * 5000], 2, "--seeds is"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--teacher-epochs", "999999999"], 2, "--teacher-epochs"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--name", "../x"], 2, "--name is '../x'"),
        (["league", "--losses", "cwd", "--teacher", "t.pt", "--out", "{weights}"], 2, "which is a file"),
        (["league", "--losses", "a=cwd:taps=²", "--teacher", "t.pt"], 2, "expected 'head', 'cv2'"),
        (["league", "--losses", "a=cwd:weight=nan", "--teacher", "t.pt"], 2, "weight"),
        (["league", "--losses", "a=cwd+cwd", "--teacher", "t.pt"], 2, "named twice with the same settings"),
        (["league", "--losses", "a=cwd:wieght=2", "--teacher", "t.pt"], 2, "wieght"),
        (["league", "--losses", "cwd", "--teacher", "{weights}", "classes=7"], 2, "the data has no class 7"),
        (["league", *NO_LAYER], 2, "a: taps=[40]"),
        (["league", *NO_LAYER, "--dry-run"], 2, "a: taps=[40]"),
        (["pipeline", "demo", "--name", "a/b"], 2, "--name is 'a/b'"),
        (["pipeline", "demo", "project=x"], 2, "'project=': every stage has its place"),
        (["pipeline", "demo", "--gate", "max-map-drop=nan"], 2, "expected a difference of mAP from 0 to 1"),
        (["pipeline", "demo", "--gate", "max-map-drop=-1"], 2, "expected a difference of mAP"),
        (["pipeline", "x" * 300 + ".yaml"], 2, "no such file"),
        (["pipeline", "demo", "classes=9"], 2, "the data has no class 9"),
    ],
)  # fmt: skip
def test_flags_and_what_does_not_fit(
    words: list[str], code: int, message: str, tiny_data: Path, make_weights: Any, capsys: Any
) -> None:
    words = [word.format(weights=make_weights("tiny8")) for word in words]
    found, printed = run([*words, *([] if "--resume" in words else [f"data={tiny_data}", "imgsz=32"])], capsys)
    assert (found, message in printed) == (code, True), printed


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"train": {"imgsz": 0}}, "train: imgsz=0"),
        ({"train": {"quantize": 8}}, "train: 'quantize=': the stage qat trains for INT8"),
        ({"retrain": {"train": {"quantize": 8}}}, "retrain: 'quantize=': the stage qat trains for INT8"),
        ({"qat": {"train": {"quantize": 16}}}, "qat: 'quantize=': the stage qat trains for INT8"),
        ({"qat": {"loss": "cwdd"}}, "qat: loss=cwdd: 1 problem"),
        ({"train": {"folder": "x"}}, "train: 'folder' is not an ultralytics argument"),
        ({"train": {"model": "x.pt"}}, "train: 'model='"),
        ({"train": {"lr0": float("nan")}}, "train: lr0=nan"),
        ({"train": {"classes": 9}}, "the data has no class 9"),
        ({"retrain": {"epochs": 0}}, "retrain.epochs"),
        ({"retrain": {"train": {"epochs": 3}}}, "retrain: epochs stands in the stage and in its 'train'"),
        ({"retrain": {"train": {"workers": -1}}}, "retrain: workers=-1"),
        ({"sparse": {"sparsity": 0}}, "sparse.sparsity"),
        ({"sparse": {"sparsty": 0.5}}, "Did you mean 'sparsity'?"),
        ({"prune": {"factor": 2}}, "prune: "),
        ({"prune": {"fcator": 0.2}}, "Did you mean 'factor'?"),
        ({"prune": {"device": "foo"}}, "unknown device 'foo'"),
        ({"prune": {"imgsz": 10**9}}, "imgsz"),
        ({"distill": {"loss": "cwdd"}}, "distill: "),
        ({"distill": {"loss": "cwd", "tau": 0}}, "tau is 0"),
        ({"distill": {"loss": [{"loss": "mgd", "params": {"channels": 7}}]}}, "channels follow from the networks"),
        ({"distill": {"train": {"dis": 3}}}, "distill: 'dis=' weighs ultralytics' own distillation"),
        ({"compare": {"runtime": "tflite"}}, "compare.runtime"),
        ({"compare": {"rounds": 10**12}}, "compare.rounds"),
        ({"gate": {"max-map-drop": 5}}, "expected a difference of mAP"),
        ({"modle": "x"}, "unknown key 'modle'"),
    ],
)
def test_recipes_of_chains(part: dict[str, Any], message: str, tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"model": "yolov8n.yaml", "data": str(tiny_data), **part}))
    code, printed = run(["pipeline", str(recipe)], capsys)
    assert (code, message in printed) == (2, True), printed


def test_a_recipe_that_multiplies_is_refused_at_once(tmp_path: Path, capsys: Any) -> None:
    recipe = tmp_path / "bomb.yaml"
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    recipe.write_text("\n".join(["a0: &a0 [x]", *rows]))
    for words in (["pipeline", str(recipe)], ["distill", "--loss", str(recipe)], ["pipeline", "/dev/zero.yaml"]):
        assert run(words, capsys)[0] == 2


def test_prune_model_from_python(make_weights: Any, tiny_data: Path, tmp_path: Path) -> None:
    from kd_yolo import PruneModel

    weights = make_weights("tiny8")
    for bad in ({"imgsz": 0}, {"quantize": 8}, {"name": "x"}, {"device": "foo"}, {"epohcs": 3}):
        with pytest.raises(ConfigError, match=next(iter(bad)) if "device" not in bad else "unknown device 'foo'"):
            PruneModel(weights, folder=tmp_path / "chain", **bad)
    model = PruneModel(weights, folder=tmp_path / "chain", imgsz=32, device="cpu")
    data = str(tiny_data)
    calls = [
        (lambda: model.train(data, epochs=0), "epochs=0"),
        (lambda: model.train(data, classes=9), "the data has no class 9"),
        (lambda: model.sparse_train(data, sparsity=2.0), "sparsity"),
        (lambda: model.base_train(data, workers=-1), "workers=-1"),
        (lambda: model.distill(weights, "cwdd", data), "unknown loss 'cwdd'"),
        (lambda: model.distill(weights, "cwd", data, project="x"), "takes no project=: folder= of PruneModel"),
        (lambda: model.export("onnx", mosaic=1.0), "has no argument 'mosaic'"),
    ]
    for call, message in calls:
        with pytest.raises(ConfigError, match=message):
            call()
    assert not (tmp_path / "chain" / "state.json").exists()


def test_trainers_from_python(make_weights: Any, tiny_data: Path, tmp_path: Path) -> None:
    from kd_yolo import DistillationTrainer
    from kd_yolo.training.trainers import RetrainTrainer

    base = {"model": make_weights("tiny8"), "data": str(tiny_data), "project": str(tmp_path / "runs")}
    for trainer, own in ((DistillationTrainer, {"teacher": base["model"]}), (RetrainTrainer, {})):
        for bad in ({"imgsz": 0}, {"device": "foo"}, {"quantize": 16}, {"batch": 0}, {"tua": 3}, {"save_crop": True}):
            with pytest.raises((ConfigError, InputError), match=next(iter(bad))):
                trainer(overrides={**base, **own, **bad})
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "folder"),
    [
        ([], "runs/retrain/yolov8n"),
        (["--name", "mine"], "runs/retrain/mine"),
        (["name=mine", "project=other/place"], "other/place/mine"),
        (["project=other"], "other/yolov8n"),
    ],
)
def test_retrain_goes_where_project_and_name_say(
    more: list[str], folder: str, tiny_data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def stage(_trainers: Any, weights: str, place: Path, arguments: dict[str, Any], *, trust: bool) -> Path:
        seen.extend([weights, place, arguments, trust])
        return place / "weights" / "best.pt"

    monkeypatch.setattr("kd_yolo.training.stage.train_stage", stage)
    monkeypatch.setattr("kd_yolo.base.places.new_folder", lambda place: Path(place))
    code, printed = run(["retrain", "--model", "yolov8n.yaml", f"data={tiny_data}", "epochs=1e1", *more], capsys)
    assert code == 0, printed
    assert seen[1] == Path(folder)
    assert seen[2] == {"data": str(tiny_data), "epochs": 10}
