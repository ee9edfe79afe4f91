"""Distillation from kept responses: fixed views of the training images, and a teacher that is run once for each."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.utils import LOGGER, RANK

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.fingerprint import content_hash
from kd_yolo.config.distill import DistillConfig
from kd_yolo.config.options import DEFAULTS
from kd_yolo.distill.criterion import DistillCriterion
from kd_yolo.distill.outputs import Outputs
from kd_yolo.distill.teachers.cache import TeacherCache
from kd_yolo.distill.teachers.responses import kept_confidence, raw_responses, sparse_responses
from kd_yolo.distill.teachers.teacher import Teacher
from kd_yolo.distill.teachers.views import MIXING, VIEW, Turns, Views
from kd_yolo.training.trainers import TrainerMixin
from kd_yolo.yolo.heads import head_facts

FORMAT = 1  # of responses on disk, and of how views are made
AUGMENTATION = (
    *MIXING, "copy_paste_mode", "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective",
    "flipud", "fliplr", "bgr", "augmentations",
)  # fmt: skip
SOFTWARE = ("ultralytics", "torch", "numpy", "opencv-python", "albumentations")
SAMPLE = 16  # images whose responses tell how much room all will take
SHARE_MIN = 0.95  # of the teacher's confidence: below it the losses are not those of the live teacher
GB = 1e9


class CachedTeacher(Teacher):
    """Runs a teacher on views that were never seen, and answers from its cache.

    Also the first answer is what the cache will say later, so that a run does not depend on what was there before.

    Attributes:
        views: numbers of the views in the batch to come.
    """

    def __init__(self, teacher: Teacher, cache: TeacherCache) -> None:
        self.teacher, self.cache = teacher, cache  # the network is the teacher's: nothing of the base class is set up
        self.facts = head_facts(teacher.model, "teacher")
        self.views: Sequence[int] = ()

    @property
    def model(self) -> nn.Module:
        return self.teacher.model

    def __call__(self, image_nchw: Tensor) -> Outputs:
        """What the teacher says of the images (N,C,H,W) of :attr:`views`, at the anchors that it is confident of."""
        views = self.views
        missing = [i for i, view in enumerate(views) if view not in self.cache]
        made = dict(zip(missing, sparse_responses(self.live(image_nchw[missing])), strict=True)) if missing else {}
        for i, responses in made.items():
            self.cache.add(views[i], responses)
        found = [made.get(i) or self.cache[view] for i, view in enumerate(views)]
        return Outputs({}, raw_responses(found, self.facts, image_nchw))

    def live(self, image_nchw: Tensor) -> Mapping[str, Any]:
        """The raw outputs of the live teacher's head."""
        raw = self.teacher(image_nchw).raw
        assert raw is not None, "response terms need the head"
        return raw


class TeacherCacheMixin(TrainerMixin):
    """Trains on fixed views with kept responses if the settings ask for it."""

    kd_config: DistillConfig
    criterion: DistillCriterion | None = None
    _turns: Turns | None = None
    _cached: Sequence[CachedTeacher] = ()

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Upstream's data set; for training, its fixed views."""
        dataset = super().build_dataset(img_path, mode, batch)
        if mode != "train" or self.kd_config.teacher_cache is None:
            return dataset
        check_views(vars(self.args))
        return Views(dataset, self.args)

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        """Upstream's loader; for training, one that shows the views in turn."""
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if isinstance(loader.dataset, Views):
            assert self.kd_config.teacher_cache is not None, "there are views"
            self._turns = Turns(loader.batch_sampler.sampler, loader.dataset, self.kd_config.teacher_cache)
            object.__setattr__(loader, "batch_sampler", self._turns)  # as upstream's loader does itself
            self._open_caches(loader.dataset)
        return loader

    def _open_caches(self, views: Views) -> None:
        config, criterion = self.kd_config, self.criterion
        assert criterion is not None, "set with the terms"
        assert config.teacher_cache is not None, "there are views"
        live = [t.teacher if isinstance(t, CachedTeacher) else t for t in criterion.teachers]
        place = config.teacher_cache_dir or DEFAULTS.teacher_cache_dir
        room = (config.teacher_cache_gb or DEFAULTS.teacher_cache_gb) * GB / len(live)
        for kept in self._cached:  # after running out of memory, the loader is built again
            kept.cache.flush()
        self._cached = []
        for teacher, source in zip(live, config.teachers, strict=True):
            parts = belongs_to(source, views, self.args, half=bool(config.teacher_half))
            digest = hashlib.sha256(repr(sorted(parts.items())).encode()).hexdigest()[:16]
            folder = Path(place.replace("{hash}", digest))
            cache = TeacherCache(folder, parts, num_views=2 * config.teacher_cache * len(views), max_bytes=room)
            self._cached.append(CachedTeacher(teacher, cache))
            if RANK in {-1, 0}:
                self._check_room(self._cached[-1], views)
        criterion.teachers = list(self._cached)

    def _check_room(self, teacher: CachedTeacher, views: Views) -> None:
        """Says how much room the responses will take, after a look at some; refuses what does not fit."""
        numbers = range(0, len(views), max(len(views) // SAMPLE, 1))[:SAMPLE]
        image_nchw = torch.stack([views[number]["img"] for number in numbers]).to(self.device).float() / 255
        raw = teacher.live(image_nchw)
        mean, share = sum(r.nbytes for r in sparse_responses(raw)) / len(numbers), kept_confidence(raw)
        cache, count = teacher.cache, self._num_views(len(views))
        left = max(count - len(cache), 0) * mean
        free = shutil.disk_usage(cache.folder).free
        LOGGER.info(
            f"kd-yolo: teacher cache {cache.folder}: {len(cache)} of {count} views are there, the others take about"
            f" {left / GB:.3g} GB ({free / GB:.3g} GB are free), {share:.1%} of its confidence is kept"
        )
        if share < SHARE_MIN:
            LOGGER.warning("kd-yolo: this teacher is confident of nothing, the live one would teach more")
        if left + cache.num_bytes > cache.max_bytes or left > 0.9 * free:
            raise ConfigError(
                f"--teacher-cache {self.kd_config.teacher_cache}: the responses take about"
                f" {(left + cache.num_bytes) / GB:.3g} GB, the limit is {cache.max_bytes / GB:.3g} GB and"
                f" {free / GB:.3g} GB are free. Ask for fewer views, or raise --teacher-cache-gb."
            )

    def _num_views(self, num_images: int) -> int:
        """How many views a run sees: with mosaic, and in the last epochs without."""
        asked, epochs = self.kd_config.teacher_cache or 0, int(self.epochs)
        is_mixed = any(getattr(self.args, key) > 0 for key in MIXING)
        closed = min(int(self.args.close_mosaic), epochs) if is_mixed else 0
        opened = epochs - closed
        if self.args.time:  # the number of epochs is not known yet
            return (2 if closed else 1) * asked * num_images
        return (min(asked, opened) + min(asked, closed)) * num_images

    def restore_own_state(self, state: dict[str, Any]) -> None:
        super().restore_own_state(state)
        if self._turns is not None:
            self._turns.epoch = self.start_epoch - 1  # a resumed loader ends that epoch before it begins the next

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Prepares the batch, and tells the teachers which views it has."""
        batch = super().preprocess_batch(batch)
        for teacher in self._cached:
            teacher.views = batch.get(VIEW, ())
        return batch

    def run_callbacks(self, event: str) -> None:
        """Keeps the loader's epoch, and the caches on disk."""
        if event == "on_train_epoch_start" and self._turns is not None:
            self._turns.epoch = self.epoch
        for teacher in self._cached:
            if event == "on_train_epoch_start":
                teacher.cache.refresh()
            if event in ("on_train_epoch_end", "teardown"):
                teacher.cache.flush()
                if teacher.cache.is_full and event == "teardown":
                    LOGGER.warning(f"kd-yolo: {teacher.cache.folder} is full: the teacher ran again on the other views")
        super().run_callbacks(event)


def check_views(arguments: Mapping[str, Any]) -> None:
    """Refuses arguments with which an image has no fixed views.

    Raises:
        ConfigError: naming the argument.
    """
    for key in ("rect", "multi_scale"):
        if arguments.get(key):
            raise ConfigError(
                f"{key}={arguments[key]} gives an image other shapes in other batches, so it has no fixed views: leave"
                " it out, or leave out --teacher-cache."
            )


def belongs_to(teacher: str, views: Views, arguments: Any, *, half: bool) -> dict[str, Any]:
    """What kept responses depend on.

    Args:
        teacher: path of its weights.
        views: the training set.
        arguments: ultralytics' arguments.
        half: whether the teacher runs in bfloat16.
    """
    return {
        "teacher": content_hash(Path(teacher)).hex() + (" in bfloat16" if half else ""),
        "data": data_hash(views),
        "image size": int(arguments.imgsz),
        "augmentation": {key: str(getattr(arguments, key, None)) for key in AUGMENTATION},
        "software": {"format": str(FORMAT), **{name: _version(name) for name in SOFTWARE}},
    }


def data_hash(dataset: Any) -> str:
    """Of the images in their order (name, size and time of change) and the labels that are trained on."""
    digest = hashlib.sha256()
    for file, label in zip(map(Path, dataset.im_files), dataset.labels, strict=True):
        facts = file.stat()
        digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns} {len(label['cls'])}\n".encode())
        for array in (label["cls"], label["bboxes"], *label["segments"]):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
