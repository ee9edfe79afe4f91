"""A stranger's text never runs: chains from a file that somebody was given to every command that takes it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kd_yolo.cli.app import main
from tests.trust.strangers import DOWNLOADS, checkpoint, data_yaml, model_yamls, opened_once, tiny_model, unfinished

DOCUMENTED = {0, 1, 2, 3, 4, 5}
QUICK = ["epochs=1", "imgsz=32", "batch=2", "workers=0", "device=cpu", "plots=False"]
SUFFIXES = ("data.yaml", "data.YAML", "data.yml", "data.Yml", "data.yaml.txt", "data")


class Watch:
    """What happened beside the command: connections, processes, the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary
        self.events: list[str] = []

    def assert_quiet(self) -> None:
        assert not self.canary.exists(), "a stranger's text ran"
        assert self.events == []


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch(tmp_path / "CANARY")

    def refuse(kind: str) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            found.events.append(f"{kind}: {str(args[1:3])[:200]}")
            raise OSError(f"no {kind} in this test")

        return called

    start = subprocess.Popen.__init__
    harmless = ("git", "lscpu", "uname", "ldconfig", "/sbin/ldconfig", "nvidia-smi")

    def popen(self: Any, args: Any, *rest: Any, **kwargs: Any) -> None:
        first = args.split()[0] if isinstance(args, str) else str(args[0])
        if Path(first).name not in harmless:
            found.events.append(f"process: {str(args)[:200]}")
        start(self, args, *rest, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", refuse("connection"))
    monkeypatch.setattr(socket, "create_connection", refuse("connection"))
    monkeypatch.setattr(subprocess.Popen, "__init__", popen)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Weights and a data set of the user's own, beside which the stranger's files are used."""
    from tests.conftest import write_tiny_data

    folder = tmp_path_factory.mktemp("good")
    data = write_tiny_data(folder / "set", images=2, size_px=32)
    other = data.with_name("three.yaml")
    other.write_text(data.read_text() + "  2: c2\n")
    weights = str(checkpoint(folder / "good.pt"))
    with opened_once(weights):
        yield {"weights": weights, "data": str(data), "three": str(other)}


def commands_with_data(good: dict[str, str], data: str) -> dict[str, list[str]]:
    weights = good["weights"]
    return {
        "retrain": ["retrain", "--model", weights, f"data={data}", *QUICK],
        "sparse": ["sparse", "--model", weights, f"data={data}", *QUICK],
        "distil": ["distill", "--teacher", weights, "--student", weights, "--loss", "cwd", f"data={data}", *QUICK],
        "dry run": ["distill", "--teacher", weights, "--student", weights, "--dry-run", f"data={data}", "imgsz=32"],
        "prune": ["prune", "--model", weights, f"data={data}", "imgsz=32"],
        "compare": ["compare", weights, f"data={data}", "imgsz=32"],
        "pipeline": ["pipeline", "demo", f"data={data}", *QUICK],
        "league": ["league", "--losses", "cwd", "--teacher", weights, "--student", weights, f"data={data}", *QUICK],
        "check": ["data", "check", data],
        "reid": ["reid", "train", "--recipe", "demo", f"data={data}"],
    }


def commands_with_model(good: dict[str, str], model: str) -> dict[str, list[str]]:
    # three classes in the data: the student is built again for them
    student = ["distill", "--teacher", good["weights"], "--student", model, "--loss", "cwd", f"data={good['three']}"]
    return {
        "distil": [*student, *QUICK],
        "dry run": [*student, "--dry-run", "imgsz=32"],
        "retrain": ["retrain", "--model", model, f"data={good['three']}", *QUICK],
        "sparse": ["sparse", "--model", model, f"data={good['three']}", *QUICK],
        "prune": ["prune", "--model", model, "imgsz=32"],
        "compare": ["compare", model, "imgsz=32"],
        "teacher": ["distill", "--teacher", model, "--student", good["weights"], "--dry-run", f"data={good['data']}"],
        "crops": ["crops", "none.jpg", "--weights", model],
    }


def check_refused(name: str, words: list[str], watch: Watch, capsys: Any) -> None:
    """Runs a command that must end with a documented code other than 0 and one message, and do nothing else."""
    code = main(words)
    err = capsys.readouterr().err
    watch.assert_quiet()
    assert code in DOCUMENTED - {0, 1}, f"{name}: exit {code}: {err[-400:]}"
    assert "error:" in err
    assert "not foreseen" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", DOWNLOADS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_data_yaml_never_downloads(kind: str, suffix: str, good: Any, watch: Watch, capsys: Any) -> None:
    file = data_yaml(Path.cwd(), DOWNLOADS[kind].format(canary=str(watch.canary)), suffix)
    every = suffix == SUFFIXES[0]  # all commands read data through one door; the others are for the door
    for name, words in commands_with_data(good, str(file)).items():
        if every or name in ("dry run", "check"):
            check_refused(f"{name} {suffix}", words, watch, capsys)


@pytest.mark.parametrize(
    "data",
    [
        "http://127.0.0.1:9/evil.yaml", "https://127.0.0.1:9/evil.zip", "ul://stranger/datasets/evil", "evil.zip",
        "evil.ndjson", "ftp://127.0.0.1:9/e.yaml", "/dev/zero", "a\0b.yaml", "x" * 400 + ".yaml",
    ],
)  # fmt: skip
def test_data_that_is_no_file_is_not_fetched(data: str, good: Any, watch: Watch, capsys: Any) -> None:
    for name in ("evil.zip", "evil.ndjson"):
        Path(name).write_bytes(b"PK\3\4" if name.endswith("zip") else b"{}\n")
    every = data.startswith(("https", "/dev"))  # the others are for the one door of all commands
    for name, words in commands_with_data(good, data).items():
        if every or name in ("dry run", "check", "reid"):
            check_refused(f"{name} {data[:40]}", words, watch, capsys)


@pytest.mark.parametrize("index", range(7))
def test_a_model_yaml_is_never_evaluated(index: int, good: Any, watch: Watch, capsys: Any) -> None:
    kind, body = list(model_yamls(str(watch.canary)))[index]
    Path("evil.yaml").write_text(yaml.safe_dump(body))
    for name, words in commands_with_model(good, "evil.yaml").items():
        check_refused(f"{name} {kind}", words, watch, capsys)


@pytest.mark.parametrize("index", range(7))
@pytest.mark.parametrize("how", ["dict", "str", "Path"])
def test_the_description_in_a_checkpoint_is_never_evaluated(
    index: int, how: str, good: Any, watch: Watch, capsys: Any
) -> None:
    kind, body = list(model_yamls(str(watch.canary)))[index]
    Path("evil.yaml").write_text(yaml.safe_dump(body))
    described: Any = {"dict": body, "str": "evil.yaml", "Path": Path("evil.yaml")}[how]
    file = checkpoint(Path("evil.pt"), yaml=described)
    every = how == "dict" and not index  # as ultralytics saves it; the others are for the one door of all commands
    for name, words in commands_with_model(good, str(file)).items():
        if every or name in ("dry run", "compare"):
            check_refused(f"{name} {kind} {how}", words, watch, capsys)


@pytest.mark.parametrize("command", ["distill", "retrain", "sparse"])
@pytest.mark.parametrize("key", ["data", "save_dir", "project", "model", "pretrained", "tracker", "cfg"])
def test_what_a_checkpoint_says_of_its_run_is_not_followed(
    command: str, key: str, good: Any, watch: Watch, capsys: Any
) -> None:
    evil = data_yaml(Path.cwd(), DOWNLOADS["python"].format(canary=str(watch.canary)), "evil.yaml")
    elsewhere = Path.cwd() / "elsewhere"
    (elsewhere / "weights").mkdir(parents=True)
    (elsewhere / "results.csv").write_text("precious\n")
    before = sorted(elsewhere.rglob("*"))
    value = str(elsewhere) if key in ("save_dir", "project") else str(evil)
    kinds = {"distill": {}, "retrain": {"kind": "retraining"}, "sparse": {"kind": "sparse training"}}
    config = {"teachers": [good["weights"]], "terms": [{"loss": "cwd"}]} if command == "distill" else {}
    given = {"data": str(evil), "kd": {"config": config, **kinds[command]}, key: value}
    last = unfinished(Path("run/weights/last.pt"), tiny_model(), given)
    code = main([command, "--resume", str(last)])
    err = capsys.readouterr().err
    watch.assert_quiet()
    assert code in {2, 3}, err[-400:]
    assert "not foreseen" not in err
    assert sorted(elsewhere.rglob("*")) == before
    assert (elsewhere / "results.csv").read_text() == "precious\n"


RECIPE = "teachers: [t.pt]\nterms: !!python/object/apply:pathlib.Path.touch [CANARY]\n"


@pytest.mark.parametrize(
    "words",
    [
        ["distill", "--loss", "evil.yaml", "--dry-run"], ["pipeline", "evil.yaml"], ["prune", "--plan", "evil.yaml"],
        ["reid", "train", "--recipe", "evil.yaml"], ["league", "--losses", "evil.yaml"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_recipe_makes_no_objects(words: list[str], good: Any, watch: Watch, capsys: Any) -> None:
    Path("evil.yaml").write_text(RECIPE)
    weights = good["weights"]
    more = {"distill": ["--teacher", weights, "--student", weights], "prune": ["--model", weights]}
    more["league"] = ["--teacher", weights, "--student", weights, f"data={good['data']}"]
    check_refused(words[0], [*words, *more.get(words[0], [])], watch, capsys)
