"""``PruneModel``: the chain as a class, one method a stage."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd_yolo.base.errors import ConfigError
from kd_yolo.base.files import write_bytes
from kd_yolo.base.places import find_weights, new_folder, remove_if_empty
from kd_yolo.builtin.demo import demo_data
from kd_yolo.pipeline import calls, stages
from kd_yolo.pipeline.calls import PathLike
from kd_yolo.pipeline.state import State, file_hash
from kd_yolo.pipeline.step import Step
from kd_yolo.pipeline.use import ModelUse
from kd_yolo.yolo.arguments.check import DEFAULTS

log = logging.getLogger("kd_yolo")
EPOCHS = {"base": 50, "sparse": 50, "retrain": 50, "distill": 100, "qat": 10}  # when nobody says it


class PruneModel(ModelUse):
    """A detector on its way through sparse training, pruning, retraining and distillation.

    Each method works on what the method before it made, returns a :class:`~kd_yolo.pipeline.step.Step` (path, metrics)
    and notes it in ``state.json``. With the same ``folder`` a second process skips what is finished and resumes the
    training that was cut off; other settings for a stage that was started are refused.

    A stage takes its data or, as a ``.pt``, the file to write without a name: ``sparse_train("weights/sparse.pt")``.
    ``data_path=`` is ``data=``, ``t_weight=`` is ``teacher=``.

    Args:
        model: weights, or a model YAML to train from scratch; also ``weights=``; None is ``yolov8n.pt``.
        data: data YAML of every stage; None is the built-in set.
        folder: where everything goes; None makes ``runs/prune/<model>-chain[-n]``.
        trust_weights: load checkpoints that name classes outside the allow-list: runs the code they hold.
        **arguments: ultralytics arguments for every training (``imgsz=320, batch=16, device="cpu", seed=1``).

    Raises:
        ConfigError: an argument that is not known, or given twice.
        InputError: the weights are missing or unusable.
    """

    def __init__(
        self,
        model: PathLike | None = None,
        *,
        data: PathLike | None = None,
        folder: PathLike | None = None,
        trust_weights: bool = False,
        **arguments: Any,
    ) -> None:
        model = calls.take(arguments, "model", model, "PruneModel()")
        data = calls.take(arguments, "data", data, "PruneModel()")
        self._data, _ = calls.data_and_target("PruneModel()", None, data, None)
        calls.check_names("PruneModel()", arguments, ("model", "data", "folder", "trust_weights"), DEFAULTS)
        self.weights = stages.check_weights(find_weights(calls.name(model or "yolov8n.pt")), trust=trust_weights)
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
        self._calls: dict[str, int] = {}

    # -- stages --------------------------------------------------------------------------------------------------------
    def base_train(
        self,
        path: PathLike | None = None,
        /,
        epochs: int | None = None,
        save_dir: PathLike | None = None,
        *,
        data: PathLike | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains the network as it is: what pruning starts from when the weights do not know the data yet."""
        call = calls.Call("base_train()", path, data, save_dir)
        return self._train("base", stages.retrain, call, epochs, arguments)

    def sparse_train(
        self,
        path: PathLike | None = None,
        /,
        epochs: int | None = None,
        sparsity: float = 0.5,
        save_dir: PathLike | None = None,
        *,
        data: PathLike | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains with a proximal L1 penalty that makes BatchNorm gammas exactly zero.

        Args:
            path: a data YAML, or the ``.pt`` file that the result is copied to.
            epochs: how long; 50 when neither this nor ``PruneModel(epochs=)`` says it.
            sparsity: share of the gammas of prunable channels that are zero at the end.
            save_dir: a file to which the result is copied (``weights/sparse.pt``).
            data: data YAML; None is the one of an earlier call, else the built-in set.
            **arguments: ultralytics arguments.
        """
        call = calls.Call("sparse_train()", path, data, save_dir)
        return self._train("sparse", stages.sparse_train, call, epochs, {**arguments, "sparsity": sparsity})

    def prune(
        self,
        first: float | PathLike | None = None,
        /,
        save_dir: PathLike | None = None,
        data: PathLike | None = None,
        retrain_epochs: int = 0,
        *,
        factor: float | None = None,
        **settings: Any,
    ) -> Step:
        """Removes channels.

        Args:
            first: the factor, or the ``.pt`` file that the result is copied to.
            save_dir: a file to which the result is copied (``weights/prune.pt``).
            data: data YAML for Taylor importance and BatchNorm recalibration; None is the one of an earlier call;
                without any, channels are ranked by their L2 norm.
            retrain_epochs: with ``iterative=N``, epochs of training between the steps.
            factor: share of the prunable channels that is REMOVED; 0.2 when neither it nor a target is given.
            **settings: as in :class:`kd_yolo.config.prune.PruneSettings` (``importance``, ``target_flops``, ``plan``,
                ``round_to``, ``ignore``, ...).
        """
        factor, save_dir = calls.factor_and_target(first, factor, save_dir)
        data = calls.take(settings, "data", data, "prune()")
        data, save_dir = calls.data_and_target("prune()", None, data, save_dir)
        calls.check_names("prune()", settings, stages.PRUNE_NAMES)
        data, before = data or self._data, self.weights
        shared: dict[str, Any] = {
            key: self.arguments[key] for key in ("imgsz", "device", "seed") if key in self.arguments
        }
        between = {"retrain_epochs": retrain_epochs, "train": self.arguments} if retrain_epochs else {}
        settings = {"factor": factor, **shared, **settings, "data": data, **between}
        step = self._stage("prune", settings, save_dir, stages.prune)
        self._data, self.unpruned = None if data is None else str(data), self.unpruned or before
        return step

    def train(
        self,
        path: PathLike | None = None,
        /,
        epochs: int | None = None,
        save_dir: PathLike | None = None,
        loss_type: str | None = None,
        *,
        data: PathLike | None = None,
        **arguments: Any,
    ) -> Step:
        """Retrains; a pruned network keeps its widths.

        Args:
            path: as in :meth:`sparse_train`.
            epochs: how long.
            save_dir: a file to which the result is copied.
            loss_type: ``"sparse"`` is :meth:`sparse_train`, as in the class that this one replaces.
            data: data YAML.
            **arguments: ultralytics arguments.

        Raises:
            ConfigError: another ``loss_type``.
        """
        loss_type = calls.take(arguments, "loss_type", loss_type, "train()")
        if loss_type == "sparse":
            return self.sparse_train(path, epochs, save_dir=save_dir, data=data, **arguments)
        if loss_type is not None:
            raise ConfigError(
                f"loss_type is {loss_type!r}, train() knows None and 'sparse'; losses between two networks: distill()"
            )
        return self._train("retrain", stages.retrain, calls.Call("train()", path, data, save_dir), epochs, arguments)

    def distill(
        self,
        teacher: PathLike | None = None,
        loss_type: str | list[Any] | None = None,
        path: PathLike | None = None,
        epochs: int | None = None,
        save_dir: PathLike | None = None,
        *,
        data: PathLike | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains under a frozen teacher.

        Args:
            teacher: its weights, also ``t_weight=``; None is the network as it was before pruning.
            loss_type: as ``train_distill.py --loss``; None is its default (the class that this one replaces took
                ``"mgd"``: say it to have that).
            path: a data YAML, or the ``.pt`` file that the result is copied to.
            epochs: how long; 100 when neither this nor ``PruneModel(epochs=)`` says it.
            save_dir: a file to which the result is copied.
            data: data YAML; None is the one of an earlier call, else the built-in set.
            **arguments: ultralytics arguments, and ``weight``, ``tau``, ``taps``, ``schedule``, ``stop_at``.
        """
        teacher = calls.take(arguments, "teacher", teacher, "distill()") or self.unpruned
        loss_type = calls.take(arguments, "loss_type", loss_type, "distill()")
        if teacher is None:
            raise ConfigError("distill() needs a teacher: nothing was pruned in this chain. distill('best.pt', ...)")
        calls.check_loss(loss_type)
        own = {"teacher": find_weights(calls.name(teacher))}
        call = calls.Call("distill()", path, data, save_dir)
        return self._train("distill", stages.distill, call, epochs, {**arguments, **own, "loss": loss_type})

    def qat(
        self,
        teacher: PathLike | None = None,
        loss_type: str | list[Any] | None = None,
        path: PathLike | None = None,
        epochs: int | None = None,
        save_dir: PathLike | None = None,
        *,
        data: PathLike | None = None,
        **arguments: Any,
    ) -> Step:
        """Trains for INT8 (ultralytics' ``quantize=8``) under a teacher: the last stage, before :meth:`export`.

        Args:
            teacher: its weights, also ``t_weight=``; None is the network itself before it is rounded.
            loss_type: as in :meth:`distill`, and so are the others.
            path: the data YAML or the file to write.
            epochs: 10 when nobody says it.
            save_dir: the file to write.
            data: the data YAML.
            **arguments: without them AdamW at ``lr0=1e-4``, no warm-up.

        Raises:
            MissingDependencyError: the extra ``qat`` is not installed.
        """
        teacher = calls.take(arguments, "teacher", teacher, "qat()") or self.weights
        loss_type = calls.take(arguments, "loss_type", loss_type, "qat()")
        calls.check_loss(loss_type)
        own = {"teacher": find_weights(calls.name(teacher)), "loss": loss_type}
        call = calls.Call("qat()", path, data, save_dir)
        return self._train("qat", stages.qat, call, epochs, {**stages.QAT, **arguments, **own})

    # -- machinery -----------------------------------------------------------------------------------------------------
    def _train(
        self,
        name: str,
        run: Callable[[stages.Job], Step],
        call: calls.Call,
        epochs: int | None,
        arguments: dict[str, Any],
    ) -> Step:
        data, save_dir = call.resolve(arguments)
        calls.check_names(call.method, arguments, ("data", "epochs", "save_dir", *stages.OURS[name]), DEFAULTS)
        chosen = self._choose_data(data)
        epochs = self.arguments.get("epochs", EPOCHS[name]) if epochs is None else epochs
        step = self._stage(name, {**self.arguments, **arguments, "data": chosen, "epochs": epochs}, save_dir, run)
        self._data = chosen  # a call that fails leaves no trace
        return step

    def _choose_data(self, data: str | None) -> str:
        if data is not None or self._data is not None:
            return str(data if data is not None else self._data)
        built_in, defaults = demo_data(write=True)
        self.arguments = {**defaults, **self.arguments}
        log.warning("no data: the built-in street scenes, %s", built_in)
        return built_in

    def _stage(
        self, name: str, settings: dict[str, Any], save_dir: PathLike | None, run: Callable[[stages.Job], Step]
    ) -> Step:
        """Runs a stage, resumes it, or finds it finished; afterwards its result is the current network."""
        count = self._calls.get(name, 0) + 1
        stage = name if count == 1 else f"{name}{count}"
        calls.check_target(save_dir)
        job = stages.Job(stage, self.weights, self.folder / stage, settings, self.trust_weights)
        job.check()
        with self.state.locked():
            step = self._run_or_find(job, run)
        if save_dir is not None:
            write_bytes(Path(save_dir), step.path.read_bytes())
        self.weights, self._calls[name] = str(step.path), count
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
