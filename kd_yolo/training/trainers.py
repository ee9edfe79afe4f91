"""Trainers for a network as it is: ultralytics' own, but pruned widths survive and a killed run resumes exactly."""

from __future__ import annotations

from typing import Any

from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.obb import OBBTrainer
from ultralytics.models.yolo.pose import PoseTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer

from kd_yolo.training.checkpoint import CheckpointMixin
from kd_yolo.training.quantized import QuantizedMixin
from kd_yolo.training.settings import SettingsMixin
from kd_yolo.training.widths import WidthsMixin


class TrainerMixin(SettingsMixin, QuantizedMixin, WidthsMixin, CheckpointMixin):
    """What every trainer of ours adds to ultralytics' trainer of the task: settings, INT8, widths, checkpoints."""


class RetrainTrainer(TrainerMixin, DetectionTrainer):
    """Trains a detector: ``YOLO("pruned.pt").train(trainer=RetrainTrainer, data=...)``."""


class SegmentRetrainTrainer(TrainerMixin, SegmentationTrainer):
    """Trains a segmentation network."""


class PoseRetrainTrainer(TrainerMixin, PoseTrainer):
    """Trains a pose network."""


class OBBRetrainTrainer(TrainerMixin, OBBTrainer):
    """Trains an oriented-box network."""


class ClassifyRetrainTrainer(TrainerMixin, ClassificationTrainer):
    """Trains a classifier."""


class RTDETRRetrainTrainer(TrainerMixin, RTDETRTrainer):
    """Trains an RT-DETR detector."""


RETRAINERS: dict[str, Any] = {
    "detect": RetrainTrainer,
    "segment": SegmentRetrainTrainer,
    "pose": PoseRetrainTrainer,
    "obb": OBBRetrainTrainer,
    "classify": ClassifyRetrainTrainer,
    "rtdetr": RTDETRRetrainTrainer,
}
