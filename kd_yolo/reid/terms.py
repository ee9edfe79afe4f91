"""One loss of a ReID run as a recipe lists it: ``terms: [{loss: center, weight: 5e-4, params: {rate: 0.3}}]``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.model.settings import MAX_WEIGHT, Settings

OF_TEACHERS = "teacher_"  # what the inputs begin with that need a teacher


class TermSettings(Settings):
    """One term of the sum that is minimised."""

    loss: str
    """Registered name of the loss, see :mod:`kd_yolo.reid.losses`."""
    weight: float = Field(default=1.0, ge=0, le=MAX_WEIGHT)
    """Factor of the loss; 0 leaves it out."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the loss, {rate: 0.3}."""

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, values: Any) -> Any:
        return {"loss": values} if isinstance(values, str) else values

    @field_validator("params", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _builds(self) -> TermSettings:
        from kd_yolo.reid.losses import check_loss  # torch: not for `--help`

        try:
            check_loss(self.loss[:100], self.params)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        """What the loss is called with, see :mod:`kd_yolo.reid.losses.base`."""
        from kd_yolo.reid.losses import losses

        return losses.get(self.loss).reads()

    @property
    def is_taught(self) -> bool:
        """Whether the loss looks at a teacher."""
        return any(name.startswith(OF_TEACHERS) for name in self.reads)


def named(terms: list[TermSettings]) -> dict[str, TermSettings]:
    """The terms that count by their column in ``results.csv``: ``triplet``, ``kd_logit``, a second ``triplet2``."""
    found: dict[str, TermSettings] = {}
    seen: dict[str, int] = {}
    for term in terms:
        if term.weight:
            seen[term.loss] = number = seen.get(term.loss, 0) + 1
            found[f"{'kd_' * term.is_taught}{term.loss}{number if number > 1 else ''}"] = term
    return found


def problems_of(terms: list[TermSettings], *, has_teacher: bool, has_local: bool) -> list[str]:
    """What is wrong with a list of terms as a whole."""
    found = []
    for place, term in enumerate(terms):
        if (term.loss, term.params) in [(other.loss, other.params) for other in terms[:place]]:
            found.append(
                f"loss '{term.loss}' is listed twice with the same params: list it once, with a larger weight."
            )
        if term.is_taught and not has_teacher:
            found.append(f"loss '{term.loss}' needs a teacher: kd-yolo reid distill --teacher best.pt.")
        if "local_nhd" in term.reads and not has_local:
            found.append(f"loss '{term.loss}' needs the local branch: network.local=true.")
    if not any(term.weight for term in terms):
        found.append("no loss is left: give one of them a weight above 0.")
    if has_teacher and not any(term.is_taught and term.weight for term in terms):
        found.append("no term looks at distill.teacher: add one, for example {loss: logit}.")
    return found
