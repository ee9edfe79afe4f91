"""Settings of ReID that would do nothing in their combination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from kd_yolo.base.reading import shown

if TYPE_CHECKING:
    from kd_yolo.reid.settings import ReIDConfig

Rule = tuple[tuple[str, ...], Callable[["ReIDConfig"], bool], str]
# Settings, whether they count, and what they need. A setting that is not its default and does not count is an error.
WEIGHTS = ("loss", "self_kd", "distill")  # sections that say the losses of a run without `terms`
RULES: tuple[Rule, ...] = (
    (("loss.smoothing",), lambda c: bool(c.loss.id_weight or c.self_kd.enabled), "loss.id_weight or --kd"),
    (("loss.margin",), lambda c: bool(c.loss.triplet_weight or _has_local(c)), "loss.triplet_weight"),
    (("loss.local_weight",), lambda c: c.network.local, "network.local=true"),
    (
        ("network.head",),
        lambda c: any({"logits_nk", "own_logits_nk"} & {*term.reads} for term in c.active_terms.values()),
        "loss.id_weight",
    ),
    (("train.milestones",), lambda c: c.train.schedule == "step", "train.schedule=step"),
    (("train.patience",), lambda c: c.train.holdout > 0, "train.holdout above 0"),
    (
        ("self_kd.teacher_stage", "self_kd.student_stages", "self_kd.ce_weight", "self_kd.kl_weight",
         "self_kd.feature_weight", "self_kd.temperature"),
        lambda c: c.self_kd.enabled, "self-distillation: --kd",
    ),
    (("self_kd.temperature",), lambda c: c.self_kd.kl_weight > 0, "self_kd.kl_weight above 0"),
    (
        ("distill.logit", "distill.logit_weight", "distill.temperature", "distill.overhaul_weight",
         "distill.relation_weight"),
        lambda c: bool(c.distill.teacher), "a teacher: kd-yolo reid distill --teacher best.pt",
    ),
    (("distill.logit", "distill.temperature"), lambda c: c.distill.logit_weight > 0, "distill.logit_weight above 0"),
    (("test.local_share",), lambda c: c.test.feature == "both", "test.feature=both"),
    (("test.k1", "test.k2", "test.lambda_value"), lambda c: c.test.rerank, "test.rerank=true"),
    (("test.rerank",), lambda c: c.test.feature == "global", "test.feature=global: it compares global embeddings"),
    (("test.expand",), lambda c: c.test.feature != "local", "test.feature=global or both: it averages embeddings"),
)  # fmt: skip


def useless_settings(config: ReIDConfig) -> Iterator[str]:
    """A sentence for each setting that is not its default and does nothing as the others are."""
    for names, counts, needed in RULES:
        for name in () if counts(config) else names:
            section = name.partition(".")[0]
            if (config.terms is None or section not in WEIGHTS) and _is_changed(config, name):
                yield f"{name}={_shown(config, name)} does nothing here: it needs {needed}."
    yield from _beside_terms(config)
    train = config.train
    if train.warmup > train.epochs:
        yield (
            f"train.warmup={train.warmup} is longer than the run of {train.epochs} epochs, which never gets to"
            f" train.lr: set train.warmup={train.epochs // 6}."
        )
    if train.patience >= train.epochs:
        yield f"train.patience={train.patience} does nothing in a run of {train.epochs} epochs: set a lower one."


def _beside_terms(config: ReIDConfig) -> Iterator[str]:
    """Weights and parameters of losses that were set beside ``terms``."""
    keys = [f"{section}.{key}" for section in WEIGHTS for key in type(getattr(config, section)).model_fields]
    for name in keys if config.terms is not None else ():
        if name != "distill.teacher" and _is_changed(config, name):
            yield f"{name}={_shown(config, name)} does nothing here: terms lists all losses. Write it there."


def _is_changed(config: ReIDConfig, name: str) -> bool:
    section, _, key = name.partition(".")
    part = getattr(config, section)
    return bool(getattr(part, key) != type(part).model_fields[key].default)


def _shown(config: ReIDConfig, name: str) -> str:
    section, _, key = name.partition(".")
    return shown(getattr(getattr(config, section), key))


def _has_local(config: ReIDConfig) -> bool:
    return config.network.local and config.loss.local_weight > 0
