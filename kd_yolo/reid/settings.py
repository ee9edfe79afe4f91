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
    """Weights and parameters of the supervised losses, for runs without ``terms``; weight 0 leaves a loss out.

    Attributes:
        id_weight, smoothing: cross-entropy over identities, and its label smoothing.
        triplet_weight, margin: batch-hard triplet; margin None is the soft margin.
        center_weight: center loss.
        circle_weight: pairwise circle loss.
        local_weight: triplet on the aligned local distance, of the pairs that the global feature mines.
    """

    id_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    triplet_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    margin: float | None = Field(default=0.3, ge=0, le=1000)
    center_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    circle_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    local_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)


class TrainSettings(Settings):
    """How it is trained.

    Attributes:
        epochs: passes over the images, about.
        ids, images: identities in a batch, and images of each (PK sampling).
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        lr: peak learning rate.
        weight_decay: of all weights but biases and norms.
        warmup: epochs of linear warm-up from a hundredth of ``lr``; where it is not given 10, or a sixth of the run.
        schedule: ``cosine`` to a hundredth of ``lr``, or ``step``: a tenth at each of ``milestones``.
        milestones: shares of the run.
        flip, pad, erase: probability of a flip, padding in pixels before the crop, probability of random erasing.
        jitter: brightness, contrast, saturation and white balance change by up to this share.
        holdout: share of the training identities held out to choose ``best.pt``, the same whatever the seed; 0 keeps
            ``last.pt`` as the best.
        patience: epochs without a better mAP before it stops; 0 never.
        seed: of everything random.
        amp: mixed precision on a GPU.
        device: ``cpu``, ``cuda``, ``cuda:1``, or None: a GPU where there is one.
        workers: processes that read crops.
        cache: keep decoded crops in memory.
    """

    epochs: int = Field(default=60, ge=1, le=MAX_EPOCHS)
    ids: int = Field(default=16, ge=2, le=4096)
    images: int = Field(default=4, ge=2, le=4096)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=3.5e-4, gt=0, le=100)
    weight_decay: float = Field(default=5e-4, ge=0, le=100)
    warmup: int = Field(default=10, ge=0, le=MAX_EPOCHS)
    schedule: Literal["cosine", "step"] = "step"
    milestones: tuple[float, ...] = (0.33, 0.58)
    flip: float = Field(default=0.5, ge=0, le=1)
    pad: int = Field(default=10, ge=0, le=MAX_SIDE)
    erase: float = Field(default=0.5, ge=0, le=1)
    jitter: float = Field(default=0.0, ge=0, lt=1)
    holdout: float = Field(default=0.1, ge=0, lt=1)
    patience: int = Field(default=0, ge=0, le=MAX_EPOCHS)
    seed: int = Field(default=0, ge=0, lt=2**32)
    amp: bool = True
    device: str | None = None
    workers: int = Field(default=2, ge=0, le=256)
    cache: bool = False

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
    """Self-distillation: the deepest stage teaches the shallower ones (Zhang et al. 2019, arXiv 1905.08094).

    For runs without ``terms``.

    Attributes:
        enabled: ``--kd``.
        teacher_stage: the stage that teaches.
        student_stages: the stages that learn; all before the teacher when empty.
        ce_weight: cross-entropy of each auxiliary head.
        kl_weight: KL to the teacher stage.
        feature_weight: ``--feature-loss-coefficient``.
        temperature: of the soft labels.
    """

    enabled: bool = False
    teacher_stage: str = "layer4"
    student_stages: tuple[str, ...] = ()
    ce_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    kl_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    feature_weight: float = Field(default=0.03, ge=0, le=MAX_WEIGHT)
    temperature: float = Field(default=3.0, gt=0, le=1000)

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
    """Distillation from trained networks; all but ``teacher`` are for runs without ``terms``.

    Attributes:
        teacher: their checkpoints; several teach by the mean.
        logit: loss between soft labels: true Jensen-Shannon ``js``, symmetric ``sym_kl`` (FastReID's "JS"), ``kl``.
        logit_weight, temperature: of that loss.
        overhaul_weight: feature loss of Heo et al. 2019 between the last stages.
        relation_weight: distances and angles of Park et al. 2019.
    """

    teacher: tuple[str, ...] = ()
    logit: str = "js"
    logit_weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    temperature: float = Field(default=4.0, gt=0, le=1000)
    overhaul_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)
    relation_weight: float = Field(default=0.0, ge=0, le=MAX_WEIGHT)

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
    """How it is tested.

    Attributes:
        feature: global embedding, local stripes, or both distances added.
        local_share: weight of the local distance in ``both``.
        cameras: drop matches of the query's own camera; None where the data has several cameras.
        ap: ``rectangle`` (torchreid) or ``trapezoid`` (the official Market code).
        rerank, k1, k2, lambda_value: k-reciprocal re-ranking.
        expand: neighbours of average query expansion; 0 is off.
        max_rank: length of the CMC curve.
        batch: crops in a batch.
    """

    __test__ = False  # no test class for pytest

    feature: Feature = "global"
    local_share: float = Field(default=0.3, gt=0, le=1000)
    cameras: bool | None = None
    ap: Literal["rectangle", "trapezoid"] = "rectangle"
    rerank: bool = False
    k1: int = Field(default=20, ge=1, le=10_000)
    k2: int = Field(default=6, ge=1, le=10_000)
    lambda_value: float = Field(default=0.3, ge=0, le=1)
    expand: int = Field(default=0, ge=0, le=10_000)
    max_rank: int = Field(default=50, ge=1, le=100_000)
    batch: int = Field(default=64, ge=1, le=65_536)


class ReIDConfig(StrictModel):
    """Everything that decides a ReID run.

    Attributes:
        data: folder of a ReID set; None is the built-in one.
        terms: the losses of the run; None takes those that the weights of ``loss``, ``self_kd`` and ``distill`` say.
        network, loss, train, self_kd, distill, test: see their models.
    """

    data: str | None = None
    terms: list[TermSettings] | None = Field(default=None, min_length=1)
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
        if self.terms is not None:
            wrong = problems_of(self.terms, has_teacher=bool(self.distill.teacher), has_local=self.network.local)
            if wrong:
                raise ValueError("terms: " + " ".join(wrong))
            return self
        if not (self.loss.id_weight or self.loss.triplet_weight or self.loss.circle_weight):
            raise ValueError("no loss is left: set loss.id_weight, loss.triplet_weight or loss.circle_weight.")
        self._terms_of_weights()  # what is wrong with the parameters of one is said here
        return self

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
