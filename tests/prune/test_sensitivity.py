"""Sensitivity: each unit alone, and the plan that follows; the validation is replaced by a formula."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.base.lock import holding
from kd_yolo.config.prune import PlanFile, PruneSettings
from kd_yolo.prune import sensitivity
from kd_yolo.prune.graph import ChannelGroup
from kd_yolo.prune.measured import ROWS, find_unfinished
from kd_yolo.prune.plan import Rules, units_of
from kd_yolo.prune.sensitivity import Analysis, Sensitivity, UnitDrop, plan_by_drop
from kd_yolo.yolo.files.loading import load_checkpoint
from tests.prune.test_job import QUICK, data, prune, silent, weights

__all__ = ["data", "weights"]  # fixtures

COST = {"model.0.conv": 0.01, "model.2.m.0.cv1.conv": 0.002}  # accuracy lost for each channel; else 0.001
SCORE = "metrics/mAP50-95(B)"


@pytest.fixture(scope="module")
def formula(weights: str) -> Callable[[list[Path]], Callable[..., dict[str, float]]]:
    """Accuracy as a function of widths, in place of ``validate``; notes the data sets that are asked for."""

    def widths_of(model: nn.Module) -> dict[str, int]:
        return {n: m.out_channels for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}

    whole = widths_of(load_checkpoint(weights)[0])

    def of(seen: list[Path]) -> Callable[..., dict[str, float]]:
        def validate(model: nn.Module, data: Path, **_settings: Any) -> dict[str, float]:
            seen.append(data)
            lost = sum(COST.get(name, 0.001) * (whole[name] - width) for name, width in widths_of(model).items())
            return {"metrics/mAP50(B)": 0.9, SCORE: 0.8 - lost}

        return validate

    return of


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch, formula: Any) -> list[Path]:
    """The data sets that were asked for; accuracy is the formula."""
    seen: list[Path] = []
    monkeypatch.setattr(sensitivity, "validate", formula(seen))
    return seen


def analyse(asked: PruneSettings, *, say: Callable[[str], None] = silent, keep_in: Path | None = None) -> Sensitivity:
    return Analysis(asked, say).run(keep_in)


def settings(weights: str, **values: Any) -> PruneSettings:
    return PruneSettings.parse({"model": weights, **QUICK, "factor": 0.5, **values}, "test")


def few_units(weights: str, data: str, **values: Any) -> PruneSettings:
    """Seven units: those of the head are left alone."""
    return settings(
        weights, **{"data": data, "importance": "l2", "sensitivity_images": 5, "ignore": ["model.5"], **values}
    )


@pytest.fixture(scope="module")
def measured(weights: str, data: str, formula: Any) -> tuple[Sensitivity, list[str], list[Path]]:
    """An analysis of all units, what it said, and the data sets that it asked for."""
    lines: list[str] = []
    seen: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "validate", formula(seen))
        found = analyse(settings(weights, data=data, importance="l2", sensitivity_images=5), say=lines.append)
    return found, lines, seen


def test_each_unit_is_pruned_alone(data: str, measured: tuple[Sensitivity, list[str], list[Path]]) -> None:
    found, lines, seen = measured
    assert (found.metric, found.base) == (SCORE, 0.8)
    drops = {row.names[0]: row for row in found.drops}
    assert drops["model.0.conv"].drop == pytest.approx(8 * 0.01)
    assert drops["model.2.m.0.cv1.conv"].drop == pytest.approx(16 * 0.002)
    assert drops["model.1.conv"].drop == pytest.approx(16 * 0.001)
    halves = drops["model.2.cv1.conv[a]"]
    assert halves.names == ("model.2.cv1.conv[a]", "model.2.cv1.conv[b]")
    assert halves.left == 16
    assert len(lines) == len(found.drops) == len(seen) - 1
    assert lines[0].startswith(f"[1/{len(lines)}] model.0.conv: 16 -> 8 channels")
    assert len(set(seen)) == 1
    assert str(seen[0]) != data  # a few images of it, somewhere else


def test_the_plan_is_taken_by_a_pruning(
    weights: str, measured: tuple[Sensitivity, list[str], list[Path]], tmp_path: Path
) -> None:
    found, _, _ = measured
    found.write(tmp_path / "s", weights)
    plan = PlanFile.parse(yaml.safe_load((tmp_path / "s" / "plan.yaml").read_text()), "plan")
    assert plan.widths["model.0.conv"] == 16  # the most sensitive one
    asked = settings(weights, factor=None, plan=str(tmp_path / "s" / "plan.yaml"))
    assert prune(asked, tmp_path / "run").plan.after == plan.widths == found.widths
    assert (tmp_path / "s" / "sensitivity.json").is_file()


@pytest.fixture(scope="module")
def whole(weights: str, data: str, formula: Any) -> Sensitivity:
    """An analysis that nobody interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "validate", formula([]))
        return analyse(few_units(weights, data))


@pytest.fixture(scope="module")
def cut_off(weights: str, data: str, formula: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left of an analysis that was interrupted while its fourth unit was measured."""
    folder, seen = tmp_path_factory.mktemp("cut") / "off", []
    real = formula(seen)

    def interrupted(*arguments: Any, **more: Any) -> dict[str, float]:
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(*arguments, **more)  # type: ignore[no-any-return]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivity, "validate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            analyse(few_units(weights, data), keep_in=folder)
    return folder


@pytest.mark.parametrize("damage", ["", "{", '{"unit": 3}\n', '{"unit": "x"\n'])
def test_an_analysis_that_was_cut_off_goes_on(
    weights: str, data: str, validated: list[Path], whole: Sensitivity, cut_off: Path, tmp_path: Path, damage: str
) -> None:
    asked, folder = few_units(weights, data), tmp_path / "run"
    shutil.copytree(cut_off, folder)
    assert len((folder / ROWS).read_text().splitlines()) == 5  # the settings, the whole network, three units
    with (folder / ROWS).open("a") as file:
        file.write(damage)
    assert find_unfinished(folder, asked) == folder
    assert find_unfinished(folder, few_units(weights, data, sensitivity_images=6)) is None
    with holding(folder):
        assert find_unfinished(folder, asked) is None
    lines: list[str] = []
    again = analyse(asked, say=lines.append, keep_in=folder)
    assert again == whole
    assert lines[0] == f"going on: 3 of {len(whole.drops)} layers are measured"
    assert len(validated) == len(whole.drops) - 3 > 0
    again.write(folder, weights)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.yaml", "sensitivity.json"]


def test_scores_of_other_settings_do_not_count(
    weights: str, data: str, validated: list[Path], cut_off: Path, tmp_path: Path
) -> None:
    shutil.copytree(cut_off, tmp_path / "run")
    other = few_units(weights, data, factor=0.25)
    assert analyse(other, keep_in=tmp_path / "run") == analyse(other)


GROUPS = [ChannelGroup(str(i), 80, (), None) for i in range(5)]
UNITS, RULES = units_of(GROUPS), Rules(8, 8)


def drops(*values: float) -> list[UnitDrop]:
    return [UnitDrop((str(i),), 80, 64, 0.5 - value, value) for i, value in enumerate(values)]


def test_less_is_taken_where_it_costs_more() -> None:
    widths = plan_by_drop(UNITS, drops(0.4, 0.1, 0.3, 0.2, 0.0), 0.3, RULES)
    assert widths["0"] == 80
    assert widths["4"] < widths["1"] < widths["3"] < widths["2"] < 80
    assert 400 - sum(widths.values()) == pytest.approx(0.3 * 400, abs=16)
    assert 400 - sum(widths.values()) <= 0.3 * 400


@pytest.mark.parametrize("factor", [0.05, 0.2, 0.5, 0.7])
def test_about_as_many_channels_as_a_uniform_plan_takes(factor: float) -> None:
    widths = plan_by_drop(UNITS, drops(0.5, 0.4, 0.3, 0.2, 0.1), factor, RULES)
    assert factor * 400 - 24 <= 400 - sum(widths.values()) <= factor * 400
    assert all(width % 8 == 0 and width >= 8 for width in widths.values())


def test_units_that_were_not_measured_stay_whole() -> None:
    assert plan_by_drop(UNITS, drops(0.4, 0.1), 0.1, RULES) == {"0": 80, "1": 40, "2": 80, "3": 80, "4": 80}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--sensitivity measures accuracy: add data="),
        ({"factor": None, "target_flops": 0.5}, "leave the target or plan out"),
        ({"factor": 0.01}, "too small for a block of 8"),
    ],
)
def test_what_cannot_be_measured_is_refused(weights: str, data: str, values: Any, message: str) -> None:
    given = settings(weights, **({"data": data, **values} if values else values))
    with pytest.raises(ConfigError, match=message):
        analyse(given)


def test_a_network_that_finds_nothing_is_refused(weights: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "validate", lambda *_args, **_settings: {SCORE: 0.0})
    with pytest.raises(InputError, match="finds nothing"):
        analyse(settings(weights, data=data))


def test_other_classes_are_refused(weights: str, tiny_data: Path) -> None:
    with pytest.raises(InputError, match="has 3 classes"):
        analyse(settings(weights, data=str(tiny_data), importance="l2"))
