"""A detector of people: the class is found by its name, whatever else the network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.fingerprint import file_hash
from kd_yolo.base.reading import first_few, regular_file
from kd_yolo.base.registry import nearest
from kd_yolo.search.frames.frame_types import ImageHW3, People
from kd_yolo.search.settings import DetectorSettings

if TYPE_CHECKING:
    from kd_yolo.yolo.detect import BatchDetector

SHOWN = 20


@dataclass(frozen=True)
class PersonDetector:
    """Finds the people in frames.

    Attributes:
        settings: as given.
        network: the loaded weights.
        class_id: the class of people.
    """

    settings: DetectorSettings
    network: BatchDetector
    class_id: int

    @classmethod
    def open(cls, settings: DetectorSettings, *, trust: bool = False) -> PersonDetector:
        """Loads the network.

        Args:
            settings: which weights, class and device.
            trust: load whatever the file holds, code included.

        Raises:
            InputError: the weights cannot be used.
            ConfigError: no class of that name, no such device.
        """
        from kd_yolo.yolo.detect import BatchDetector

        if Path(settings.weights).exists():
            regular_file(settings.weights, "weights")
        network = BatchDetector.open(settings.weights, settings.device, trust=trust)
        return cls(settings, network, class_of_people(network.names, settings))

    @property
    def file(self) -> Path:
        """The weights, wherever they were found."""
        return Path(self.network.file).absolute()

    @property
    def hash(self) -> str:
        """The first 16 hex digits of the weights' SHA-256."""
        return file_hash(self.file)

    def detect(self, images_bgr: Sequence[ImageHW3], conf: float) -> list[People]:
        """The people in each image, best first, without tracks.

        Args:
            images_bgr: (H,W,3) uint8 each; those of one size go through the network together.
            conf: least score.
        """
        from kd_yolo.yolo.detect import Search

        search = Search(self.class_id, self.settings.imgsz, conf, self.settings.iou)
        return [People(boxes_xyxy_m4, scores_m) for boxes_xyxy_m4, scores_m in self.network.find(images_bgr, search)]


def class_of_people(names: Mapping[int, str], settings: DetectorSettings) -> int:
    """The id of the class of people.

    Args:
        names: class names by id; the only one counts whatever it is.
        settings: the name that is wanted; case does not matter where no class is written exactly so.

    Raises:
        ConfigError: several classes, none of that name.
    """
    wanted = settings.person
    if len(names) == 1:
        return next(iter(names))
    for key, name in names.items():
        if name == wanted:
            return key
    for key, name in names.items():
        if name.casefold() == wanted.casefold():
            return key
    raise ConfigError(
        f"{settings.weights} has no class '{wanted}'.{nearest(wanted, names.values())}"
        f" Name its class of people with --person: {first_few(names.values(), SHOWN)}."
    )
