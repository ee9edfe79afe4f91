"""What the terms of a distillation run add to its checkpoints: they are saved for a resume, and in no student."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultralytics.utils.torch_utils import unwrap_model

from kd_yolo.config.distill import DistillConfig
from kd_yolo.distill.criterion import DistillCriterion
from kd_yolo.training.trainers import TrainerMixin
from kd_yolo.yolo.files.loading import load_checkpoint_dict

TERMS = "kd_adapters"  # the live student's child that holds the terms


class TermsCheckpointMixin(TrainerMixin):
    """Saves, restores and hides the terms; the other half of :class:`~kd_yolo.distill.trainer.DistillationMixin`."""

    kd_config: DistillConfig
    criterion: DistillCriterion | None = None
    unsaved = "adapters and random states"

    def _setup_train(self) -> None:
        super()._setup_train()
        self.ema.ema._modules.pop(TERMS, None)  # the deep copy left a None there

    @contextlib.contextmanager
    def plain_model(self) -> Iterator[None]:
        """Hides terms and criterion while upstream loads state dicts strictly, copies the EMA or rebuilds criteria."""
        model = unwrap_model(self.model)
        terms = model._modules.pop(TERMS, None)
        model.criterion = None
        try:
            yield
        finally:
            rebuilt = model.criterion
            model._modules.pop("criterion", None)  # RT-DETR's is a module
            model.criterion = self.criterion
            if terms is not None:
                setattr(model, TERMS, terms)
            if self.criterion is not None and rebuilt is not None:
                self.criterion.base = rebuilt

    def own_state(self) -> dict[str, Any]:
        terms = getattr(unwrap_model(self.model), TERMS)
        assert self.criterion is not None, "set with the terms"
        return {
            **super().own_state(),
            "terms": {k: v.cpu() for k, v in terms.state_dict().items()},
            "balance": self.criterion.balance.state(),
        }

    def restore_own_state(self, state: dict[str, Any]) -> None:
        super().restore_own_state(state)
        getattr(unwrap_model(self.model), TERMS).load_state_dict(state["terms"])
        if self.criterion is not None and "balance" in state:
            self.criterion.balance.restore(state["balance"])

    def load_own(self, path: Path) -> dict[str, Any]:
        """A checkpoint of this run; it holds classes outside the allow-list only if the user trusted such a student."""
        return load_checkpoint_dict(path, trust=self.kd_config.trust_weights)
