"""``PruneModel``: the chain as a class, one method a stage."""

from __future__ import annotations

import logging
import shutil
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kd_yolo.data.folder import new_folder, remove_if_empty
from kd_yolo.distill.defaults import find_weights
from kd_yolo.distill.demo import demo_data
from kd_yolo.errors import ConfigError
from kd_yolo.pipeline import stages
from kd_yolo.pipeline.state import State, file_hash
from kd_yolo.pipeline.step import Step
from kd_yolo.report.compare import Comparison, compare

log = logging.getLogger("kd_yolo")


class PruneModel:
    """A detector on its way through sparse training, pruning, retraining and distillation.

    Each method works on what the method before it made, returns a :class:`~kd_yolo.pipeline.step.Step` (path, metrics)
    and notes it in ``state.json``. With the same ``folder`` a second process skips what is finished and resumes the
    training that was cut off; other settings for a stage that was started are refused.

    Args:
        model: weights, or a model YAML for a network from nothing.
        folder: where everything goes; None makes ``runs/prune/<model>-chain[-n]``.
        trust_weights: load checkpoints that name classes outside the allow-list: runs the code they hold.
        **arguments: ultralytics arguments for every training (``imgsz=320, batch=16, device="cpu", seed=1``).

    Raises:
        ConfigError: an argument that ultralytics does not know.
        InputError: the weights are missing or unusable.
    """

    def __init__(
        self,
        model: str | Path = "yolov8n.pt",
        *,
        folder: str | Path | None = None,
        trust_weights: bool = False,
        **arguments: Any,
    ) -> None:
        self.weights = stages.check_weights(find_weights(model), trust=trust_weights)
        self.trust_weights = trust_weights
        self.arguments = stages.check_arguments(arguments)
        self.folder = (
            Path(folder).resolve()
            if folder is not None
            else new_folder(Path("runs/prune").resolve() / f"{Path(self.weights).stem}-chain")
        )
        if folder is None:
            weakref.finalize(self, remove_if_empty, self.folder)  # a name that was reserved and not used
        self.state = State(self.folder)
        self.unpruned: str | None = None
        self._data: str | None = None
        self._calls: dict[str, int] = {}

    # -- stages --------------------------------------------------------------------------------------------------------
    def base_train(
        self, data: str | Path | None = None, epochs: int = 50, save_dir: str | Path | None = None, **arguments: Any
    ) -> Step:
        """Trains the network as it is: what pruning starts from when the weights do not know the data yet."""
        return self._train("base", stages.retrain, data, epochs, save_dir, arguments)

    def sparse_train(
        self,
        data: str | Path | None = None,
        epochs: int = 50,
        sparsity: float = 0.5,
        save_dir: str | Path | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains with a proximal L1 penalty that makes BatchNorm gammas exactly zero.

        Args:
            data: data YAML; None is the one of an earlier call, else the built-in set.
            epochs: how long.
            sparsity: share of the gammas of prunable channels that are zero at the end.
            save_dir: a file to which the result is copied (``weights/sparse.pt``).
            **arguments: ultralytics arguments.
        """
        arguments = {**arguments, "sparsity": sparsity}
        return self._train("sparse", stages.sparse_train, data, epochs, save_dir, arguments)

    def prune(
        self,
        factor: float | None = None,
        save_dir: str | Path | None = None,
        data: str | Path | None = None,
        retrain_epochs: int = 0,
        **settings: Any,
    ) -> Step:
        """Removes channels.

        Args:
            factor: share of the prunable channels that is REMOVED; 0.2 when neither it nor a target is given.
            save_dir: a file to which the result is copied (``weights/prune.pt``).
            data: data YAML for Taylor importance and BatchNorm recalibration; None is the one of an earlier call;
                without any, channels are ranked by their L2 norm.
            retrain_epochs: with ``iterative=N``, epochs of training between the steps.
            **settings: as in :class:`kd_yolo.config.prune.PruneSettings` (``importance``, ``target_flops``, ``plan``,
                ``round_to``, ``ignore``, ...).
        """
        if data is not None:
            self._data = str(data)
        self.unpruned = self.unpruned or self.weights
        shared: dict[str, Any] = {
            key: self.arguments[key] for key in ("imgsz", "device", "seed") if key in self.arguments
        }
        between = {"retrain_epochs": retrain_epochs, "train": self.arguments} if retrain_epochs else {}
        settings = {"factor": factor, **shared, **settings, "data": self._data, **between}
        return self._stage("prune", settings, save_dir, stages.prune)

    def train(
        self,
        data: str | Path | None = None,
        epochs: int = 50,
        save_dir: str | Path | None = None,
        loss_type: str | None = None,
        **arguments: Any,
    ) -> Step:
        """Retrains; a pruned network keeps its widths.

        Args:
            data: as in :meth:`sparse_train`.
            epochs: how long.
            save_dir: a file to which the result is copied.
            loss_type: ``"sparse"`` is :meth:`sparse_train`, as in the class that this one replaces.
            **arguments: ultralytics arguments.

        Raises:
            ConfigError: another ``loss_type``.
        """
        if loss_type == "sparse":
            return self.sparse_train(data, epochs, save_dir=save_dir, **arguments)
        if loss_type is not None:
            raise ConfigError(
                f"loss_type is {loss_type!r}, train() knows None and 'sparse'; losses between two networks: distill()"
            )
        return self._train("retrain", stages.retrain, data, epochs, save_dir, arguments)

    def distill(
        self,
        teacher: str | Path | None = None,
        loss_type: str | list[Any] | None = None,
        data: str | Path | None = None,
        epochs: int = 100,
        save_dir: str | Path | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains under a frozen teacher.

        Args:
            teacher: its weights; None is the network as it was before pruning.
            loss_type: as ``train_distill.py --loss``; None is its default.
            data: as in :meth:`sparse_train`.
            epochs: how long.
            save_dir: a file to which the result is copied.
            **arguments: ultralytics arguments, and ``weight``, ``tau``, ``taps``, ``schedule``, ``stop_at``.
        """
        teacher = str(teacher) if teacher is not None else self.unpruned
        if teacher is None:
            raise ConfigError("distill() needs a teacher: nothing was pruned in this chain. distill('best.pt', ...)")
        arguments = {**arguments, "teacher": find_weights(teacher), "loss": loss_type}
        return self._train("distill", stages.distill, data, epochs, save_dir, arguments)

    # -- use -----------------------------------------------------------------------------------------------------------
    def export(self, format: str = "onnx", **arguments: Any) -> Path:
        """Exports the current weights; see ultralytics' export mode."""
        return stages.export(self.weights, format, arguments, trust=self.trust_weights)

    def predict(self, source: str | Path | Sequence[str | Path], **arguments: Any) -> list[Path]:
        """Draws boxes and an arrow from each box to its parent; returns the pictures, in ``<folder>/predict``."""
        from kd_yolo.pipeline.relations import predict_file

        return predict_file(self.weights, source, self.folder / "predict", imgsz=self.imgsz, **arguments)

    def evaluate(self, data: str | Path, split: str = "val", **arguments: Any) -> Any:
        """Precision, recall and F1 of parent links on ``images/<split>`` and ``plabels/<split>``; says them too."""
        from kd_yolo.pipeline.relations import evaluate_file

        result = evaluate_file(self.weights, Path(data), split, imgsz=self.imgsz, **arguments)
        log.warning("%s", result)
        return result

    @staticmethod
    def compare(weights: Sequence[str | Path], data: str | Path | None = None, **settings: Any) -> Comparison:
        """A table of any weights; see :func:`kd_yolo.report.compare.compare`."""
        return compare([find_weights(path) for path in weights], data=None if data is None else str(data), **settings)

    # -- machinery -----------------------------------------------------------------------------------------------------
    @property
    def imgsz(self) -> int:
        """Longer side of the pictures in pixels."""
        return int(self.arguments.get("imgsz", 640))

    @property
    def data(self) -> str | None:
        """The data YAML of the latest stage that had one."""
        return self._data

    def unpruned_step(self) -> Step:
        """The network before pruning as a step: what a chain that trains nothing before pruning is compared with."""
        assert self.unpruned is not None, "prune() was called"
        settings = {**self.arguments, "data": self._data}
        job = stages.Job("unpruned", self.unpruned, self.folder, settings, self.trust_weights)
        return stages.measured(job, Path(self.unpruned))

    def _train(
        self,
        name: str,
        run: Callable[[stages.Job], Step],
        data: str | Path | None,
        epochs: int,
        save_dir: str | Path | None,
        arguments: dict[str, Any],
    ) -> Step:
        self._data = self._choose_data(data)
        return self._stage(name, {**self.arguments, **arguments, "data": self._data, "epochs": epochs}, save_dir, run)

    def _choose_data(self, data: str | Path | None) -> str:
        if data is not None or self._data is not None:
            return str(data if data is not None else self._data)
        built_in, defaults = demo_data(write=True)
        self.arguments = {**defaults, **self.arguments}
        log.warning("no data: the built-in street scenes, %s", built_in)
        return built_in

    def _stage(
        self, name: str, settings: dict[str, Any], save_dir: str | Path | None, run: Callable[[stages.Job], Step]
    ) -> Step:
        """Runs a stage, resumes it, or finds it finished; afterwards its result is the current network."""
        self._calls[name] = count = self._calls.get(name, 0) + 1
        stage = name if count == 1 else f"{name}{count}"
        if save_dir is not None and Path(save_dir).suffix != ".pt":
            raise ConfigError(f"save_dir is {str(save_dir)!r}, expected the name of a file such as weights/prune.pt.")
        job = stages.Job(stage, self.weights, self.folder / stage, settings, self.trust_weights)
        job.check()
        with self.state.locked():
            step = self._run_or_find(job, run)
        if save_dir is not None:
            _copy(step.path, Path(save_dir))
        self.weights = str(step.path)
        return step

    def _run_or_find(self, job: stages.Job, run: Callable[[stages.Job], Step]) -> Step:
        settings = {**job.settings, "weights": file_hash(job.weights)}
        step = self.state.find(job.stage, settings)
        if step is not None:
            log.warning("stage '%s' is finished already: %s", job.stage, step.path)
            return step
        job.check_inputs()  # before anything is written: a call that fails must not bind the next one
        self.state.begin(job.stage, settings)
        step = run(job)
        self.state.finish(step)
        log.warning("%s", step)
        return step


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)
