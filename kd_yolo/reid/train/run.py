"""One training from settings to weights: data, network, teachers and processes put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kd_yolo.base.device import choose_device
from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.leftovers import remove_leftovers
from kd_yolo.base.lock import holding
from kd_yolo.base.places import remove_if_empty
from kd_yolo.base.reading import shown
from kd_yolo.reid.data.dataset import Crops
from kd_yolo.reid.data.sample import TRAIN
from kd_yolo.reid.data.sampler import PKSampler
from kd_yolo.reid.data.sets import ReIDSet, read_reid_set
from kd_yolo.reid.data.split import Split, as_targets, hold_out, list_identities, name_identities
from kd_yolo.reid.data.statistics import as_markdown
from kd_yolo.reid.data.transforms import Augment
from kd_yolo.reid.model.checkpoint import Checkpoint, load_checkpoint
from kd_yolo.reid.model.contents import Identity
from kd_yolo.reid.model.network import ReIDModel
from kd_yolo.reid.resolve import place_of
from kd_yolo.reid.settings import ReIDConfig
from kd_yolo.reid.testing import as_metrics, embed, score_embedded
from kd_yolo.reid.train.distributed import World, join_world, leave_world, synchronise_norms
from kd_yolo.reid.train.engine import Say, Stage, Trainer
from kd_yolo.reid.train.objective import Objective
from kd_yolo.reid.train.records import write_settings
from kd_yolo.reid.train.start import continue_from, network_of, settings_for
from kd_yolo.reid.train.state import settings_to_go_on
from kd_yolo.reid.train.teachers import load_teachers

CHANGEABLE = {(None, "data"), ("train", "device"), ("train", "workers"), ("train", "cache")}
SPLIT_SEED = 0  # of every run: teacher and student have the same identities whatever their seeds


def train(config: ReIDConfig, folder: Path, say: Say = print, *, start: str | None = None) -> Path:
    """Trains a network.

    Args:
        config: resolved; ``data`` is given.
        folder: of the run; its files are overwritten.
        say: takes lines for the user.
        start: a checkpoint to start from, a pruned one for example, see :func:`kd_yolo.reid.train.start.settings_for`.

    Returns:
        ``weights/best.pt``.

    Raises:
        ConfigError: settings that do not fit the data.
        InputError: data, weights or teachers that cannot be used.
        KDYoloError: the loss is no longer finite.
    """
    if start is None:
        return _run(config, folder, say, lambda data: _build(config, data))
    first = load_checkpoint(start)
    settings = settings_for(config, first, start)
    return _run(settings, folder, say, lambda data: continue_from(first, settings.network, data.identities, start))


def resume(last: Path, say: Say = print, changes: Mapping[str, Any] | None = None) -> Path:
    """Continues an interrupted run, with its settings, in the folder in which its checkpoint lies.

    Args:
        last: its ``weights/last.pt``.
        say: takes lines for the user.
        changes: ``section.key`` of settings that are other than they were; see :data:`CHANGEABLE`.

    Raises:
        InputError: no such checkpoint, or one of a run that is finished, or other data than it began with.
    """
    _check_changes(changes or {})
    folder = Path(os.path.normpath(last.absolute())).parent.parent  # beside the file that was named, were it a link
    if not last.exists() and (folder / "run.json").is_file():
        raise InputError(
            f"{last} does not exist: the run in {folder} ended before its first epoch did. There is nothing to resume:"
            " start it again with the command that started it."
        )
    checkpoint = load_checkpoint(last)
    config = _changed(settings_to_go_on(checkpoint, last), changes or {}, last)
    return _run(config, folder, say, lambda data: _rebuild(checkpoint, data, last), checkpoint)


def _check_changes(changes: Mapping[str, Any]) -> None:
    fixed = [key for key in changes if place_of(key) not in CHANGEABLE]
    if fixed:
        raise ConfigError(
            f"a resumed run keeps its {', '.join(fixed)}: leave {'it' if len(fixed) == 1 else 'them'} out, or start a"
            " new run. It takes data=, train.device=, train.workers= and train.cache=."
        )


def _changed(config: ReIDConfig, changes: Mapping[str, Any], last: Path) -> ReIDConfig:
    settings = config.model_dump()
    for key, value in changes.items():
        section, name = place_of(key)
        if section is None:
            settings[name] = value
        else:
            settings[section] = {**settings.get(section, {}), name: value}
    config = ReIDConfig.parse(settings, str(last))
    if config.data is None or not Path(config.data).exists():
        raise InputError(
            f"the crops of this run are not where they were ({shown(config.data)}): add data=path/to/crops"
        )
    return config


@dataclass(frozen=True)
class _Data:
    """The set of a run, cut for training."""

    whole: ReIDSet
    split: Split
    rows: tuple[int, ...]
    identities: tuple[Identity, ...]


def _run(
    config: ReIDConfig,
    folder: Path,
    say: Say,
    make: Callable[[_Data], ReIDModel],
    checkpoint: Checkpoint | None = None,
) -> Path:
    device = choose_device(config.train.device)
    with ExitStack() as ending:
        world = join_world(device)
        ending.callback(leave_world, world)
        if world.is_main:
            ending.callback(remove_if_empty, folder)  # of a run that was refused before it wrote anything
            ending.enter_context(holding(folder))
            remove_leftovers(folder, folder / "weights")
        say = say if world.is_main else _silent
        torch.manual_seed(config.train.seed)
        data = _read_data(config, say)
        model = make(data).to(device)
        synchronise_norms(model, world)
        by_logits = any("teacher_logits" in term.reads for term in config.active_terms.values())
        teachers = load_teachers(config.distill.teacher, data.identities, by_logits=by_logits)
        teachers = [teacher.to(device) for teacher in teachers]
        objective = Objective(config, model, teachers, world).to(device)
        synchronise_norms(objective, world)
        trainer = Trainer(config, model, objective, _stage(config, data, folder, world, say))
        if checkpoint is not None:
            trainer.restore(checkpoint, str(trainer.last_file))
            say(f"goes on after epoch {trainer.epoch} of {config.train.epochs}")
        else:
            say(model.weights_note)
            if world.is_main:
                write_settings(folder, config, _facts(data, model))
        return trainer.fit()


def _read_data(config: ReIDConfig, say: Say) -> _Data:
    assert config.data is not None
    found = read_reid_set(config.data, max_rank=config.test.max_rank)
    found.require(TRAIN)
    split = hold_out(found.train, config.train.holdout, SPLIT_SEED)
    rows = list_identities(split.train)
    parts = {"train": split.train, "held-out query": split.query, "held-out gallery": split.gallery}
    parts |= {"query": found.query, "gallery": found.gallery}
    notes = [*found.notes, *split.notes]
    table = as_markdown({name: samples for name, samples in parts.items() if samples})
    for line in (*table.splitlines(), *notes):
        say(line)
    return _Data(found, split, rows, name_identities(rows, found.names))


def _build(config: ReIDConfig, data: _Data) -> ReIDModel:
    return ReIDModel(network_of(config.network, len(data.identities)), weights=config.network.pretrained)


def _rebuild(checkpoint: Checkpoint, data: _Data, last: Path) -> ReIDModel:
    if list(checkpoint.identities) != list(data.identities):
        raise InputError(
            f"{data.whole.folder} has other training identities than {last} began with"
            f" ({len(data.identities)}, then {len(checkpoint.identities)}): restore the data, or start a new run."
        )
    return ReIDModel.from_checkpoint(checkpoint, str(last))


def _stage(config: ReIDConfig, data: _Data, folder: Path, world: World, say: Say) -> Stage:
    train, size_hw = config.train, (config.network.height, config.network.width)
    augment = Augment(flip=train.flip, pad=train.pad, erase=train.erase, jitter=train.jitter, seed=train.seed)
    samples = data.split.train
    crops = Crops(samples, as_targets(samples, data.rows), size_hw, augment=augment, cache=train.cache)
    sampler = PKSampler(crops.targets, train.ids, train.images, seed=train.seed, rank=world.rank, world_size=world.size)
    for note in sampler.notes:
        say(note)
    loader = DataLoader(crops, batch_sampler=sampler, num_workers=train.workers)
    held = [Crops(part, None, size_hw, cache=train.cache) for part in (data.split.query, data.split.gallery)]

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        sampler.set_epoch(epoch)
        return ((batch[0], batch[1]) for batch in loader)

    def validate(model: ReIDModel) -> dict[str, float]:
        if not data.split.query:
            return {}
        query, gallery = (embed(model, part, config.test, workers=train.workers) for part in held)
        return as_metrics(score_embedded(query, gallery, (data.split.query, data.split.gallery), config.test))

    return Stage(batches, sampler.batches_per_epoch, validate, data.identities, folder, world, say)


def _facts(data: _Data, model: ReIDModel) -> dict[str, object]:
    return {
        "data": str(data.whole.folder),
        "data_sha256": data.whole.sha256,
        "identities": len(data.identities),
        "parameters": model.num_parameters(),
        "weights": model.weights_note,
    }


def _silent(_: str) -> None:
    """Takes the lines of the other processes."""
