"""The dry run refuses what the run refuses: the same exit code, the same message, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_yolo.cli.distill import main
from kd_yolo.distill import job
from tests.conftest import write_tiny_data
from tests.trust.strangers import opened_once


class Places:
    """Weights and data that the requests name."""

    def __init__(self, folder: Path, make_weights: Any, tiny_yaml: Any) -> None:
        self.data = str(write_tiny_data(folder / "data", images=4))
        self.other = str(write_tiny_data(folder / "other", images=4))
        Path(self.other).write_text(Path(self.other).read_text().replace("c0", "cat").replace("c1", "dog"))
        self.one = str(write_tiny_data(folder / "one", classes=1, images=4))
        self.grey = str(write_tiny_data(folder / "grey", images=4))
        Path(self.grey).write_text(Path(self.grey).read_text() + "channels: 1\n")
        self.student = tiny_yaml(8)
        self.teacher = named(make_weights(tiny_yaml(16), seed=1), folder / "teacher.pt", {0: "c0", 1: "c1"})
        self.five = make_weights(tiny_yaml(16), classes=5)
        self.single = make_weights(tiny_yaml(16), classes=1)
        self.end2end = make_weights("yolo26n.yaml")
        self.classifier = make_weights("yolov8n-cls.yaml")
        self.damaged = str(folder / "damaged.pt")
        Path(self.damaged).write_bytes(Path(self.teacher).read_bytes()[:5000])
        self.text = str(folder / "text.pt")
        Path(self.text).write_text("no weights")
        self.recipe = str(folder / "recipe.yaml")
        Path(self.recipe).write_text("terms:\n  - loss: cwd\n    wieght: 2\n")
        self.channels = str(folder / "channels.yaml")
        Path(self.channels).write_text("terms:\n  - loss: mgd\n    params: {channels: 7}\n")
        self.bins = str(folder / "bins.yaml")
        Path(self.bins).write_text("terms:\n  - loss: dfl_kl\n    params: {bins: 7}\n")
        self.empty = str(folder / "empty")
        Path(self.empty).mkdir()


def named(weights: str, target: Path, names: dict[int, str]) -> str:
    import torch

    checkpoint = torch.load(weights, weights_only=False)
    checkpoint["model"].names = names
    torch.save(checkpoint, target)
    return str(target)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, make_weights: Any, tiny_yaml: Any) -> Iterator[Places]:
    places = Places(tmp_path_factory.mktemp("places"), make_weights, tiny_yaml)
    with opened_once(places.teacher):
        yield places


@pytest.fixture(autouse=True)
def _nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A request that gets through to the training is a failure: it should have been refused before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "distil", lambda _: pytest.fail("it would have been trained"))
    yield
    assert not list(tmp_path.iterdir()), "something was written"


BASE = ["--teacher", "{teacher}", "--student", "{student}", "data={data}"]
BAD = [
    # -- flags
    (["--loss", "cwdd"], 2, "unknown loss 'cwdd'. Did you mean 'cwd'?"),
    (["--loss", "cwd+cwd"], 2, "the loss cwd is named twice with the same settings"),
    (["--loss", ""], 2, "unknown loss ''"),
    (["--loss", "cwd+"], 2, "unknown loss ''"),
    (["--weight", "nan"], 2, "weight"),
    (["--weight", "inf"], 2, "weight"),
    (["--weight=-1"], 2, "weight"),
    (["--loss", "bkd", "--weight", "1+2"], 2, "2 values for 1"),
    (["--weight", "auto:2"], 2, "share"),
    (["--weight", "auto:nan"], 2, "share"),
    (["--tau", "0"], 2, "tau is 0.0, expected a number > 0"),
    (["--tau", "nan"], 2, "tau is nan"),
    (["--loss", "l2", "--tau", "2"], 2, "none of l2 has a temperature"),
    (["--loss", "cwd", "--gate", "all"], 2, "only response losses have a gate"),
    (["--gate", "most"], 2, "gate"),
    (["--loss", "bkd", "--taps", "head"], 2, "only feature losses have taps"),
    (["--loss", "cwd", "--taps", "15,,18"], 2, "taps='15,,18', expected"),
    (["--loss", "cwd", "--taps", "15,15"], 2, "names a layer twice"),
    (["--loss", "cwd", "--taps", "²"], 2, "expected 'head', 'cv2'"),
    (["--loss", "cwd", "--taps", "40"], 2, "the student has no layer 40 before its head"),
    (["--loss", "cwd", "--taps", "999999"], 2, "has no layer 999999"),
    (["--schedule", "sine"], 2, "schedule"),
    (["--stop-at", "0"], 2, "stop_at='0', expected a share"),
    (["--stop-at", "1.5"], 2, "stop_at='1.5', expected a share"),
    (["--stop-at", "²"], 2, "expected a share"),
    (["--stop-at", "mosaic", "epochs=2"], 2, "which is at once: close_mosaic=10 of 2 epochs"),
    (["--unlabelled-ratio", "2"], 2, "does nothing without --unlabelled"),
    (["--unlabelled", "{empty}"], 3, "no images there"),
    (["--unlabelled", "nowhere/*.jpg"], 3, "no such file"),
    (["--unlabelled", "{empty}", "--unlabelled-ratio", "0"], 2, "unlabelled_ratio"),
    (["--unlabelled", "{data}/../images/val", "rect=True"], 2, "rect=True"),
    (["--unlabelled", "{empty}", "--loss", "fgd"], 2, "looks at labels, which unlabelled"),
    (["--teacher-cache", "2", "--loss", "cwd"], 2, "compares features, which need the live teacher"),
    (["--teacher-cache", "2", "--loss", "bkd", "rect=True"], 2, "rect=True gives an image other shapes"),
    (["--teacher-cache", "0", "--loss", "bkd"], 2, "teacher_cache"),
    (["--teacher-cache-gb", "5", "--loss", "bkd"], 2, "--teacher-cache-gb does nothing without --teacher-cache"),
    (["--teacher-every", "0", "--loss", "bkd"], 2, "teacher_every"),
    (["--loss", "{recipe}"], 2, "unknown key 'terms.0.wieght'. Did you mean 'weight'?"),
    (["--loss", "{channels}"], 2, "channels follow from the networks"),
    (["--loss", "{bins}"], 2, "bins follow from the networks"),
    (["--loss", "none.yaml"], 2, "none.yaml: no such file"),
    (["--device", "foo"], 2, "unknown device 'foo': expected cpu, cuda, cuda:1 or 0"),
    (["--device", "0"], 2, "torch finds no GPU here"),
    (["--seed=-1"], 2, "seed=-1"),
    (["--seed", "1", "seed=2"], 2, "--seed and seed= say the same"),
    (["--name", "a", "name=b"], 2, "--name and name= say the same"),
    (["--name", "../x"], 2, "name='../x': expected the name of a folder"),
    # -- arguments
    (["imgsz=0"], 2, "imgsz=0"),
    (["batch=-1"], 2, "measures the memory of one GPU"),
    (["quantize=16"], 2, "a training takes 8, for INT8"),
    (["classes=99"], 2, "classes=99: the data has no class 99, expected 0 to 1 (c0, c1)"),
    (["classes=0", "--loss", "kl"], 2, "kl over 1 class"),
    (["freeze=7", "--loss", "cwd"], 2, "freeze=7: the network has 7 layers"),
    (["freeze=[99]"], 2, "there is no layer 99"),
    (["split=test"], 2, "split=test: the data has train, val only"),
    (["mask_ratio=2"], 2, "'mask_ratio=' does nothing for a detect network"),
    (["compile=True", "--loss", "cwd", "--taps", "2,4"], 2, "compile=True works with taps=head only"),
    (["compile=True", "--loss", "crosskd"], 2, "compile=True works with taps=head only"),
    (["single_cls=True", "--loss", "bkd"], 2, "single_cls=True makes one class of all, the teacher has 2"),
    # -- networks and data
    (["--teacher", "none.pt"], 3, "none.pt"),
    (["--teacher", "{damaged}"], 3, "damaged.pt"),
    (["--teacher", "{text}"], 3, "text.pt"),
    (["--teacher", "{classifier}"], 3, "the teacher ends in Classify"),
    (["--teacher", "ema", "ema"], 2, "named twice"),
    (["--teacher", "{five}", "--loss", "bkd"], 2, "teacher has 5 classes, data has 2"),
    (["--teacher", "{end2end}", "--loss", "dfl_kl"], 2, "both need the same number above 1"),
    (["--student", "yolo26n.yaml", "--loss", "dfl_kl"], 2, "both need the same number above 1"),
    (["--student", "{damaged}"], 3, "damaged.pt"),
    (["--student", "yolov8n-cls.yaml"], 2, "a classify model cannot be distilled"),
    (["--student", "none.pt"], 3, "none.pt"),
    (["--student", "yolov99n.yaml"], 3, "yolov99n"),
    (["data=none.yaml"], 3, "none.yaml"),
    (["data={other}", "--loss", "bkd"], 2, "none in common"),
    (["data={one}", "--teacher", "{single}", "--loss", "kl"], 2, "kl over 1 class"),
    (["data={grey}"], 3, "3-channel"),
]  # fmt: skip


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what stands on standard error."""
    try:
        code = main(words)
    except SystemExit as stop:  # tyro ends the process itself
        code = int(stop.code or 0)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(("more", "code", "message"), BAD, ids=[" ".join(words)[:50] for words, _, _ in BAD])
def test_both_refuse_alike(more: list[str], code: int, message: str, places: Places, capsys: Any) -> None:
    words = [word.format_map(vars(places)) for word in [*BASE, *more]]
    found, printed = run(words, capsys)
    assert (found, message in printed) == (code, True), printed
    assert run([*words, "--dry-run"], capsys) == (found, printed)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--loss", "bkd"], []),
        (["--loss", "bkd", "classes=0"], ["classes=0: response losses leave out class 1"]),
        (["--loss", "bkd", "data={one}"], ["matched by name: c0->0 (1 of 1 are taught)"]),
        (["--loss", "cwd", "data={other}"], ["layer 3"]),
        (["--loss", "bkd", "quantize=8"], ["the student is trained for INT8 (quantize=8)"]),
        (["--loss", "cwd", "single_cls=True"], ["student: ", ", 1 classes"]),
        (["--loss", "bkd", "--teacher", "{single}", "single_cls=True"], ["class logits"]),
        (["--teacher", "ema", "--loss", "bkd", "classes=[1]"], ["leave out class 0"]),
    ],
)
def test_what_both_take(
    more: list[str], parts: list[str], places: Places, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word.format_map(vars(places)) for word in [*BASE, *more]]
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert all(part in printed for part in parts), printed
    plans = []
    monkeypatch.setattr(job, "distil", plans.append)
    monkeypatch.setattr("kd_yolo.cli.distill.finish", lambda *_, **__: None)
    assert main(words) == 0
    assert len(plans) == 1
    assert all(line in printed for line in plans[0].lines)
