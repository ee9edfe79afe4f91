"""What is done with the network of a chain and leaves it as it is: export, drawing, scores, a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_yolo.base.places import find_weights, reserved
from kd_yolo.pipeline import calls
from kd_yolo.pipeline.calls import PathLike, name
from kd_yolo.report.compare import Comparison, compare
from kd_yolo.yolo.export import calibrates, check_export, export_model

log = logging.getLogger("kd_yolo")


class ModelUse:
    """The half of :class:`~kd_yolo.pipeline.model.PruneModel` that trains nothing.

    Attributes:
        weights: the current network.
        folder: where everything goes.
        arguments: ultralytics arguments of every training.
        trust_weights: see ``PruneModel``.
    """

    weights: str
    folder: Path
    arguments: dict[str, Any]
    trust_weights: bool
    _data: str | None

    @property
    def imgsz(self) -> int:
        """Longer side of the images in pixels."""
        return int(self.arguments.get("imgsz", 640))

    @property
    def data(self) -> str | None:
        """The data YAML of the latest stage that had one."""
        return self._data

    def export(self, format: str = "onnx", **arguments: Any) -> Path:
        """Exports the current weights into ``<folder>/export/<format>``, at the chain's ``imgsz``.

        INT8 is calibrated on the chain's data, or on ``data=``.

        Args:
            format: ultralytics' name of it (``onnx``, ``openvino``, ``torchscript``, ``engine``, ...).
            **arguments: ultralytics' export arguments (``int8=True``, ``half=True``, ``imgsz=320``, ...).

        Returns:
            The file, or the folder of a format that is one.

        Raises:
            ConfigError: an unknown format or argument, INT8 without data.
            MissingDependencyError: the format's package is not installed.
        """
        data = calls.take(arguments, "data", arguments.pop("data", None), "export()")
        if "imgsz" in self.arguments:
            arguments.setdefault("imgsz", self.imgsz)
        if data is not None:
            arguments["data"] = str(data)
        check_export(format, arguments, self.data)
        if calibrates(format, arguments):
            arguments.setdefault("data", self.data)
        with reserved(self.folder / "export" / format) as folder:
            made = export_model(self.weights, format, folder, arguments, trust=self.trust_weights)
        log.warning("exported: %s", made)
        return made

    def predict(
        self, source: PathLike | Sequence[PathLike], *, conf: float = 0.25, imgsz: int | None = None
    ) -> list[Path]:
        """Draws boxes and an arrow from each box to its parent; returns the images, in ``<folder>/predict``."""
        from kd_yolo.pipeline.relations import predict_file

        sources = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(one) for one in source]
        return predict_file(self.weights, sources, self.folder / "predict", imgsz=imgsz or self.imgsz, conf=conf)

    def evaluate(self, data: PathLike, split: str = "val", *, imgsz: int | None = None, **arguments: Any) -> Any:
        """Precision, recall and F1 of parent links on ``images/<split>`` and ``plabels/<split>``; says them too.

        Args:
            data: a folder with both, or a data YAML.
            split: such as "val".
            imgsz: longer side in pixels; None is the chain's.
            **arguments: ``conf``, ``iou_min``, ``learn_from``, see :func:`kd_yolo.pipeline.relations.evaluate_file`.
        """
        from kd_yolo.pipeline.relations import evaluate_file

        calls.check_names("evaluate()", arguments, ("data", "split", "imgsz", "conf", "iou_min", "learn_from"))
        result = evaluate_file(self.weights, Path(data), split, imgsz=imgsz or self.imgsz, **arguments)
        log.warning("%s", result)
        return result

    @staticmethod
    def compare(weights: PathLike | Sequence[PathLike], data: PathLike | None = None, **settings: Any) -> Comparison:
        """Prints a table of any weights: layers, parameters, GFLOPs, accuracy, latency; returns it.

        Args:
            weights: the files, the one that the others are compared with first.
            data: data YAML; without it accuracy is not measured.
            **settings: see :func:`kd_yolo.report.compare.compare`.
        """
        data = calls.take(settings, "data", data, "compare()")
        files = [weights] if isinstance(weights, str | os.PathLike) else weights
        found = compare(
            [find_weights(name(path)) for path in files], data=None if data is None else str(data), **settings
        )
        found.print()
        return found
