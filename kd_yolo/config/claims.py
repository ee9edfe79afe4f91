"""Claims about a league, written before its first run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kd_yolo.config.base import StrictModel
from kd_yolo.config.rows import NONE


class Claim(StrictModel):
    """One claim: a recipe is better (or worse) than a control by more than a threshold."""

    recipe: str
    """Row of the league."""
    than: str = NONE
    """Row that it is compared with."""
    sets: tuple[str, ...] = Field(min_length=1)
    """Names of the data sets for which it is claimed, each on its own."""
    split: Literal["val", "test"] = "test"
    """What it is checked on."""
    measure: Literal["gain", "share"] = "gain"
    """mAP50-95 of the recipe minus that of the control, or that as a share of the gap to the teacher."""
    alternative: Literal["greater", "less"] = "greater"
    """On which side of the threshold the whole interval has to be."""
    threshold: float = Field(default=0.0, allow_inf_nan=False)
    """0.01 is one point of mAP50-95; of a share 0.5 is half of the gap."""

    def __str__(self) -> str:
        side = ">" if self.alternative == "greater" else "<"
        what = f"{self.recipe} minus {self.than}" + (" as a share of the gap" if self.measure == "share" else "")
        return f"{what} {side} {self.threshold:g} on {self.split}"


class ClaimsFile(StrictModel):
    """A claims file."""

    question: str = ""
    """What the runs are to answer, for people."""
    claims: tuple[Claim, ...] = Field(min_length=1)
    """Checked together: their intervals are corrected for each other."""
