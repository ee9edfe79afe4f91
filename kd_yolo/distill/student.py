"""What the terms read of the student: its head's inputs and outputs, and other layers by hooks for one forward pass."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

from torch import Tensor, nn

from kd_yolo.base.errors import ConfigError
from kd_yolo.distill.adapters import TrainingOnly
from kd_yolo.distill.build import named_terms
from kd_yolo.distill.outputs import BranchKey, Outputs
from kd_yolo.distill.taps import TapError, read_layers, read_modules
from kd_yolo.yolo.heads import head_branches, head_facts, is_decoder, raw_outputs
from kd_yolo.yolo.queries import trained_queries

NO_HOOKS = "compile=True works with taps=head only, and without crosskd: hooks in the student break the compiled graph."
NO_DECODER = "compile=True does not work for an RT-DETR: ultralytics then trains it without its denoising queries."


class StudentReader:
    """Reads the student while it trains.

    Args:
        model: the live student, not wrapped.
        terms: the terms by column name.

    Attributes:
        extra_layers: tapped layers that the head's outputs do not hold: those that are no inputs of a head with
            levels, and all of a decoder's.
        hooks: whether hooks on the student are needed in every step.
    """

    def __init__(self, model: nn.Module, terms: TrainingOnly) -> None:
        self.model = model
        self.head_layers = () if is_decoder(model) else head_facts(model).layers
        members = [member for term in named_terms(terms).values() for member in term.members()]
        layers = {pair.student.layer for member in members for pair in member.pairs}
        self.extra_layers = sorted(layers - set(self.head_layers))
        self.reads_branches = any(member.reads_branches for member in members)
        self.hooks = bool(self.extra_layers) or self.reads_branches
        self._reading = ExitStack()
        self._seen: dict[int, Tensor] = {}
        self._branches: dict[BranchKey, Tensor] = {}

    def check_compiled(self) -> None:
        """Refuses ``compile=True`` where it breaks what is read of the student, or its own training.

        Raises:
            ConfigError: always for an RT-DETR; for terms that read by hooks.
        """
        if is_decoder(self.model):
            raise ConfigError(NO_DECODER)
        if self.hooks:
            raise ConfigError(NO_HOOKS)

    def watch(self) -> None:
        """Hooks what only a hook can read, for the forward pass that follows."""
        if self.extra_layers:
            self._seen = self._reading.enter_context(read_layers(self.model, self.extra_layers))
        if self.reads_branches:
            self._branches = self._reading.enter_context(read_modules(head_branches(self.model)))

    def outputs(self, preds: Any) -> Outputs:
        """What the student said in the forward pass that gave ``preds``; removes the hooks.

        Raises:
            TapError: a tapped layer did not run exactly once.
        """
        seen, branches = self._seen, self._branches
        self._reading.close()
        self._seen, self._branches = {}, {}
        if is_decoder(self.model):
            return Outputs(seen, None, queries=trained_queries(preds))
        raw = raw_outputs(preds)
        features = dict(zip(self.head_layers, raw["feats"], strict=True))
        return Outputs({**features, **seen}, raw, branches)

    def forget(self) -> None:
        """Drops what was read and removes the hooks (after a failed step)."""
        self._seen, self._branches = {}, {}
        with suppress(TapError):  # the forward pass that should have filled the taps never ran
            self._reading.close()
