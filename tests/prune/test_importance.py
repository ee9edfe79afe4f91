"""Scores: the criteria's formulas on a small network, and the gradients behind Taylor's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_yolo.base.errors import InputError
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.prune.importance import build_importance, collect_gradients


@pytest.fixture
def model(small_detector: Any) -> Any:
    return small_detector()


def scores(model: Any, name: Any, **settings: Any) -> dict[str, Tensor]:
    with ChannelGraph(model, torch.zeros(1, 3, 64, 64)) as graph:
        return graph.scores(build_importance(name, **settings))


def parts(model: Any) -> tuple[Any, Any, Any]:
    """The first conv, its BatchNorm and the conv that reads it."""
    return model.model[0].conv, model.model[0].bn, model.model[1].conv


def test_l2_is_the_mean_square_over_what_a_channel_has(model: Any) -> None:
    conv, bn, after = parts(model)
    expected = ((conv.weight**2).sum((1, 2, 3)) + bn.weight**2 + (after.weight**2).sum((0, 2, 3))).detach() / 3
    found = scores(model, "l2")["model.0.conv"]
    torch.testing.assert_close(found, expected / expected.mean())


def test_bn_is_gamma(model: Any) -> None:
    gamma = model.model[0].bn.weight.detach().abs()
    torch.testing.assert_close(scores(model, "bn")["model.0.conv"], gamma / gamma.mean())


def test_taylor_is_weight_times_gradient(model: Any) -> None:
    collect_gradients(model, [model.model[:2](torch.rand(1, 3, 64, 64)).square().sum()])
    conv, _, after = parts(model)
    expected = (
        (conv.weight * conv.weight.grad).abs().sum((1, 2, 3)) + (after.weight * after.weight.grad).abs().sum((0, 2, 3))
    ).detach() / 2
    torch.testing.assert_close(scores(model, "taylor")["model.0.conv"], expected / expected.mean())


def test_gradients_are_summed_over_losses(model: Any) -> None:
    def losses() -> list[Tensor]:
        return [model.model[:2](torch.full((1, 3, 64, 64), value)).square().sum() for value in (0.2, 0.9)]

    assert collect_gradients(model, losses()) == 2
    both = model.model[0].conv.weight.grad.clone()
    single = []
    for i in range(2):
        collect_gradients(model, [losses()[i]])
        single.append(model.model[0].conv.weight.grad.clone())
    torch.testing.assert_close(both, single[0] + single[1])


def test_what_no_loss_depends_on_has_no_importance(model: Any) -> None:
    model.requires_grad_(False)  # as official checkpoints are saved
    collect_gradients(model, _losses(model))
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not model.model[3].conv.weight.grad.any()


def _losses(model: Any) -> Any:
    """Losses that are computed when they are asked for: after gradients were switched on."""
    yield model.model[:2](torch.rand(1, 3, 64, 64)).sum()


def test_no_loss_and_broken_gradients_are_errors(model: Any) -> None:
    with pytest.raises(InputError, match="no labelled images"):
        collect_gradients(model, [])
    with pytest.raises(InputError, match="not finite"):
        collect_gradients(model, [model.model[:2](torch.rand(1, 3, 64, 64)).sum() * float("inf")])


def test_one_broken_gradient_is_an_error(model: Any) -> None:
    """The gradients of one channel, and of nothing else."""
    weight = model.model[0].conv.weight
    with pytest.raises(InputError, match="not finite"):
        collect_gradients(model, [weight[0, 0, 0, 0] * float("nan") + weight.sum()])


@pytest.mark.parametrize("name", ["l2", "bn", "fpgm", "random", "lamp"])
def test_every_criterion_ranks_every_group(model: Any, name: Any) -> None:
    torch.manual_seed(0)
    found = scores(model, name)
    with ChannelGraph(model, torch.zeros(1, 3, 64, 64)) as graph:
        assert {group.name: group.width for group in graph.groups} == {key: len(v) for key, v in found.items()}
    assert all(score.isfinite().all() and score.unique().numel() > 1 for score in found.values())


def test_random_repeats_with_the_seed(model: Any) -> None:
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(scores(model, "random")["model.1.conv"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_lamp_divides_by_what_is_not_smaller(model: Any) -> None:
    plain, lamp = scores(model, "l2")["model.1.conv"], scores(model, "lamp")["model.1.conv"]
    expected = [float(x / plain[plain >= x].sum()) for x in plain]
    torch.testing.assert_close(lamp, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scores(model, "l2", ranks_globally=True)["model.1.conv"], lamp)
    assert float(lamp.max()) == pytest.approx(1, abs=1e-4)


def test_a_layer_of_many_small_weights_is_not_emptied_by_a_global_ranking(model: Any) -> None:
    """Plain magnitudes would: LAMP scores of a layer do not change with its scale."""
    before = scores(model, "l2", ranks_globally=True)["model.0.conv"]
    with torch.no_grad():
        for layer in parts(model):
            layer.weight *= 1e-3
    torch.testing.assert_close(scores(model, "l2", ranks_globally=True)["model.0.conv"], before, rtol=1e-3, atol=1e-5)


def test_importances_are_new_each_time() -> None:
    assert build_importance("taylor") is not build_importance("taylor")


def test_all_zero_gammas_are_no_reason_to_stop(model: Any) -> None:
    nn.init.zeros_(model.model[0].bn.weight)
    assert not scores(model, "bn")["model.0.conv"].nan_to_num(0).any()
