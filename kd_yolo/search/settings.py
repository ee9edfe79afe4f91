"""Configuration of person search: how people are detected and how their crops are cut."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from kd_yolo.config.base import StrictModel, read_yaml, recipe_path


class FiniteModel(StrictModel):
    """A strict model whose numbers are numbers: nan and inf are in no range."""

    model_config = ConfigDict(allow_inf_nan=False)


class QueryRules(FiniteModel):
    """What a query asks for.

    Attributes:
        top: how many crops.
        threshold: up to which cosine distance it is the same person, below 0 for nobody; None: the calibrated one.
        nth: which person of a whole image, the largest first; None: a crop.
    """

    top: int = Field(default=10, ge=1, le=10_000)
    threshold: float | None = Field(default=None, ge=-1, le=2)
    nth: int | None = Field(default=None, ge=1, le=1000)


class ForgetRules(FiniteModel):
    """Numbers of what is to be forgotten: a track, and the first and last second (``from`` and ``to``)."""

    track: int | None = Field(default=None, ge=-1)
    start: float | None = Field(default=None, ge=0, alias="from")
    end: float | None = Field(default=None, ge=0, alias="to")


class ServeRules(FiniteModel):
    """Where a page is served; port 0 is one that is free."""

    port: int = Field(default=7860, ge=0, le=65535)


class DetectorSettings(FiniteModel):
    """How people are detected.

    Attributes:
        weights: a YOLO checkpoint: official, pruned or distilled.
        person: the class of people, by name; the only class of a one-class model counts whatever its name is.
        imgsz: longer side of the network's input in pixels.
        iou: boxes that overlap a better one by more are the same person (non-maximum suppression).
        batch: frames in a forward pass.
        device: ``cpu``, ``cuda``, ``cuda:1``, or None: a GPU where there is one.
    """

    weights: str = Field(default="yolov8n.pt", min_length=1)
    person: str = Field(default="person", min_length=1)
    imgsz: int = Field(default=640, ge=32, le=8192)
    iou: float = Field(default=0.7, gt=0, le=1)
    batch: int = Field(default=8, ge=1, le=4096)
    device: str | None = None

    @field_validator("device", mode="before")
    @classmethod
    def _device_as_text(cls, value: Any) -> Any:
        return f"cuda:{value}" if str(value).isdigit() else value


class CropRules(FiniteModel):
    """Which boxes become crops, and what is cut out for them.

    Boxes are clipped to the frame and rounded to whole pixels; size and border count before padding.

    Attributes:
        conf: least score of a box.
        min_height, min_width: least size of a box in pixels of the frame.
        pad: share of the box's height and width that is added on each side, as far as the frame goes.
        aspect: height / width of the crops: the shorter side grows, with the frame's pixels as far as it goes and
            grey beyond; None leaves the box's own.
        blur_min: least sharpness: variance of the Laplacian of the box, scaled to 128 pixels in height; 0 takes all.
        max_truncated: how many of the frame's four borders a box may touch (0: whole people only); None takes all.
    """

    conf: float = Field(default=0.4, gt=0, lt=1)
    min_height: int = Field(default=32, ge=1)
    min_width: int = Field(default=12, ge=1)
    pad: float = Field(default=0.05, ge=0, le=1)
    aspect: float | None = Field(default=None, ge=0.1, le=10)
    blur_min: float = Field(default=0.0, ge=0)
    max_truncated: int | None = Field(default=None, ge=0, le=4)


class CropsConfig(FiniteModel):
    """Everything that decides which crops a source gives, and what cuts them out.

    Attributes:
        detector, rules: see their models.
        stride: every n-th frame of a video or stream.
        camera: number of the camera; None: from the file's name or one for each folder and video.
        embed: a ReID network whose vectors are written beside the crops; None: no vectors.
        engine: ``local`` (this process) or ``ray`` (many processes, on many machines where there is a cluster).
        workers: processes of the Ray engine; None: one a GPU, without GPUs one a CPU core.
        ray_address: of a cluster to join (``auto``, ``host:6379``); None: one is started on this machine.
    """

    detector: DetectorSettings = DetectorSettings()
    rules: CropRules = CropRules()
    stride: int = Field(default=1, ge=1)
    camera: int | None = Field(default=None, ge=0, le=999_999)
    embed: str | None = Field(default=None, min_length=1)
    engine: Literal["local", "ray"] = "local"
    workers: int | None = Field(default=None, ge=1, le=4096)
    ray_address: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_engine(self) -> CropsConfig:
        given = [name for name in ("workers", "ray_address") if getattr(self, name) is not None]
        if self.engine != "ray" and given:
            raise ValueError(f"{given[0]} is of the Ray engine: add --engine ray")
        device = self.detector.device or ""
        if self.engine == "ray" and ":" in device:
            raise ValueError(f"device {device}: Ray hands out the GPUs; --device is cpu or cuda with --engine ray")
        if self.ray_address is not None and not re.fullmatch(r"auto|[^/]+:\d+", self.ray_address):
            raise ValueError(
                f"ray_address {self.ray_address}: auto, on a machine of the cluster, or the host:port of its first one"
            )
        return self


def resolve_crops(recipe: str | None, changes: dict[str, dict[str, Any] | Any]) -> CropsConfig:
    """A recipe of ``cfg/search`` with changes.

    Args:
        recipe: its name, the path of a YAML, or None for the defaults.
        changes: values of the model, those of a section under its name; they go over the recipe's.

    Raises:
        ConfigError: no such recipe, or everything that is wrong with its values.
    """
    values: dict[str, Any] = {}
    if recipe is not None:
        values = read_yaml(recipe_path(recipe, "search", what="search"))
    for key, value in changes.items():
        old = values.get(key)
        values[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return CropsConfig.parse(values, recipe or "crops settings")
