"""The demo's trainings, from nothing but code: a teacher, one student alone and under it, the teacher pruned.

The teacher learns from all images. Whoever trains a student has the labels of a few of them, as with a teacher that
somebody else has trained, and the other images without labels: there more plain training does not replace the teacher.

All of it is :class:`~kd_yolo.pipeline.model.PruneModel` in one folder: what is finished is not done again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kd_yolo.base.files import write_text
from kd_yolo.builtin.shapes_set import make_shapes
from kd_yolo.config.base import read_yaml
from kd_yolo.pipeline.model import PruneModel
from kd_yolo.pipeline.step import Step
from kd_yolo.training.eta import after_each_epoch, duration
from kd_yolo.training.usage import Usage, noting_usage, read_usage
from kd_yolo.yolo.description.model_yaml import load_model_yaml
from kd_yolo.yolo.quiet import silent

TRAIN: dict[str, Any] = {  # small batches without mosaic learn fastest in a minute; nothing is chosen by validation
    "batch": 4, "nbs": 4, "optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 1, "mosaic": 0.0,
    "val": False, "workers": 0, "plots": False, "verbose": False,
}  # fmt: skip
LOSS: dict[str, Any] = {"loss_type": "bkd+dfl_kl", "weight": "4+8", "gate": "balanced", "schedule": "constant"}
WIDTH = 0.125  # of the student, as yolov8n's .25: a quarter of its parameters
FACTOR = 0.3  # share of the teacher's channels that pruning removes
TIMES = 20  # an epoch goes so often through the few labelled images: each epoch costs a checkpoint
TITLES = {
    "teacher": "teacher (yolov8n)",
    "alone": "student alone",
    "alone_equal_cost": "student alone, equal cost",
    "distilled": "student distilled",
    "pruned": "teacher pruned, retrained",
    "pruned_equal_cost": "pruned, retrained, equal cost",
    "pruned_distilled": "pruned, distilled",
}
CONTROL = "labelled_only"  # of benchmarks: no row of the demo
PAIRS = (("distilled", "alone", "alone_equal_cost"), ("pruned_distilled", "pruned", "pruned_equal_cost"))


@dataclass(frozen=True)
class DemoPlan:
    """How large the demo is.

    Attributes:
        teacher: epochs of the teacher.
        student: epochs of the student, alone and distilled, each :data:`TIMES` times through its labelled images.
        pruned: epochs after pruning, likewise.
        labelled: images whose labels the students and the pruned networks are trained with.
        preset: of the shapes.
        imgsz: size of the images in pixels.
        seed: of the images, the starting weights and the order of the images.
        device: where everything is trained.
    """

    teacher: int = 6
    student: int = 6
    pruned: int = 4
    labelled: int = 8
    preset: str = "demo"
    imgsz: int = 96
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Trained:
    """One network of the demo.

    Attributes:
        name: a key of :data:`TITLES`; its weights are ``<name>.pt`` in the demo's folder.
        epochs: of its own training.
        cost_s: what they cost: CPU seconds, on a GPU seconds.
        score: mAP50-95 on the validation images.
    """

    name: str
    epochs: int
    cost_s: float
    score: float


class Demo:
    """The demo in its folder.

    Args:
        folder: where everything goes.
        plan: how large it is.
        write: called with what is to be printed of the progress, line ends included.
    """

    def __init__(self, folder: Path, plan: DemoPlan, write: Callable[[str], object]) -> None:
        self.folder, self.plan, self.write = folder, plan, write
        self.made: dict[str, Trained] = {}

    def train(self) -> list[Trained]:
        """Trains everything that is not there yet.

        Returns:
            The networks in the order of :data:`TITLES`.
        """
        plan = self.plan
        made = make_shapes(self.folder / "set", plan.preset, plan.seed)
        self.write(f"drawn: {made.images['train']} images for the teacher, {plan.labelled} of them for its students\n")
        self.data = str(made.data_yaml)
        self.few, self.rest = map(str, write_few(made.data_yaml, plan.labelled))
        with noting_usage(), silent(), after_each_epoch(lambda: self.write(".")):
            teacher = self._plain("teacher", "yolov8n.yaml", plan.teacher, self.data)
            self._three_ways("distilled", "alone", self._student(), plan.student, teacher)
            pruned = self._chain("cut", teacher).prune(factor=FACTOR, data=self.few)
            self._three_ways("pruned_distilled", "pruned", pruned.path, plan.pruned, teacher)
        return [self.made[name] for name in TITLES]

    def labelled_only(self) -> Trained:
        """After :meth:`train`: the student distilled on its labelled images alone, to see what the others bring."""
        with noting_usage(), silent(), after_each_epoch(lambda: self.write(".")):
            self._distilled(CONTROL, self._student(), self.plan.student, self.folder / "teacher.pt")
        return self.made[CONTROL]

    def _three_ways(self, kd: str, plain: str, start: Path, epochs: int, teacher: Path) -> None:
        """The same network for as many epochs plain and distilled, and plain for as long as distilling it took."""
        self._plain(plain, start, epochs, self.few)
        self._distilled(kd, start, epochs, teacher, unlabelled=self.rest)
        longer = math.ceil(epochs * self.made[kd].cost_s / self.made[plain].cost_s)
        self._plain(f"{plain}_equal_cost", start, max(longer, epochs), self.few)

    def _plain(self, name: str, start: str | Path, epochs: int, data: str) -> Path:
        self._announce(name, epochs)
        step = self._chain(name, start).base_train(data, epochs, save_dir=self.folder / f"{name}.pt")
        return self._note(name, step, epochs)

    def _distilled(self, name: str, start: Path, epochs: int, teacher: Path, **images: str) -> Path:
        self._announce(name, epochs)
        model = self._chain(name, start)
        kd = {**LOSS, **images, "teacher_val": False}  # its score is known
        step = model.distill(teacher, data=self.few, epochs=epochs, save_dir=self.folder / f"{name}.pt", **kd)
        return self._note(name, step, epochs)

    def _chain(self, name: str, start: str | Path) -> PruneModel:
        plan = self.plan
        train = {**TRAIN, "imgsz": plan.imgsz, "seed": plan.seed, "device": plan.device}
        return PruneModel(start, folder=self.folder / name, **train)

    def _announce(self, name: str, epochs: int) -> None:
        number = len(self.made) + 1
        self.write(f"[{number}/{max(number, len(TITLES))}] {TITLES.get(name, name)}, {epochs} epochs ")

    def _note(self, name: str, step: Step, epochs: int) -> Path:
        usage = read_usage(step.path.parents[1])
        trained = Trained(name, epochs, self._cost(usage), step.metrics["map50_95"])
        self.write(f" mAP50-95 {trained.score:.3f}, {duration(usage.seconds)}\n")
        self.made[name] = trained
        return self.folder / f"{name}.pt"

    def _cost(self, usage: Usage) -> float:
        return usage.cpu_seconds if self.plan.device == "cpu" else usage.seconds

    def _student(self) -> Path:
        """The model YAML of yolov8n at half its width."""
        body = load_model_yaml("yolov8n.yaml")
        depth, _, most = body["scales"]["n"]
        keys = ("nc", "backbone", "head")
        text = yaml.safe_dump({**{key: body[key] for key in keys}, "scales": {"n": [depth, WIDTH, most]}})
        return write_text(self.folder / "yolov8n-half.yaml", text)


def write_few(data_yaml: Path, count: int) -> tuple[Path, Path]:
    """Splits the training images into some with labels and the rest without; validation is the same.

    Returns:
        The data YAML of the first ``count`` images, and a list of the others.
    """
    body = read_yaml(data_yaml)
    files = [f"./{body['train']}/{file.name}\n" for file in sorted((data_yaml.parent / body["train"]).iterdir())]
    few = write_text(data_yaml.with_name("few.txt"), "".join(files[:count] * TIMES))
    rest = write_text(data_yaml.with_name("rest.txt"), "".join(files[count:]))
    text = yaml.safe_dump({**body, "train": few.name}, sort_keys=False)
    return write_text(data_yaml.with_name("few.yaml"), text), rest
