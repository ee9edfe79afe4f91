"""A pruning from start to end: what is written, what is said, and that equal settings give equal networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from kd_yolo.base.errors import ConfigError, InputError, KDYoloError
from kd_yolo.config.prune import PruneSettings
from kd_yolo.prune import job, planning
from kd_yolo.prune import network as networks
from kd_yolo.prune.graph import ChannelGraph
from kd_yolo.prune.job import Pruning, Retrain
from kd_yolo.prune.network import Network
from kd_yolo.prune.plan import best_channels
from kd_yolo.prune.result import PruneResult
from kd_yolo.yolo.files.loading import load_checkpoint
from kd_yolo.yolo.files.pruned_file import save_pruned
from kd_yolo.yolo.measure import Latency, measure_size
from tests.conftest import write_tiny_data

QUICK: dict[str, Any] = {
    "imgsz": 64, "batch": 4, "batches": 1, "recalibration_images": 8, "latency_rounds": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(small_detector: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small detector of three classes."""
    model = small_detector([-1, 1, "C2f", [64, True]])
    model.task, model.names = "detect", {0: "a", 1: "b", 2: "c"}
    return str(save_pruned(tmp_path_factory.mktemp("small") / "small.pt", model, {"train_args": {"imgsz": 64}}, {}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_data(tmp_path_factory.mktemp("set"), classes=3))


@pytest.fixture
def settings(weights: str) -> Callable[..., PruneSettings]:
    return lambda **values: PruneSettings.parse({"model": weights, **QUICK, **values}, "test")


def silent(_line: str) -> None: ...


def prune(
    asked: PruneSettings, folder: Path, *, retrain: Retrain | None = None, say: Callable[[str], None] = silent
) -> PruneResult:
    return Pruning(asked, say).run(folder, retrain)


def preview(asked: PruneSettings) -> PruneResult:
    return Pruning(asked, silent).preview()


@pytest.fixture(scope="module")
def halved(weights: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[PruneResult, Path]:
    """Half of the channels gone, by their L2 norm: what a pruning gives, and its folder."""
    folder = tmp_path_factory.mktemp("halved") / "run"
    return prune(PruneSettings.parse({"model": weights, **QUICK, "factor": 0.5}, "test"), folder), folder


def state(path: Path | None) -> dict[str, torch.Tensor]:
    assert path is not None
    model, _ = load_checkpoint(path)
    return dict(model.state_dict())


def widths(path: Path | str | None) -> dict[str, int]:
    assert path is not None
    model, _ = load_checkpoint(path)
    with ChannelGraph(model, torch.zeros(1, 3, 64, 64)) as graph:
        return {group.name: group.width for group in graph.groups}


def test_writes_the_network_the_plan_and_the_report(halved: tuple[PruneResult, Path]) -> None:
    result, folder = halved
    written = {file.relative_to(folder.parent).as_posix() for file in folder.parent.rglob("*") if file.is_file()}
    assert written == {"run/weights/pruned.pt", "run/plan.yaml", "run/report.json"}
    assert result.path == folder / "weights" / "pruned.pt"
    assert widths(result.path) == result.plan.after == yaml.safe_load((folder / "plan.yaml").read_text())["widths"]
    assert result.plan.after["model.1.conv"] == 16
    assert result.plan.after["model.2.cv1.conv[a]"] == result.plan.after["model.2.cv1.conv[b]"] == 16


def test_reported_numbers_equal_an_independent_count(weights: str, halved: tuple[PruneResult, Path]) -> None:
    result, folder = halved
    report = json.loads((folder / "report.json").read_text())
    for side, path in (("before", weights), ("after", result.path)):
        model, _ = load_checkpoint(path)
        assert report[side]["parameters"] == sum(p.numel() for p in model.parameters())
        assert report[side]["gflops"] == measure_size(model, 64).gflops
        assert report[side]["channels"] == {
            name: layer.out_channels for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)
        }
        assert report[side]["latency_ms"]["p50_ms"] > 0
    share = 1 - report["after"]["parameters"] / report["before"]["parameters"]
    assert report["removed"]["parameters"] == pytest.approx(share)
    assert report["settings"]["factor"] == 0.5
    assert set(report["whole"].values()) == {"head output"}


def test_the_best_channels_stay(settings: Any, weights: str, halved: tuple[PruneResult, Path]) -> None:
    result, _ = halved
    model, _ = load_checkpoint(weights)
    whole = Network.load(settings(factor=0.5, importance="l2"))
    whole.rank()
    keep = best_channels(whole.scores, result.plan.after)
    rows = model.model[1].conv.weight[keep["model.1.conv"]][:, keep["model.0.conv"]]
    torch.testing.assert_close(state(result.path)["model.1.conv.weight"], rows.detach(), rtol=1e-3, atol=1e-4)  # half


def test_statistics_are_estimated_with_data_only(settings: Any, data: str, tmp_path: Path) -> None:
    def mean(name: str, **values: Any) -> torch.Tensor:
        result = prune(settings(importance="l2", **values), tmp_path / name)
        assert any("BatchNorm" in note for note in result.notes) is (name != "new")
        return state(result.path)["model.1.bn.running_mean"]

    old, kept, new = mean("old"), mean("kept", data=data, recalibrate=False), mean("new", data=data)
    assert torch.equal(old, kept)
    assert not torch.allclose(old, new, atol=1e-3)


def test_images_are_as_in_training_for_statistics_and_plain_for_taylor(
    settings: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bool, int]] = []
    original = networks.batches

    def batches(model: Any, images: Any, count: int) -> Any:
        asked.append((images.augment, count))
        return original(model, images, count)

    monkeypatch.setattr(networks, "batches", batches)
    prune(settings(data=data, batches=2, recalibration_images=6), tmp_path / "run")
    assert asked == [(False, 8), (True, 6)]


@pytest.mark.parametrize("importance", ["taylor", "random"])
def test_equal_settings_give_equal_networks(settings: Any, data: str, tmp_path: Path, importance: str) -> None:
    found = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)  # the caller's own random state neither matters nor changes
        before = torch.random.get_rng_state()
        asked = settings(importance=importance, data=data, seed=seed)
        found.append(state(prune(asked, tmp_path / str(i)).path))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not all(torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_a_plan_is_taken_again(settings: Any, tmp_path: Path) -> None:
    first = prune(settings(factor=0.4, global_ranking=True), tmp_path / "a")
    again = prune(settings(plan=str(tmp_path / "a" / "plan.yaml")), tmp_path / "b")
    assert again.plan.after == first.plan.after
    assert f"{tmp_path / 'a' / 'plan.yaml'}: " in again.lines()[0]


@pytest.mark.parametrize(
    ("target", "key", "limit"),
    [({"target_flops": 0.5}, "deployed_gflops", 0.5), ({"target_params": "0.6"}, "deployed_parameters", 0.6)],
)
def test_targets_are_met(settings: Any, weights: str, tmp_path: Path, target: Any, key: str, limit: float) -> None:
    result = prune(settings(round_to=2, min_channels=2, **target), tmp_path / "run")
    whole, cut = (getattr(measure_size(load_checkpoint(path)[0], 64), key) for path in (weights, result.path))
    assert limit - 0.08 < cut / whole <= limit
    assert result.reached is not None
    assert result.reached.value / result.reached.whole == pytest.approx(cut / whole)
    assert "reached" in result.lines()[0]


def test_a_latency_target_is_searched(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Time as a function of parameters, and of a machine that gets slower while the search runs."""
    slower = iter(range(10, 10_000))

    def latency(of: list[Network]) -> list[Latency]:
        load = next(slower) / 10
        times = [load * sum(p.numel() for p in one.model.parameters()) / 1e4 for one in of]
        return [Latency(time, time) for time in times]

    monkeypatch.setattr(planning, "latency_of", latency)
    monkeypatch.setattr(job, "latency_of", latency)
    result = prune(settings(target_latency=0.5), tmp_path / "run")
    assert 0.35 < result.after.parameters / result.before.parameters <= 0.5


def test_a_preview_is_the_same_plan_and_writes_nothing(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = preview(settings(factor=0.3))
    assert not list(tmp_path.iterdir())
    done = prune(settings(factor=0.3), tmp_path / "run")
    assert seen.path is None
    assert (seen.plan, seen.before, seen.after, seen.channels) == (done.plan, done.before, done.after, done.channels)


def test_ignored_layers_stay_whole(settings: Any, tmp_path: Path) -> None:
    result = prune(settings(factor=0.5, ignore=("model.0", "model.2.m")), tmp_path / "run")
    assert result.plan.fixed["model.0.conv"] == "ignored by the user"
    assert "(ignored by the user)" in "\n".join(result.lines())
    kept = state(result.path)
    assert kept["model.0.conv.weight"].shape[0] == 16
    assert kept["model.2.m.0.cv1.conv.weight"].shape[0] == 32


def test_a_pruned_network_is_pruned_further_and_that_is_said(settings: Any, tmp_path: Path) -> None:
    first = prune(settings(factor=0.25), tmp_path / "a")
    assert not any("pruned already" in note for note in first.notes)
    second = prune(settings(model=str(first.path), factor=0.25), tmp_path / "b")
    assert any("is pruned already: it is pruned further" in note for note in second.notes)
    assert second.before == first.after
    assert second.after.parameters < first.after.parameters
    with pytest.raises(ConfigError, match=r"plan\.yaml: the network has these widths already"):
        prune(settings(model=str(first.path), plan=str(tmp_path / "a" / "plan.yaml")), tmp_path / "c")


def test_the_summary_says_what_a_user_must_know(halved: tuple[PruneResult, Path]) -> None:
    text = "\n".join(halved[0].lines())
    for part in (
        "factor 0.5: ", "of the channels of 16 groups removed (l2, layer by layer)", "M parameters", "GFLOPs at 64 px",
        "ms per image (torch, CPU)", "left whole: 5 (head output)", "no data=: channels are ranked by their L2 norm",
        "mAP near zero is normal after pruning without retraining",
    ):  # fmt: skip
        assert part in text
    assert "deployed" not in text


def test_both_forms_of_an_end_to_end_head_are_counted(make_weights: Any, tiny_yaml: Any) -> None:
    values = {"model": make_weights(tiny_yaml(16, head="v10Detect")), **QUICK}
    text = "\n".join(preview(PruneSettings.parse(values, "test")).lines())
    assert "M parameters, deployed" in text
    assert "GFLOPs, deployed" in text


def test_gammas_that_are_not_sparse_are_mentioned(settings: Any) -> None:
    assert any("ranking by gamma is for networks" in n for n in preview(settings(importance="bn")).notes)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"factor": 0.9}, ConfigError, "would leave model.0.conv 1.6 of its 16 channels"),
        ({"factor": 0.01}, ConfigError, "nothing would be removed"),
        ({"ignore": ("model.9",)}, ConfigError, "covers no conv"),
        ({"ignore": ("model",)}, ConfigError, "nothing can be pruned"),
        ({"target_params": 0.001}, ConfigError, "cannot be met"),
        ({"plan": "none.yaml"}, ConfigError, "none.yaml: no such file"),
        ({"device": "93"}, ConfigError, "device=cuda:93"),
        ({"model": "none.pt"}, InputError, "none.pt"),
        ({"data": "none.yaml", "importance": "l2"}, InputError, "none.yaml"),
        ({"data": "none.yaml"}, InputError, "none.yaml"),
    ],
)
def test_bad_input_writes_nothing(settings: Any, tmp_path: Path, values: Any, error: Any, message: str) -> None:
    with pytest.raises(error) as raised:
        prune(settings(**values), tmp_path / "run")
    assert message in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_other_classes_matter_to_taylor_only(settings: Any, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 3 classes, .* has 2.* --importance l2"):
        prune(settings(data=str(tiny_data)), tmp_path / "a")
    prune(settings(data=str(tiny_data), importance="l2"), tmp_path / "b")


def test_images_without_labels_cannot_rank(settings: Any, tmp_path: Path) -> None:
    data = write_tiny_data(tmp_path / "set", classes=3)
    for file in (tmp_path / "set" / "labels" / "train").iterdir():
        file.write_text("")
    with pytest.raises(InputError, match=r"none of the 4 images .* has a label"):
        prune(settings(data=str(data)), tmp_path / "run")


def test_a_fused_network_is_refused(settings: Any, weights: str, tmp_path: Path) -> None:
    model: Any = load_checkpoint(weights)[0]
    path = save_pruned(tmp_path / "fused.pt", model.fuse(verbose=False), {}, {})
    with pytest.raises(InputError, match="fused"):
        prune(settings(model=str(path)), tmp_path / "run")


def test_a_network_that_was_not_cut_is_never_handed_on(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Network, "cut", lambda self, _widths: self)
    with pytest.raises(KDYoloError, match="no longer has the widths of its plan"):
        prune(settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
