"""A wheel does what the checkout does: it holds every file that the package reads, and finds its recipes anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("dist"))


def build_wheel(source: Path, target: Path) -> Path:
    from hatchling.builders.wheel import WheelBuilder

    return Path(next(WheelBuilder(str(source)).build(directory=str(target), versions=["standard"])))


def names_in(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    held = {name for name in names_in(wheel) if ".dist-info/" not in name}
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "kd_yolo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    recipes = {f"kd_yolo/{path.relative_to(ROOT)}" for path in (ROOT / "cfg").rglob("*.yaml")}
    assert held == package | recipes
    assert {"kd_yolo/py.typed", "kd_yolo/search/page/page.css", "kd_yolo/cfg/distill/all_round.yaml"} <= held


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = message_from_string(archive.read(f"{folder}/METADATA").decode())
        assert "kd-yolo = kd_yolo.cli.app:entry" in archive.read(f"{folder}/entry_points.txt").decode()
        assert f"{folder}/licenses/LICENSE" in archive.namelist()
    assert metadata["License-Expression"] == "AGPL-3.0-or-later"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_source_distribution_holds_what_the_wheel_is_built_from(wheel: Path) -> None:
    from hatchling.builders.sdist import SdistBuilder

    held = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    built = {name.replace("kd_yolo/cfg/", "cfg/") for name in names_in(wheel) if ".dist-info/" not in name}
    assert built | {"pyproject.toml", "README.md", "LICENSE", "Makefile", "prune.py", "train_distill.py"} <= held
    assert "tests/install/test_wheel.py" in held


SCRIPT = """
import sys
from pathlib import Path

installed, checkout = map(Path, sys.argv[1:3])
sys.path[:] = [str(installed), *(path for path in sys.path if Path(path or ".").resolve() != checkout)]
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]

import shlex
import kd_yolo
from kd_yolo.base.places import is_checkout, project_folder
from kd_yolo.cli.app import main
from kd_yolo.config.base import RECIPES

assert Path(kd_yolo.__file__).is_relative_to(installed)
assert RECIPES.is_relative_to(installed)
assert not is_checkout()
assert project_folder("datasets") == Path("datasets").resolve()
for line in sys.argv[3:]:
    print(f"<{line}>", flush=True)
    try:
        code = main(shlex.split(line))
    except SystemExit as stop:
        code = stop.code or 0
    assert code == 0, f"{line}: exit {code}"
assert main(["pipeline", "demo", "--gate", "max-map-drop=2"]) == 2  # its recipe is read, its limit refused
files = [str(getattr(module, "__file__", "")) for module in list(sys.modules.values())]
assert not [file for file in files if file.startswith(f"{checkout}/")]
"""


@pytest.mark.slow
def test_it_works_where_there_is_no_checkout(
    wheel: Path, tmp_path: Path, tiny_data: Path, make_weights: Callable[..., str], tiny_yaml: Callable[..., str]
) -> None:
    """What needs a recipe, the page's style or a process of its own, in an empty folder."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    here = tmp_path / "here"
    here.mkdir()
    weights, student = make_weights(tiny_yaml(8)), tiny_yaml(8)
    run = f"data={tiny_data} imgsz=64 batch=4 workers=0 plots=False device=cpu"
    lines = [
        "--help",
        "doctor",
        f"distill --teacher {weights} --student {student} --loss all_round --dry-run epochs=1 {run}",
        f"league --teacher {weights} --student {student} --losses all_round --seeds 0 --name l epochs=1 {run}",
        "data make reid --preset smoke --out crops",
        "reid train --recipe demo data=crops epochs=1 ids=4 device=cpu",
    ]
    done = start(["-c", SCRIPT, str(tmp_path / "installed"), str(ROOT), *lines], here)
    assert "dry run: nothing was written" in done.stdout
    assert f"{tmp_path}/installed/kd_yolo/cfg/prune/demo.yaml" in done.stderr
    assert {path.name for path in here.iterdir()} <= {"runs", "crops"}
    done = start(["-m", "kd_yolo", "--help"], here, PYTHONPATH=str(tmp_path / "installed"))
    assert "usage: kd-yolo" in done.stdout


def start(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder, without the checkout on the path."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done
