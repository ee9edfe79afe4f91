"""Configuration of ``kd-yolo reid``: network, losses, training, distillation and evaluation in one strict model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from kd_yolo.base.device import parse_device
from kd_yolo.base.errors import ConfigError
from kd_yolo.base.reading import shown
from kd_yolo.base.registry import nearest
from kd_yolo.config.base import RECIPES, StrictModel, find_recipe, read_yaml
from kd_yolo.reid.network_settings import MAX_EPOCHS, MAX_SIDE, MAX_WEIGHT, NetworkSettings, Settings
from kd_yolo.reid.rules import answer_elsewhere, useless_settings

LogitLoss = Literal["js", "sym_kl", "kl"]
Feature = Literal["global", "local", "both"]
STAGES = ("layer1", "layer2", "layer3", "layer4")


class LossSettings(Settings):
    """Weights and parameters of the supervised losses; weight 0 leaves a loss out."""

    id_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the cross-entropy over identities."""
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing of the cross-entropy."""
    triplet_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the batch-hard triplet loss."""
    margin: float | None = Field(default=0.3, ge=0, le=1000)
    """Margin of the triplet losses; null is the soft margin."""
    center_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    """Weight of the center loss."""
    circle_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    """Weight of the pairwise circle loss."""
    local_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the triplet loss on the aligned local distance, over the pairs that the global feature mines."""


class TrainSettings(Settings):
    """How it is trained."""

    epochs: int = Field(default=60, ge=1, le=MAX_EPOCHS)
    """Number of epochs, each about one pass over the training images."""
    ids: int = Field(default=16, ge=2, le=4096)
    """Identities per batch (PK sampling); the batch size is ids x images."""
    images: int = Field(default=4, ge=2, le=4096)
    """Images per identity in a batch."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """adam, adamw or sgd."""
    lr: float = Field(default=3.5e-4, gt=0, le=100)
    """Peak learning rate."""
    weight_decay: float = Field(default=5e-4, ge=0, le=100)
    """Weight decay of all weights except biases and norms."""
    warmup: int = Field(default=10, ge=0, le=MAX_EPOCHS)
    """Epochs of linear warm-up from lr / 100; in runs of fewer than 60 epochs a sixth of the run."""
    schedule: Literal["cosine", "step"] = "step"
    """Learning rate after warm-up: cosine (down to lr / 100) or step (a tenth at each milestone)."""
    milestones: tuple[float, ...] = (0.33, 0.58)
    """Where step lowers the learning rate, as shares of the run."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    pad: int = Field(default=10, ge=0, le=MAX_SIDE)
    """Padding in pixels before the random crop."""
    erase: float = Field(default=0.5, ge=0, le=1)
    """Probability of random erasing."""
    jitter: float = Field(default=0.0, ge=0, lt=1)
    """Largest relative change of brightness, contrast, saturation and white balance."""
    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the identities held out to choose best.pt, the same for every seed; 0 takes last.pt as the best."""
    patience: int = Field(default=0, ge=0, le=MAX_EPOCHS)
    """Stop after this many epochs without a better mAP; 0 never stops early."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed."""
    amp: bool = True
    """Mixed precision on a GPU."""
    device: str | None = None
    """cpu, cuda, cuda:1 or 0 (default: a GPU if there is one)."""
    workers: int = Field(default=2, ge=0, le=256)
    """Processes that load crops."""
    cache: bool = False
    """Keep decoded crops in memory."""

    @model_validator(mode="before")
    @classmethod
    def _short_runs(cls, values: Any) -> Any:
        epochs = values.get("epochs") if isinstance(values, dict) else None
        if type(epochs) is not int or "warmup" in values:
            return values
        return {**values, "warmup": min(cls.model_fields["warmup"].default, max(epochs, 0) // 6)}

    @field_validator("milestones")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(value) or any(not 0 < share < 1 for share in value):
            raise ValueError(f"milestones={list(value)}, expected rising shares of the run between 0 and 1.")
        return value

    @field_validator("device", mode="before")
    @classmethod
    def _device(cls, value: Any) -> Any:
        value = ",".join(map(str, value)) if isinstance(value, list) else value  # 0,1 as a command line reads it
        return parse_device(value) if isinstance(value, str | int) else value


class SelfKDSettings(Settings):
    """Self-distillation: the deepest stage teaches the shallower ones (Zhang et al. 2019, arXiv 1905.08094)."""

    enabled: bool = False
    """Self-distillation: a deep stage teaches the shallower ones."""
    teacher_stage: str = "layer4"
    """The stage that teaches: layer2, layer3 or layer4."""
    student_stages: tuple[str, ...] = ()
    """The stages that learn; empty: all before the teacher."""
    ce_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the cross-entropy of each auxiliary head."""
    kl_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the KL divergence to the teacher stage."""
    feature_weight: float = Field(default=0.03, ge=0, le=MAX_WEIGHT)
    """Weight of the feature loss to the teacher stage."""
    temperature: float = Field(default=3.0, gt=0, le=1000)
    """Temperature of the soft labels."""

    @model_validator(mode="after")
    def _stages(self) -> SelfKDSettings:
        for stage in (self.teacher_stage, *self.student_stages):
            if stage not in STAGES:
                raise ValueError(f"no stage '{stage}', expected one of {', '.join(STAGES)}.")
        late = [stage for stage in self.student_stages if stage >= self.teacher_stage]
        if late or self.teacher_stage == STAGES[0]:
            raise ValueError(
                f"teacher_stage={self.teacher_stage} teaches shallower stages; {', '.join(late) or 'none'} is not one."
            )
        return self

    @property
    def students(self) -> tuple[str, ...]:
        """The stages that learn."""
        return self.student_stages or tuple(stage for stage in STAGES if stage < self.teacher_stage)


class TeacherSettings(Settings):
    """Distillation from trained networks."""

    teacher: tuple[str, ...] = ()
    """Checkpoints of the teachers; the outputs of several are averaged."""
    logit: LogitLoss = "js"
    """Loss between the soft labels: js (Jensen-Shannon), sym_kl (symmetric KL, FastReID's "JS") or kl."""
    logit_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Weight of the loss between the soft labels."""
    temperature: float = Field(default=4.0, gt=0, le=1000)
    """Temperature of the soft labels."""
    overhaul_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    """Weight of the feature loss of Heo et al. 2019 between the last stages."""
    relation_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    """Weight of the relational loss (distances and angles) of Park et al. 2019."""

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some_loss(self) -> TeacherSettings:
        if self.teacher and not (self.logit_weight or self.overhaul_weight or self.relation_weight):
            raise ValueError("all weights are 0: set logit_weight, overhaul_weight or relation_weight.")
        return self


class TestSettings(Settings):
    """How it is tested."""

    __test__ = False  # no test class for pytest

    feature: Feature = "global"
    """Distance to rank by: global (embeddings), local (stripes) or both (their weighted sum)."""
    local_share: float = Field(default=0.3, gt=0, le=1000)
    """Weight of the local distance in both."""
    cameras: bool | None = None
    """Ignore gallery images of the query's own identity and camera (default: if there are several)."""
    ap: Literal["rectangle", "trapezoid"] = "rectangle"
    """Average precision: rectangle (as torchreid) or trapezoid (as the official Market-1501 code)."""
    rerank: bool = False
    """k-reciprocal re-ranking."""
    k1: int = Field(default=20, ge=1, le=10_000)
    """k1 of re-ranking: size of the reciprocal neighbourhood."""
    k2: int = Field(default=6, ge=1, le=10_000)
    """k2 of re-ranking: neighbours averaged in query expansion."""
    lambda_value: float = Field(default=0.3, ge=0, le=1)
    """Share of the original distance in re-ranking."""
    expand: int = Field(default=0, ge=0, le=10_000)
    """Neighbours of average query expansion; 0 turns it off."""
    max_rank: int = Field(default=50, ge=1, le=100_000)
    """Length of the CMC curve."""
    batch: int = Field(default=64, ge=1, le=65_536)
    """Crops per batch when ranking."""


class ReIDConfig(StrictModel):
    """Everything that decides a ReID run."""

    data: str | None = None
    """Folder of a ReID data set (Market-1501, MSMT17, ... layout; default: the built-in set)."""
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()
    self_kd: SelfKDSettings = SelfKDSettings()
    distill: TeacherSettings = TeacherSettings()
    test: TestSettings = TestSettings()

    @model_validator(mode="after")
    def _fits(self) -> ReIDConfig:
        if self.test.feature != "global" and not self.network.local:
            raise ValueError(f"test.feature={self.test.feature} needs the local branch: network.local=true.")
        loss = self.loss
        if not (loss.id_weight or loss.triplet_weight or loss.circle_weight):
            raise ValueError("no loss is left: set loss.id_weight, loss.triplet_weight or loss.circle_weight.")
        return self


SECTIONS = {
    name: field.annotation
    for name, field in ReIDConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def resolve_reid(recipe: str | None, changes: dict[str, Any]) -> ReIDConfig:
    """A recipe of ``cfg/reid`` with ``key=value`` changes.

    Args:
        recipe: its name, the path of a YAML, or None for the defaults.
        changes: by ``section.key``, or by the key alone where one section only has it.

    Raises:
        ConfigError: everything that is wrong with them, settings that would do nothing included.
    """
    values: dict[str, Any] = {}
    if recipe is not None:
        path = find_recipe(recipe, "reid")
        if path is None:
            known = sorted(file.stem for file in (RECIPES / "reid").glob("*.yaml"))
            raise ConfigError(f"no ReID recipe '{recipe}'.{nearest(recipe, known)} Known: {', '.join(known)}.")
        values = read_yaml(path)
    for key, value in changes.items():
        section, name = place_of(key)
        target = values if section is None else values.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"{recipe}: section '{section}' must hold 'key: value' lines.")
        target[name] = value
    config = ReIDConfig.parse(values, recipe or "reid settings")
    useless = list(useless_settings(config))
    if useless:
        raise ConfigError("\n  ".join([f"{recipe or 'reid settings'}: {len(useless)} problem(s)", *useless]))
    return config


def place_of(key: str) -> tuple[str | None, str]:
    """Section and name of a key as it is typed.

    Raises:
        ConfigError: no section has it, or several have.
    """
    section, dot, name = key.partition(".")
    if key == "data":
        return None, key
    if dot:
        if section not in SECTIONS:
            hint = answer_elsewhere(key) or nearest(section, SECTIONS)
            raise ConfigError(f"unknown section {shown(section)} in {shown(key)}.{hint}")
        return section, name
    homes = [part for part, model in SECTIONS.items() if key in model.model_fields]
    if len(homes) == 1:
        return homes[0], key
    if homes:
        raise ConfigError(f"'{key}' is in several sections: write {' or '.join(f'{home}.{key}' for home in homes)}.")
    known = sorted({name for model in SECTIONS.values() for name in model.model_fields})
    raise ConfigError(f"unknown key {shown(key)}.{answer_elsewhere(key) or nearest(key, known)}")
