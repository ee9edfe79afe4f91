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
    """What a query asks for."""

    top: int = Field(default=10, ge=1, le=10_000)
    """Number of crops to show."""
    threshold: float | None = Field(default=None, ge=-1, le=2)
    """Largest cosine distance at which two crops show one person (default: the calibrated one, if any)."""
    nth: int | None = Field(default=None, ge=1, le=1000)
    """Which person of a whole image to search for; 1 is the largest (default: 1)."""


class ForgetRules(FiniteModel):
    """Which crops to remove, by number: a track, and the first and last second (``from`` and ``to``)."""

    track: int | None = Field(default=None, ge=-1)
    """Number of a track of --source (default: any)."""
    start: float | None = Field(default=None, ge=0, alias="from")
    """First second in the source (default: the beginning)."""
    end: float | None = Field(default=None, ge=0, alias="to")
    """Last second in the source (default: the end)."""


class ServeRules(FiniteModel):
    """Where the page is served, and which uploads it accepts."""

    host: str = "127.0.0.1"
    """Address to listen on; any but this machine's own shows the gallery to everybody who reaches it: there is no
    password."""
    port: int = Field(default=7860, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    # the bounds fit into memory several times; PIL takes a larger image for a decompression bomb
    max_mb: float = Field(default=10.0, gt=0, le=200)
    """Largest upload in megabytes."""
    max_megapixels: float = Field(default=50.0, gt=0, le=150)
    """Largest uploaded image in millions of pixels."""


class DetectorSettings(FiniteModel):
    """How people are detected."""

    weights: str = Field(default="yolov8n.pt", min_length=1)
    """The person detector, a .pt file: official, pruned or distilled."""
    person: str = Field(default="person", min_length=1)
    """Name of the detector's person class; a model with one class needs no name."""
    imgsz: int = Field(default=640, ge=32, le=8192)
    """Longer side of the detector's input in pixels."""
    iou: float = Field(default=0.7, gt=0, le=1)
    """IoU threshold of non-maximum suppression."""
    batch: int = Field(default=8, ge=1, le=4096)
    """Frames per batch of the detector."""
    device: str | None = None
    """cpu, cuda, cuda:1 or 0 (default: a GPU if there is one)."""

    @field_validator("device", mode="before")
    @classmethod
    def _device_as_text(cls, value: Any) -> Any:
        return f"cuda:{value}" if str(value).isdigit() else value


class CropRules(FiniteModel):
    """Which boxes become crops, and what is cut out for them.

    Boxes are clipped to the frame and rounded to whole pixels; size and border count before padding.
    """

    conf: float = Field(default=0.4, gt=0, lt=1)
    """Minimum score of a box."""
    min_height: int = Field(default=32, ge=1)
    """Minimum height of a box in pixels of the frame."""
    min_width: int = Field(default=12, ge=1)
    """Minimum width of a box in pixels of the frame."""
    pad: float = Field(default=0.05, ge=0, le=1)
    """Margin added on each side, as a share of the box's height and width, within the frame."""
    aspect: float | None = Field(default=None, ge=0.1, le=10)
    """Height / width of the crops: the shorter side grows, with gray outside the frame (default: as the box)."""
    blur_min: float = Field(default=0.0, ge=0)
    """Minimum sharpness: variance of the Laplacian of the box, scaled to 128 pixels in height; 150 drops clearly
    blurred crops, 0 keeps all."""
    max_truncated: int | None = Field(default=None, ge=0, le=4)
    """How many of the frame's four borders a box may touch; 0 keeps whole people only (default: any)."""


class CropsConfig(FiniteModel):
    """Everything that decides which crops a source gives, and what cuts them out."""

    detector: DetectorSettings = DetectorSettings()
    """How people are detected."""
    rules: CropRules = CropRules()
    """Which boxes become crops, and what is cut out for them."""
    stride: int = Field(default=1, ge=1)
    """Take every n-th frame of a video or stream."""
    camera: int | None = Field(default=None, ge=0, le=999_999)
    """Camera number (default: from names like 0002_c1s1_000451_03.jpg or cam1.mp4, else one per video and folder)."""
    embed: str | None = Field(default=None, min_length=1)
    """ReID network (.pt or .onnx) whose embeddings are written beside the crops; search index reuses them."""
    engine: Literal["local", "ray"] = "local"
    """local: this process; ray: many processes, on all machines of a Ray cluster."""
    workers: int | None = Field(default=None, ge=1, le=4096)
    """Processes of the Ray engine (default: one per GPU, without GPUs one per CPU core)."""
    ray_address: str | None = Field(default=None, min_length=1)
    """Ray cluster to join: auto or host:port (default: one is started on this machine for the run)."""

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
