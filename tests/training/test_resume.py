"""``--resume``: beside the file that was named, on data that the user vouches for, with settings that stay."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.cli.app import main
from kd_yolo.training.checkpoint import STATE
from kd_yolo.training.end import EndMixin
from kd_yolo.training.resume import CHANGEABLE, check_changes, run_folder
from kd_yolo.training.run import Progress, progress_of
from kd_yolo.yolo.files.loading import load_checkpoint_dict
from kd_yolo.yolo.files.pruned_file import save_pruned
from tests.conftest import write_tiny_data
from tests.e2e.test_kills import small
from tests.training.networks import Killed, kill_at, saved_weights

QUICK = ["imgsz=64", "batch=4", "device=cpu", "plots=False", "optimizer=SGD", "warmup_epochs=0", "epochs=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student, a teacher, data, and the command that interrupts a run after its first epoch."""
    folder = tmp_path_factory.mktemp("resume")
    for name, width in (("student", 16), ("teacher", 24)):
        save_pruned(folder / f"{name}.pt", small(width, 0), {"train_args": {"imgsz": 64}}, {})
    write_tiny_data(folder / "set", images=4)
    return folder


@pytest.fixture(scope="module")
def cut(place: Path) -> dict[str, Path]:
    """Interrupted runs by command, each after its first epoch of two."""
    commands = {
        "distill": ["--student", "student.pt", "--teacher", "teacher.pt", "--loss", "cwd"],
        "retrain": ["--model", "student.pt"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        callback = kill_at(epoch=1, batch=0)["on_train_batch_end"]
        run = EndMixin.run_callbacks

        def killed(self: Any, event: str) -> None:
            if event == "on_train_batch_end":
                callback(self)
            run(self, event)

        patch.setattr(EndMixin, "run_callbacks", killed)
        for command, words in commands.items():
            with pytest.raises(Killed):
                main([command, *words, "data=set/data.yaml", "--name", "run", *QUICK])
    return {command: place / "runs" / command / "run" for command in commands}


@pytest.fixture(scope="module")
def finished(cut: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs again, each gone on with in a place where there is nothing else; their ``last.pt``."""
    done = {}
    for command, folder in cut.items():
        here = tmp_path_factory.mktemp(command)
        shutil.copytree(folder, here / "moved")
        done[command] = here / "moved" / "weights" / "last.pt"
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            before = content(folder)
            assert main([command, "--resume", str(done[command]), "workers=0"]) == 0
            assert content(folder) == before
    return done


@pytest.fixture
def run(cut: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Copies an interrupted run to another place, where there is nothing else; returns its ``last.pt``."""
    monkeypatch.chdir(tmp_path)

    def copy(command: str) -> Path:
        shutil.copytree(cut[command], tmp_path / "moved")
        return tmp_path / "moved" / "weights" / "last.pt"

    return copy


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def change(last: Path, **values: Any) -> None:
    """Writes other training arguments into a checkpoint."""
    ckpt = torch.load(last, weights_only=False)
    ckpt["train_args"].update(values)
    torch.save(ckpt, last)


@pytest.mark.parametrize("command", ["distill", "retrain"])
def test_a_moved_run_goes_on_where_it_is(command: str, finished: dict[str, Path]) -> None:
    last = finished[command]
    assert progress_of(last) is Progress.FINISHED
    assert len((last.parents[1] / "results.csv").read_text().splitlines()) == 3
    assert [path.name for path in last.parents[2].iterdir()] == ["moved"]


@pytest.mark.parametrize("command", ["distill", "retrain"])
def test_data_that_is_gone_is_named_and_data_that_is_given_is_used(
    command: str, place: Path, run: Any, capsys: Any
) -> None:
    last = run(command)
    own = last.parents[1] / "data.yaml"
    own.write_text(own.read_text().replace(str(place / "set"), str(place / "gone")))
    before = content(last.parents[1])
    assert main([command, "--resume", str(last)]) == 3
    assert "add data=path/to/data.yaml" in capsys.readouterr().err
    assert content(last.parents[1]) == before
    assert main([command, "--resume", str(last), f"data={place / 'set' / 'data.yaml'}"]) == 0
    assert yaml.safe_load(own.read_text())["path"] == str(place / "set")
    assert progress_of(last) is Progress.FINISHED


@pytest.mark.parametrize("names", ["[c0, c1, c2]", "[c1, c0]", "[c0, other]", "[c0]"])
@pytest.mark.parametrize("command", ["distill", "retrain"])
def test_other_classes_are_refused(command: str, names: str, run: Any, tmp_path: Path, capsys: Any) -> None:
    last = run(command)
    data = write_tiny_data(tmp_path / "other", classes=1, images=2)
    data.write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    before = content(last.parents[1])
    assert main([command, "--resume", str(last), f"data={data}"]) == 3
    assert "needs the same classes in the same order" in capsys.readouterr().err
    assert content(last.parents[1]) == before


@pytest.mark.parametrize("command", ["distill", pytest.param("retrain", marks=pytest.mark.slow)])
def test_what_a_strangers_checkpoint_says_of_places_does_not_count(
    command: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is its data set fetched and its ``download:`` run, nor is anything written where it says."""
    last, canary = run(command), tmp_path / "canary"
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"path: nowhere\ntrain: a\nval: b\nnames: [c0, c1]\ndownload: open({str(canary)!r}, 'w')\n")
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    elsewhere = tmp_path / "elsewhere"
    places = (str(evil), "https://example.com/set.zip", "coco8.yaml", str(tmp_path / "evil.YAML"))
    for data in places if command == "retrain" else places[:1]:  # all commands resume through one door
        change(
            last, data=data, save_dir=str(elsewhere), project=str(elsewhere), name="x", model=str(elsewhere / "m.pt"),
            pretrained="https://example.com/m.pt", source="https://example.com", cfg=str(evil), exist_ok=False,
        )  # fmt: skip
        trial = shutil.copytree(last.parents[1], tmp_path / "trial")
        assert main([command, "--resume", str(trial / "weights" / "last.pt")]) == 0
        assert yaml.safe_load((trial / "data.yaml").read_text()).get("download") is None
        assert "nowhere" not in (trial / "args.yaml").read_text()
        shutil.rmtree(trial)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.yaml", "moved"]


@pytest.mark.parametrize("command", ["distill", "retrain"])
def test_a_finished_run_is_told_apart(command: str, finished: dict[str, Path], capsys: Any) -> None:
    last = finished[command]
    before = content(last.parents[1])
    assert main([command, "--resume", str(last)]) == 3
    printed = capsys.readouterr().err
    assert "is finished, there is nothing to resume: it is a plain model" in printed
    assert f"{last.with_name('best.pt')}" in printed
    assert content(last.parents[1]) == before


@pytest.mark.parametrize("command", ["distill", pytest.param("retrain", marks=pytest.mark.slow)])
def test_a_run_that_was_cut_off_behind_its_last_epoch(command: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    last = run(command)

    def stop(self: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(EndMixin, "final_eval", stop)
        with pytest.raises(Killed):
            main([command, "--resume", str(last)])
    assert progress_of(last) is Progress.TRAINED
    assert load_checkpoint_dict(last)[STATE]["ended"] is True
    weights = saved_weights(last)
    assert main([command, "--resume", str(last)]) == 0
    for name in ("best.pt", "last.pt"):
        ckpt = load_checkpoint_dict(last.with_name(name))
        assert ckpt["optimizer"] is None
        assert "kd" not in ckpt["train_args"]
    assert all(torch.equal(value.half(), saved_weights(last)[key].half()) for key, value in weights.items())
    assert len((last.parents[1] / "results.csv").read_text().splitlines()) == 3
    assert (last.parents[1] / "side_by_side.png").is_file() is (command == "distill")


def test_images_that_are_missing_at_the_very_end(finished: dict[str, Path]) -> None:
    last = finished["distill"]
    (last.parents[1] / "side_by_side.png").unlink()
    assert main(["distill", "--resume", str(last)]) == 0
    assert (last.parents[1] / "side_by_side.png").is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [(["epochs=9"], "epochs"), (["lr0=0.1", "seed=3"], "lr0, seed"), (["project=x", "name=y"], "name, project")],
)
@pytest.mark.parametrize("command", ["distill", "retrain", "sparse"])
def test_what_cannot_change_is_refused_by_name(command: str, words: list[str], named: str, capsys: Any) -> None:
    assert main([command, "--resume", "last.pt", *words]) == 2
    assert f"a resumed run keeps its {named}: leave" in capsys.readouterr().err


def test_what_may_change() -> None:
    check_changes(CHANGEABLE)
    for key in ("save_dir", "distill_model", "model", "resume", "pretrained"):
        with pytest.raises(ConfigError, match=f"keeps its {key}"):
            check_changes(["data", key])


def test_the_folder_is_that_of_the_file_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "weights").mkdir(parents=True)
    assert run_folder(tmp_path / "run" / "weights" / "last.pt") == tmp_path / "run"
    monkeypatch.chdir(tmp_path / "run" / "weights")
    assert run_folder("last.pt") == tmp_path / "run"
    assert run_folder("../../run/weights/last.pt") == tmp_path / "run"
    for path in ("/last.pt", "/tmp/last.pt", str(tmp_path / "run" / "last.pt")):
        with pytest.raises(InputError, match="does not lie in the folder weights/"):
            run_folder(path)
