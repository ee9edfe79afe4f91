"""One term: defaults by loss, what is refused and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from kd_yolo.base.errors import ConfigError
from kd_yolo.config.distill import DistillConfig
from kd_yolo.config.term import TermConfig
from kd_yolo.losses import loss_names, losses


def parse(*terms: Any, **rest: Any) -> DistillConfig:
    return DistillConfig.parse({"teacher": "t.pt", "terms": list(terms), **rest}, "here")


def problem(*terms: Any, **rest: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(*terms, **rest)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("name", loss_names())
def test_every_loss_has_a_complete_default_term(name: str) -> None:
    term = TermConfig(loss=name)
    assert term.weight == losses.get(name).default_weight > 0
    if losses.get(name).kind == "feature":
        assert term.taps == "head"
        assert term.adapter is not None
        assert term.standardize is not None
        assert term.gate is None
    else:
        assert term.gate == "confidence"
        assert term.taps is term.adapter is term.standardize is None


def test_said_values_beat_defaults_and_nothing_is_nothing() -> None:
    term = TermConfig.parse({"loss": "cwd", "weight": 4, "standardize": False, "taps": None, "params": None}, "here")
    assert (term.weight, term.standardize, term.taps, term.params) == (4.0, False, "head", {})


def test_a_weight_that_is_said_is_no_share() -> None:
    earlier = {"loss": "mgd", "weight": 3.0, "share": None}  # as a run before shares by default has it in its file
    for values in ({"loss": "mgd", "weight": 3}, earlier):
        term = TermConfig.parse(values, "here")
        assert (term.weight, term.share) == (3.0, None)
    assert TermConfig.parse({"loss": "mgd", "weight": None}, "here").share == losses.get("mgd").default_share


def test_a_parsed_config_survives_its_dump() -> None:
    config = parse({"loss": "cwd", "taps": [15, 18]}, {"loss": "bkd", "gate": "all", "schedule": {"kind": "linear"}})
    assert DistillConfig.parse(config.model_dump(), "dump") == config


def test_unknown_loss() -> None:
    text = problem({"loss": "cdw"})
    assert "unknown loss 'cdw'. Did you mean 'cwd'? Known: bkd, box_iou, crosskd, cwd," in text


def test_unknown_parameter() -> None:
    assert "loss 'cwd' has no parameter 'tua'. Did you mean 'tau'? It takes: tau." in problem(
        {"loss": "cwd", "params": {"tua": 2}}
    )
    assert "It takes: none." in problem({"loss": "l2", "params": {"tau": 2}})


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        ("cwd", {"tau": 0}, "tau is 0, expected a number > 0"),
        ("kl", {"tau": "warm"}, "tau is 'warm', expected a number > 0"),
        ("mgd", {"mask_ratio": 1}, "mask_ratio is 1, expected a share"),
        ("mgd", {"bottleneck": 2.5}, "bottleneck is 2.5, expected a whole number"),
        ("bkd", {"beta": -1}, "beta is -1, expected a number >= 0"),
    ],
)
def test_values_of_parameters_are_checked_before_a_run(loss: str, params: dict[str, Any], message: str) -> None:
    assert message in problem({"loss": loss, "params": params})


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "much"])
def test_weight_is_a_finite_number_from_0(weight: Any) -> None:
    assert "terms.0.weight" in problem({"loss": "cwd", "weight": weight})


@pytest.mark.parametrize("taps", ["hed", [], [15, 15], ["15"], [True], 15, [1.5]])
def test_wrong_taps_are_one_problem(taps: Any) -> None:
    text = problem({"loss": "cwd", "taps": taps})
    assert text.startswith("here: 1 problem(s)")
    assert "taps=" in text


@pytest.mark.parametrize("stop_at", [0, -0.1, 1.5, "mosiac", float("nan"), [1]])
def test_wrong_stop_is_one_problem(stop_at: Any) -> None:
    text = problem({"loss": "cwd"}, schedule={"stop_at": stop_at})
    assert text.startswith("here: 1 problem(s)")
    assert "expected a share in (0, 1], or 'mosaic'" in text


def test_options_of_the_other_kind_are_refused() -> None:
    assert "'gate' has no meaning for the feature loss 'cwd'" in problem({"loss": "cwd", "gate": "all"})
    assert "'taps', 'adapter' have no meaning for the response loss 'bkd'" in problem(
        {"loss": "bkd", "taps": "head", "adapter": "mlp"}
    )


def test_all_problems_of_all_terms_at_once() -> None:
    text = problem(
        {"loss": "cdw"},
        {"loss": "mgd", "weight": -1, "params": {"tau": 1, "apha": 1}, "adaptor": "auto"},
        {"weight": 2},
        schedule={"kind": "cosin", "end": 2},
    )
    assert text.startswith("here: 7 problem(s)")
    for part in (
        "terms.0.loss: unknown loss 'cdw'",
        "terms.1.weight: Input should be greater than or equal to 0 (got -1)",
        "no parameter 'tau'",
        "no parameter 'apha'. Did you mean 'alpha'?",
        "unknown key 'terms.1.adaptor'. Did you mean 'adapter'?",
        "terms.2.loss: Field required",
        "schedule.kind: Input should be 'cosine', 'constant' or 'linear' (got 'cosin')",
        "schedule.end: Input should be less than or equal to 1 (got 2)",
    ):
        assert part in text


def test_no_term_at_all() -> None:
    assert "at least 1 item" in problem()


def test_column_names_number_the_second_of_a_loss() -> None:
    config = parse({"loss": "cwd"}, {"loss": "bkd"}, {"loss": "cwd", "taps": "cv2"}, {"loss": "cwd", "taps": [15]})
    assert config.term_names() == ["kd_cwd", "kd_bkd", "kd_cwd2", "kd_cwd3"]


def test_terms_that_differ_in_their_weight_alone_are_one() -> None:
    with pytest.raises(ConfigError, match="the loss cwd is named twice with the same settings"):
        parse({"loss": "cwd"}, {"loss": "bkd"}, {"loss": "cwd", "weight": 2})
