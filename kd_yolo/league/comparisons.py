"""Which recipe is better than a control: gains with intervals that hold for all comparisons with that control.

A repetition is a seed; where the teacher was trained several times, it is a run of the teacher with all its seeds, so
that the teacher's spread is in every interval.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kd_yolo.config.rows import AT_COST, NONE, SHIPPED, TEACHER
from kd_yolo.league.bootstrap import Run
from kd_yolo.league.images import Array
from kd_yolo.league.intervals import (
    Contrast,
    Interval,
    Noise,
    critical_value,
    gain_interval,
    noise_of,
    share_interval,
)
from kd_yolo.league.results import LeagueResults


@dataclass(frozen=True)
class Comparison:
    """A recipe compared with a control.

    Attributes:
        recipe, control: their names.
        seeds: those that both have.
        gain: mean mAP50-95 of the recipe minus that of the control.
        interval: of the gain, corrected for ``family`` comparisons; None where nothing was repeated.
        share: gain as a share of the teacher's advantage over the control; None where its interval is not shown.
        share_interval: of that share.
        family: comparisons for which the intervals hold together.
        drawn: what the interval accounts for.
    """

    recipe: str
    control: str
    seeds: tuple[int, ...]
    gain: float
    interval: Interval | None = None
    share: float | None = None
    share_interval: Interval | None = None
    family: int = 1
    drawn: tuple[str, ...] = ()

    @property
    def is_shown(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.recipe}, {self.control}: no interval from one repetition ({self.gain:+.4f})"
        found = f"{self.gain:+.4f} ({self.interval})"
        if not self.is_shown:
            return f"{self.recipe}, {self.control}: no difference shown, {found}"
        return f"{self.recipe} {'>' if self.gain > 0 else '<'} {self.control}: {found}"


@dataclass(frozen=True)
class Evidence:
    """What comparisons are made of.

    Attributes:
        results: the finished runs.
        images: (B,) mAP50-95 in each resample of the images by run; the teacher's under its name.
    """

    results: LeagueResults
    images: Mapping[Run, Array]

    def compare(self, pairs: list[tuple[str, str]]) -> list[Comparison]:
        """Compares recipes with controls; the intervals hold together.

        Args:
            pairs: recipe and control; those without a common seed are left out.
        """
        found = [contrast for recipe, control in pairs if (contrast := self.contrast(recipe, control)) is not None]
        noise = self.noise()
        critical = critical_value(found, noise) if found and noise is not None else 0.0
        return [self._comparison(contrast, noise, critical, len(found)) for contrast in found]

    def contrast(self, recipe: str, control: str, among: tuple[int, ...] | None = None) -> Contrast | None:
        """The differences of two recipes, repetition by repetition.

        Args:
            recipe: may be the teacher.
            control: what is subtracted.
            among: only these seeds count; None is all.

        Returns:
            None where they have no seed in common.
        """
        seeds = [seed for seed in self.seeds(recipe, control) if among is None or seed in among]
        if not seeds:
            return None
        gains = {seed: self._score(recipe, seed) - self._score(control, seed) for seed in seeds}
        by_repetition: dict[int, list[float]] = {}
        for seed, gain in gains.items():
            by_repetition.setdefault(self.results.repetition(seed), []).append(gain)
        runs = [(self._run(recipe, seed), self._run(control, seed)) for seed in seeds]
        images_b = None
        if all(run in self.images for pair in runs for run in pair):
            images_b = np.mean([self.images[one] - self.images[other] for one, other in runs], axis=0)
        return Contrast(recipe, control, np.array([statistics.mean(g) for g in by_repetition.values()]), images_b)

    def seeds(self, recipe: str, control: str) -> tuple[int, ...]:
        """Seeds that two recipes have in common."""
        known = [self._seeds(name) for name in (recipe, control)]
        return tuple(sorted(known[0] & known[1]))

    def noise(self) -> Noise | None:
        """The noise of a run: from the recipes and seeds that have no gaps and say most about it."""
        results = self.results
        tables = [self._scores(results.seeds(recipe)) for recipe in results.recipes]
        found = [noise for table_ua in tables if (noise := noise_of(table_ua)) is not None]
        return max(found, key=lambda noise: noise.freedom, default=None)

    def _scores(self, seeds: list[int]) -> Array:
        """(U,A) of those recipes that have all these seeds."""
        recipes = [recipe for recipe in self.results.recipes if set(seeds) <= set(self.results.seeds(recipe))]
        groups: dict[int, list[int]] = {}
        for seed in seeds:
            groups.setdefault(self.results.repetition(seed), []).append(seed)
        return np.array(
            [[statistics.mean(self._score(r, seed) for seed in group) for r in recipes] for group in groups.values()]
        )

    def _comparison(self, contrast: Contrast, noise: Noise | None, critical: float, family: int) -> Comparison:
        seeds = self.seeds(contrast.arm, contrast.control)
        plain = Comparison(contrast.arm, contrast.control, seeds, contrast.gain, family=family)
        if noise is None:
            return plain
        runs = "teacher runs" if self.results.has_teacher_runs else "seeds"
        drawn = (runs,) if contrast.images_b is None else (runs, "images")
        gap = self.contrast(TEACHER, contrast.control, seeds)
        share = None if gap is None else share_interval(contrast, gap, noise, critical)
        return Comparison(
            plain.recipe, plain.control, seeds, plain.gain, gain_interval(contrast, noise, critical),
            None if share is None or gap is None else contrast.gain / gap.gain, share, family, drawn,
        )  # fmt: skip

    def _seeds(self, name: str) -> set[int]:
        if name != TEACHER:
            return set(self.results.seeds(name))
        return {seed for _, seed in self.results.runs if self.results.teacher_of(seed) in self.results.teachers}

    def _run(self, name: str, seed: int) -> Run:
        return (name, self.results.teacher_of(seed) if name == TEACHER else seed)

    def _score(self, name: str, seed: int) -> float:
        if name == TEACHER:
            return float(self.results.teachers[self.results.teacher_of(seed)]["map"])
        return float(self.results.runs[name, seed]["map"])


def controls(results: LeagueResults) -> list[str]:
    """Rows that others are compared with: no distillation, the same at equal cost, ultralytics' distillation."""
    return [r for r in sorted(results.recipes) if r == NONE or r.startswith(AT_COST)] + [
        r for r in results.recipes if r == SHIPPED
    ]


def compare_with_controls(evidence: Evidence) -> list[Comparison]:
    """Every recipe with every control, a family for each control."""
    recipes = evidence.results.recipes
    return [
        comparison
        for control in controls(evidence.results)
        for comparison in evidence.compare([(recipe, control) for recipe in recipes if recipe != control])
    ]
