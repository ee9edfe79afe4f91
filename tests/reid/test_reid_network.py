"""The network as a whole: modes, embeddings, options that act, gradients, export of the plain graph."""

from __future__ import annotations

import pytest
import torch

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid import ReIDModel
from kd_yolo.reid.model.network import Features
from kd_yolo.reid.model.settings import NetworkConfig

SMALL = NetworkConfig(backbone="resnet18", height=128, width=64, num_identities=3, local=True)


def changed(**values: object) -> NetworkConfig:
    return NetworkConfig(**{**SMALL.model_dump(), **values})


IMAGE = torch.rand(4, 3, 128, 64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def model() -> ReIDModel:
    torch.manual_seed(0)
    return ReIDModel(SMALL)


def test_training_gives_features(model: ReIDModel) -> None:
    features = model.train()(IMAGE)
    assert isinstance(features, Features)
    assert features.f_t_nd.shape == features.f_i_nd.shape == (4, 512)
    assert features.local_nhd is not None
    assert features.local_nhd.shape == (4, 8, 128)
    assert features.stages is None
    assert model.logits(features, TARGETS).shape == (4, 3)


def test_stages_when_asked(model: ReIDModel) -> None:
    stages = model.train().features(IMAGE, with_stages=True).stages
    assert stages is not None
    assert {stage: tuple(x.shape[1:]) for stage, x in stages.items()} == {
        "layer1": (64, 32, 16),
        "layer2": (128, 16, 8),
        "layer3": (256, 8, 4),
        "layer4": (512, 8, 4),
    }


def test_eval_gives_unit_embeddings_of_the_feature_after_the_norm(model: ReIDModel) -> None:
    model.eval()
    with torch.no_grad():
        embedding = model(IMAGE)
        features = model.features(IMAGE)
        both = model.embed_both(IMAGE)
    assert embedding.shape == (4, model.dim) == (4, 512)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(4), atol=1e-6)
    assert torch.allclose(embedding * features.f_i_nd.norm(dim=1, keepdim=True), features.f_i_nd, atol=1e-4)
    assert torch.equal(both[0], embedding)
    assert torch.equal(both[1], features.local_nhd)
    assert torch.allclose(both[1].norm(dim=-1), torch.ones(4, 8), atol=1e-6)


def test_normalisation_is_inside() -> None:
    config = changed(local=False, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    model = ReIDModel(config)
    expected = (IMAGE - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1)
    assert torch.allclose(model.normalise(IMAGE), expected)
    assert not any("mean_c11" in key for key in model.state_dict())


def test_every_parameter_but_the_frozen_bias_gets_a_gradient(model: ReIDModel) -> None:
    model.train()
    features = model(IMAGE)
    assert features.local_nhd is not None
    model.zero_grad()
    loss = model.logits(features, TARGETS).square().mean() + features.f_t_nd.square().mean()
    (loss + features.local_nhd[:, :, 0].square().mean()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == ["neck.norm.bias"]


@pytest.mark.parametrize(
    ("change", "map_hw", "dim"),
    [({"last_stride": 2}, (4, 2), 512), ({"embedding": 64}, (8, 4), 64), ({"pool": "gem"}, (8, 4), 512)],
)
def test_options_act(change: dict[str, object], map_hw: tuple[int, int], dim: int) -> None:
    model = ReIDModel(changed(local=False, **change))
    stages = model.features(IMAGE, with_stages=True).stages
    assert stages is not None
    assert tuple(stages["layer4"].shape[2:]) == map_hw
    assert model.dim == dim


def test_margin_heads_give_soft_labels_without_margin() -> None:
    model = ReIDModel(changed(head="arcface", local=False))
    features = model.features(IMAGE)
    plain, training = model.logits(features), model.logits(features, TARGETS)
    rows = torch.arange(4)
    assert (training[rows, TARGETS] < plain[rows, TARGETS]).all()
    off = torch.ones(4, 3, dtype=torch.bool)
    off[rows, TARGETS] = False
    assert torch.equal(training[off], plain[off])


def test_without_identities_there_is_no_head() -> None:
    model = ReIDModel(changed(local=False, num_identities=0)).eval()
    with_head = ReIDModel(changed(local=False)).eval()
    assert with_head.num_parameters() - model.num_parameters() == 3 * 512
    assert model(IMAGE).shape == (4, 512)
    assert not any(key.startswith("head.") for key in model.state_dict())
    with pytest.raises(ConfigError, match="no classifier: build it with num_identities"):
        model.logits(model.features(IMAGE))


def test_one_image_and_autocast(model: ReIDModel) -> None:
    model.eval()
    with torch.no_grad():
        assert torch.allclose(model(IMAGE[:1]), model(IMAGE)[:1], atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            embedding, local = model.embed_both(IMAGE[:1])
    for rows in (embedding, local):
        assert rows.dtype == torch.float32
        assert torch.allclose(rows.norm(dim=-1), torch.ones(rows.shape[:-1]), atol=1e-6)


def test_the_graph_exports_with_a_dynamic_batch(model: ReIDModel) -> None:
    model.eval()
    traced = torch.jit.trace(model, IMAGE[:2])
    with torch.no_grad():
        assert torch.allclose(traced(IMAGE), model(IMAGE), atol=1e-5)


def test_timm_backbone() -> None:
    model = ReIDModel(NetworkConfig(backbone="mobilenetv3_small_050", height=64, width=32, num_identities=3))
    assert model.config.backbone == "timm:mobilenetv3_small_050"
    features = model(IMAGE[:, :, :64, :32])
    assert features.f_i_nd.shape == (4, 288)
    assert model.weights_note == "timm:mobilenetv3_small_050: random weights."


def test_errors(model: ReIDModel) -> None:
    for image in (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8), torch.zeros(2, 1, 8, 8)):
        with pytest.raises(ConfigError, match=r"expected crops \(N,3,H,W\) in floating point, RGB from 0 to 1"):
            model(image)
    with pytest.raises(ConfigError, match=r"no local branch: test.feature=global, or train with network.local=true"):
        ReIDModel(changed(local=False)).embed_both(IMAGE)
    with pytest.raises(ConfigError, match="the map has 4 rows"):
        ReIDModel(changed(height=64))
    with pytest.raises(ConfigError, match=r"unknown key 'pol'. Did you mean 'pool'"):
        NetworkConfig.parse({"pol": "avg"}, "network")
