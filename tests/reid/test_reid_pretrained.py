"""First weights: files of several name spaces, ImageNet where it can be had, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision

from kd_yolo.base.errors import InputError
from kd_yolo.reid.model import pretrained
from kd_yolo.reid.model.backbones.resnet import RESNET_NAMES, ResNetBackbone
from kd_yolo.reid.model.pretrained import backbone_of, build_backbone

SIZE = (64, 32)


def offline(*_: object, **__: object) -> None:
    raise URLError("name resolution failed")


def test_a_torchvision_file_loads(tmp_path: Path) -> None:
    net = torchvision.models.resnet18(weights=None)
    torch.save(net.state_dict(), tmp_path / "r18.pth")
    backbone, note = build_backbone("resnet18", size_hw=SIZE, weights=str(tmp_path / "r18.pth"))
    assert torch.equal(backbone.layer4[1].conv2.weight, net.layer4[1].conv2.weight)
    assert note == f"resnet18: weights of {tmp_path / 'r18.pth'}."


def test_wrapped_and_prefixed_state_dicts_load(tmp_path: Path) -> None:
    source = ResNetBackbone("resnet18_ibn_a")
    state = {f"module.{key}": value for key, value in source.state_dict().items()}
    state |= {"module.fc.weight": torch.zeros(1000, 512), "module.fc.bias": torch.zeros(1000)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "ibn.pth")
    backbone, _ = build_backbone("resnet18_ibn_a", size_hw=SIZE, weights=str(tmp_path / "ibn.pth"))
    assert torch.equal(backbone.layer1[0].bn1.IN.weight, source.layer1[0].bn1.IN.weight)
    assert torch.equal(backbone.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_a_timm_file_loads(name: str, tmp_path: Path) -> None:
    import timm

    net = timm.create_model(name, pretrained=False)
    torch.save(net.state_dict(), tmp_path / "timm.pth")
    backbone, _ = build_backbone(name, size_hw=SIZE, weights=str(tmp_path / "timm.pth"))
    wanted = net.state_dict()
    loaded = backbone.body.state_dict()
    shared = [key for key in loaded if key in wanted and wanted[key].ndim == 4]
    assert len(shared) > 5
    assert all(torch.equal(loaded[key], wanted[key]) for key in shared)


def test_random_weights_are_said() -> None:
    for weights in (None, "none"):
        assert build_backbone("resnet18", size_hw=SIZE, weights=weights)[1] == "resnet18: random weights."


def test_auto_falls_back_with_a_note_and_imagenet_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_download", offline)
    backbone, note = build_backbone("resnet18", size_hw=SIZE)
    assert isinstance(backbone, ResNetBackbone)
    assert note.startswith(
        "resnet18: random weights, which need longer training; ImageNet weights of 'resnet18' cannot"
    )
    assert "name resolution failed" in note
    with pytest.raises(InputError, match=r"offline\? Fetch the file elsewhere and give it as network.pretrained=FILE"):
        build_backbone("resnet18", size_hw=SIZE, weights="imagenet")


def test_imagenet_weights_load_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    monkeypatch.setattr(pretrained, "_download", lambda name: state)
    for weights in ("auto", "imagenet"):
        backbone, note = build_backbone("resnet18", size_hw=SIZE, weights=weights)
        assert note == "resnet18: ImageNet weights."
        assert torch.equal(backbone.conv1.weight, state["conv1.weight"])


def test_what_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = []

    def fetch(url: str, **arguments: object) -> dict[str, object]:
        urls.append(url)
        assert arguments["weights_only"] is True
        assert arguments["check_hash"] is True
        return {}

    monkeypatch.setattr(pretrained, "load_state_dict_from_url", fetch)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    for name in RESNET_NAMES:
        pretrained._download(name)
    assert len(set(urls)) == 8
    assert all(name in url for name, url in zip(RESNET_NAMES, urls, strict=True))


@pytest.mark.parametrize("name", RESNET_NAMES)
def test_a_state_dict_tells_its_backbone(name: str) -> None:
    with torch.device("meta"):
        assert backbone_of(ResNetBackbone(name).state_dict()) == name


def test_what_cannot_be_told() -> None:
    assert backbone_of({"blocks.0.weight": 0}) == "another network of timm"
    assert backbone_of({"model.0.weight": 0}) is None
    with torch.device("meta"):
        assert backbone_of(torchvision.models.resnet152(weights=None).state_dict()) is None


def test_wrong_files(tmp_path: Path) -> None:
    other = tmp_path / "r34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), other)
    with pytest.raises(
        InputError, match=r"not hold the weights of backbone 'resnet18': .*look like those of resnet34:"
    ):
        build_backbone("resnet18", size_hw=SIZE, weights=str(other))
    with pytest.raises(InputError, match=r"'resnet18_ibn_a': 24 missing|'resnet18_ibn_a': .* missing"):
        build_backbone("resnet18_ibn_a", size_hw=SIZE, weights=str(other))
    with pytest.raises(InputError, match=r"backbone 'timm:resnet10t': .*look like those of resnet34"):
        build_backbone("resnet10t", size_hw=SIZE, weights=str(other))
    with pytest.raises(InputError, match=r"network.pretrained .*of 'resnet18': 'gone.pth' cannot be opened"):
        build_backbone("resnet18", size_hw=SIZE, weights="gone.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no weights by name"):
        build_backbone("resnet18", size_hw=SIZE, weights=str(tmp_path / "list.pth"))
    narrow = ResNetBackbone("resnet18").state_dict()
    narrow["conv1.weight"] = torch.zeros(32, 3, 7, 7)
    torch.save(narrow, tmp_path / "narrow.pth")
    with pytest.raises(InputError, match=r"1 of another shape \(conv1.weight\)"):
        build_backbone("resnet18", size_hw=SIZE, weights=str(tmp_path / "narrow.pth"))


def test_a_timm_network_without_published_weights_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    make = pretrained.random_backbone

    def unpublished(name: str, *, timm_weights: dict[str, object] | None = None, **make_arguments: object) -> object:
        if timm_weights:
            assert timm_weights == {"pretrained": True}
            raise RuntimeError("No pretrained weights exist for resnet10t.\nSecond line")
        return make(name, **make_arguments)

    monkeypatch.setattr(pretrained, "random_backbone", unpublished)
    backbone, note = build_backbone("resnet10t", size_hw=SIZE)
    assert backbone.channels["layer4"] == 512
    assert "random weights" in note
    assert "(No pretrained weights exist for resnet10t.)" in note
    with pytest.raises(InputError, match="ImageNet weights of 'timm:resnet10t' cannot be had"):
        build_backbone("resnet10t", size_hw=SIZE, weights="imagenet")
