"""Shared fixtures: one thread, no network, no telemetry, no deadlines, a tiny data set that trains in a second.

The process that only hands tests to others reads this file too: torch is imported where it is used.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", OMP_NUM_THREADS="1")
# the user's are neither read nor changed
os.environ.update(YOLO_CONFIG_DIR=(ULTRALYTICS_SETTINGS := tempfile.mkdtemp(prefix="kd-yolo-settings-")))

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kd_yolo.builtin.street_set import StreetReport, make_street

settings.register_profile(  # a busy machine fails no test; what fails in CI fails everywhere
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI", "").lower() in ("1", "true"),
    print_blob=True,
)
settings.load_profile("suite")
gc.disable()  # little of what is imported and collected becomes garbage


def pytest_collection_finish() -> None:
    gc.enable()


def pytest_unconfigure() -> None:
    shutil.rmtree(ULTRALYTICS_SETTINGS, ignore_errors=True)


# Where ultralytics writes under pytest when nobody names a project: among the installed packages.
ULTRALYTICS = importlib.util.find_spec("ultralytics")
LITTER = Path(str(ULTRALYTICS and ULTRALYTICS.origin)).parents[1] / "tests" / "tmp" / "runs"
LITTER /= os.environ.get("PYTEST_XDIST_WORKER", "")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _integrations_are_off() -> None:
    """Ray, which each process that trains would import, and other loggers that a run would report to."""
    if "ultralytics" in sys.modules:
        from ultralytics.utils import SETTINGS

        SETTINGS.update(dict.fromkeys((key for key, value in SETTINGS.items() if value is True), False))


@pytest.fixture(autouse=True, scope="module")
def _old_objects_are_not_searched_again() -> None:
    """Ultralytics collects garbage in every epoch: half a second each time for what torch and it define alone."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_written_beside_ultralytics() -> Iterator[None]:
    before = set(LITTER.rglob("*"))  # for each of 7,000 tests it would be half of what they cost beside their own work
    yield
    assert set(LITTER.rglob("*")) == before, "a run without project= (an absolute path): give it one under tmp_path"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and official weights, which are not part of the repository."""
    if not (SHARED / "weights" / "yolov8n.pt").is_file():
        pytest.skip("real images and weights are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def smoke_set(tmp_path_factory: pytest.TempPathFactory) -> StreetReport:
    """The smoke preset, drawn once; tests must not write to it."""
    return make_street(tmp_path_factory.mktemp("street") / "smoke", "smoke")


def write_tiny_data(folder: Path, *, classes: int = 2, images: int = 8, size_px: int = 64) -> Path:
    """Bright rectangles on noise, one class a colour channel; returns the data YAML."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for i in range(images):
            image = rng.integers(0, 80, (size_px, size_px, 3), dtype=np.uint8)
            rows = []
            for _ in range(2):
                cls = int(rng.integers(classes))
                w, h = rng.integers(size_px // 5, size_px // 2, 2)
                x, y = int(rng.integers(size_px - w)), int(rng.integers(size_px - h))
                image[y : y + h, x : x + w, cls % 3] = 220
                rows.append(
                    f"{cls} {(x + w / 2) / size_px:.5f} {(y + h / 2) / size_px:.5f} {w / size_px:.5f} {h / size_px:.5f}"
                )
            cv2.imwrite(str(folder / "images" / split / f"{i}.png"), image)
            (folder / "labels" / split / f"{i}.txt").write_text("\n".join(rows) + "\n")
    names = "\n".join(f"  {i}: c{i}" for i in range(classes))
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}\n")
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight 64 px training images of two classes, and as many for validation."""
    return write_tiny_data(tmp_path_factory.mktemp("tiny"))


TINY_NETWORK = """backbone:
  - [-1, 1, Conv, [{width}, 3, 2]]
  - [-1, 1, Conv, [{width}, 3, 2]]
  - [-1, 1, C2f, [{width}, True]]
  - [-1, 1, Conv, [{width}, 3, 2]]
  - [-1, 1, Conv, [{twice}, 3, 2]]
  - [-1, 1, Conv, [{twice}, 3, 2]]
head:
  - [[3, 4, 5], 1, {head}, [{arguments}]]
"""
HEAD_ARGUMENTS = {"Segment": "nc, 8, 16", "Pose": "nc, kpt_shape", "OBB": "nc, 1"}
HEAD_ARGUMENTS["RTDETRDecoder"] = "nc, 32, 40, 2, 4, 2, 64"  # width, queries, sampling points, heads, layers, width
END_TO_END = "end2end: True\nreg_max: 1\n"  # as in YOLO26, whose heads end in 26; that of detection does so here only


@pytest.fixture(scope="session")
def tiny_yaml(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes the YAML of a detector of three levels and a third of the layers of YOLOv8n."""
    folder = tmp_path_factory.mktemp("networks")

    def write(width: int = 8, classes: int = 2, head: str = "Detect") -> str:
        path = folder / f"tiny{width}-{classes}-{head}.yaml"
        form, is_new = head.removesuffix("26"), head.endswith("26")
        layers = TINY_NETWORK.format(
            width=width, twice=2 * width, head=form if form == "Detect" else head,
            arguments=HEAD_ARGUMENTS.get(form, "nc"),
        )  # fmt: skip
        path.write_text(f"nc: {classes}\n{'kpt_shape: [2, 3]' * (form == 'Pose')}\n{END_TO_END * is_new}{layers}")
        return str(path)

    return write


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory, tiny_yaml: Callable[..., str]) -> Callable[..., str]:
    """Writes weights of an untrained model, once for each YAML and class count; ``tiny8`` is a tiny one."""
    folder = tmp_path_factory.mktemp("weights")

    def make(yaml: str, classes: int = 2, seed: int = 0) -> str:
        path = folder / f"{Path(yaml).stem}-{classes}-{seed}.pt"
        if not path.is_file():
            if yaml in ("tiny8", "tiny16", "tiny32"):
                yaml = tiny_yaml(int(yaml.removeprefix("tiny")), classes)
            import torch

            from kd_yolo.training.stage import open_network, task_of

            torch.manual_seed(seed)
            model = open_network(yaml, task_of(yaml))
            model.model = type(model.model)(yaml, nc=classes, verbose=False)  # of the head's task
            model.save(str(path))
        return str(path)

    return make


@pytest.fixture
def install_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Puts a package where Python finds it, with its entry points, as pip does; it is gone after the test."""
    before = set(sys.modules)

    def install(name: str, files: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]) -> Path:
        site = tmp_path / f"site-of-{name}"
        facts = site / f"{name}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line for group, entries in groups.items() for line in (f"[{group}]", *map(" = ".join, entries.items()))
        ]
        (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        monkeypatch.syspath_prepend(site)
        _forget_families()  # a fixture or the test itself may have asked for them before
        return site

    yield install
    _forget_families()
    for module in set(sys.modules) - before:
        if "site-of-" in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def _forget_families() -> None:
    """Those of installed packages are looked up once."""
    if "kd_yolo.yolo.families" in sys.modules:
        sys.modules["kd_yolo.yolo.families"].installed.cache_clear()
