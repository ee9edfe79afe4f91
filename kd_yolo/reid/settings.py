"""Configuration of ``kd-yolo reid``: network, losses, training, distillation and evaluation in one strict model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kd_yolo.base.device import parse_device
from kd_yolo.config.base import StrictModel
from kd_yolo.reid.model.settings import MAX_EPOCHS, MAX_SIDE, MAX_WEIGHT, STAGES, NetworkSettings, Settings
from kd_yolo.reid.terms import TermSettings, named, problems_of

Feature = Literal["global", "local", "both"]


class LossSettings(Settings):
    """Weights and parameters of the supervised losses, for runs without ``terms``; weight 0 leaves a loss out."""

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
    """Self-distillation for runs without ``terms``: the deepest stage teaches the shallower ones.

    References:
        Zhang et al. 2019, arXiv 1905.08094.
    """

    enabled: bool = False
    """Self-distillation: a deep stage teaches the shallower ones."""
    teacher_stage: str = "layer4"
    """The stage that teaches: layer2, layer3 or layer4."""
    student_stages: tuple[str, ...] = ()
    """The stages that learn (default: all before the teacher)."""
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


class TeacherSettings(Settings):
    """Distillation from trained networks; all but ``teacher`` is for runs without ``terms``."""

    teacher: tuple[str, ...] = ()
    """Checkpoints of the teachers; the outputs of several are averaged."""
    logit: str = "js"
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

    @field_validator("logit")
    @classmethod
    def _known_divergence(cls, value: str) -> str:
        TermSettings(loss="logit", params={"divergence": value})
        return value

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
    """k1 of re-ranking: size of the reciprocal neighborhood."""
    k2: int = Field(default=6, ge=1, le=10_000)
    """k2 of re-ranking: neighbors averaged in query expansion."""
    lambda_value: float = Field(default=0.3, ge=0, le=1)
    """Share of the original distance in re-ranking."""
    expand: int = Field(default=0, ge=0, le=10_000)
    """Neighbors of average query expansion; 0 turns it off."""
    max_rank: int = Field(default=50, ge=1, le=100_000)
    """Length of the CMC curve."""
    batch: int = Field(default=64, ge=1, le=65_536)
    """Crops per batch when ranking."""


class ReIDConfig(StrictModel):
    """Everything that decides a ReID run."""

    data: str | None = None
    """Folder of a ReID data set, Market-1501, MSMT17, ... (default: the built-in set)."""
    terms: list[TermSettings] | None = Field(default=None, min_length=1)
    """The losses: id+circle, or [{loss: id}, {loss: center, weight: 5e-4}] (default: those of the sections below)."""
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    train: TrainSettings = TrainSettings()
    self_kd: SelfKDSettings = SelfKDSettings()
    distill: TeacherSettings = TeacherSettings()
    test: TestSettings = TestSettings()

    @field_validator("terms", mode="before")
    @classmethod
    def _joined_names(cls, value: Any) -> Any:
        return value.split("+") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> ReIDConfig:
        if self.test.feature != "global" and not self.network.local:
            raise ValueError(f"test.feature={self.test.feature} needs the local branch: network.local=true.")
        if self.terms is not None:
            wrong = problems_of(self.terms, has_teacher=bool(self.distill.teacher), has_local=self.network.local)
            if wrong:
                raise ValueError("terms: " + " ".join(wrong))
            return self
        if not (self.loss.id_weight or self.loss.triplet_weight or self.loss.circle_weight):
            raise ValueError("no loss is left: set loss.id_weight, loss.triplet_weight or loss.circle_weight.")
        self._terms_of_weights()  # what is wrong with the parameters of one is said here
        return self

    def to_show(self) -> dict[str, Any]:
        """Plain values without the sections that ``terms`` stands in for; they parse to the same settings."""
        weights = {key: True for key in TeacherSettings.model_fields if key != "teacher"}
        left_out: Any = {"loss": True, "self_kd": True, "distill": weights} if self.terms else None
        return self.model_dump(mode="json", exclude=left_out)

    @property
    def active_terms(self) -> dict[str, TermSettings]:
        """The losses of the run that count, by their column in ``results.csv``."""
        return named(self._terms_of_weights() if self.terms is None else self.terms)

    def _terms_of_weights(self) -> list[TermSettings]:
        """What the sections mean, in the order in which their losses are summed."""
        loss, kd, under = self.loss, self.self_kd, self.distill
        parts = {"ce": kd.ce_weight, "kl": kd.kl_weight, "feature": kd.feature_weight}
        parts |= {"temperature": kd.temperature, "smoothing": loss.smoothing}
        stages = {"teacher_stage": kd.teacher_stage, "student_stages": list(kd.student_stages)}
        soft = {"divergence": under.logit, "temperature": under.temperature}
        found: list[tuple[str, float, dict[str, Any]]] = [
            ("id", loss.id_weight, {"smoothing": loss.smoothing}),
            ("triplet", loss.triplet_weight, {"margin": loss.margin}),
            ("local", loss.local_weight * self.network.local, {"margin": loss.margin}),
            ("circle", loss.circle_weight, {}),
            ("center", loss.center_weight, {}),
            ("self_kd", float(kd.enabled), {**stages, "weights": parts}),
        ]
        if under.teacher:
            found.append(("logit", under.logit_weight, soft))
            found += [("overhaul", under.overhaul_weight, {}), ("relation", under.relation_weight, {})]
        return [TermSettings(loss=name, weight=weight, params=params) for name, weight, params in found if weight]
