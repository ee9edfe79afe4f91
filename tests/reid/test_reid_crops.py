"""Crops for a loader: whatever a file holds becomes RGB, and what does not decode is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.reid.data import dataset
from kd_yolo.reid.data.dataset import Crops
from kd_yolo.reid.data.decode import is_readable, read_rgb
from kd_yolo.reid.data.sample import Sample
from kd_yolo.reid.data.sampler import Draw, PKSampler
from kd_yolo.reid.data.transforms import Augment
from tests.reid.data_helpers import write_image


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return [Sample(write_image(tmp_path / f"{n}.png", n), 10 + n // 3, n % 2 + 1) for n in range(9)]


def pixel(path: Path) -> tuple[int, ...]:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 0), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("1", 1, (255, 255, 255)),
        ("P", 3, None),
    ],
)
def test_modes_become_rgb(tmp_path: Path, mode: str, colour: object, expected: tuple[int, ...] | None) -> None:
    file = tmp_path / "a.png"
    Image.new(mode, (8, 16), colour).save(file)
    found = pixel(file)
    assert expected is None or found == expected


def test_print_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = pixel(tmp_path / "a.jpg")
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_greys_are_scaled_and_not_clipped(tmp_path: Path, ending: str) -> None:
    levels = np.array([[0, 257 * 100, 65535, 300]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{ending}")
    assert np.asarray(read_rgb(tmp_path / f"a.{ending}"))[0].tolist() == [[0] * 3, [100] * 3, [255] * 3, [1] * 3]


def test_a_camera_held_sideways(tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_rgb(tmp_path / "a.jpg").size == (8, 16)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_what_does_not_decode_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = write_image(tmp_path / "0001_c1.jpg", size_hw=(64, 64))
    file.write_bytes(file.read_bytes()[:1500] if content is None else content)
    with pytest.raises(InputError, match=r"0001_c1\.jpg cannot be read as an image \(.+\): replace or remove it"):
        read_rgb(file)
    assert not is_readable(file)


def test_ultralytics_in_the_same_process_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its PIL asks for one more package where a format is unknown."""

    def image_open(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pi_heif'")

    monkeypatch.setattr(Image, "open", image_open)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match=r"a\.jpg cannot be read as an image \(unknown format\)"):
        read_rgb(tmp_path / "a.jpg")
    assert not is_readable(tmp_path / "a.jpg")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg' cannot be opened: No such file"):
        Crops([Sample(tmp_path / "gone.jpg", 1, 1)], None)[0]


def test_an_item(samples: list[Sample]) -> None:
    crops = Crops(samples, [0, 0, 0, 1, 1, 1, 2, 2, 2], (16, 8))
    x_chw, target, camera, index = crops[4]
    assert (target, camera, index) == (1, 1, 4)
    assert x_chw.dtype == torch.float32
    expected = np.asarray(Image.open(samples[4].path)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(x_chw.numpy(), expected, atol=1e-7)
    assert Crops(samples, None)[4][1] == 11
    assert len(crops) == 9


def test_the_default_size(samples: list[Sample]) -> None:
    assert Crops(samples, None)[0][0].shape == (3, 256, 128)


def test_the_cache_gives_the_same(samples: list[Sample]) -> None:
    kept, read = (
        Crops(samples, None, (24, 12), augment=Augment(pad=2, seed=4), cache=cache) for cache in (True, False)
    )
    for sample in samples:
        sample.path.with_suffix(".bak").write_bytes(sample.path.read_bytes())
    expected = [read[Draw(n, 1, 2)][0] for n in range(9)]
    for sample in samples:
        sample.path.unlink()
    assert all(torch.equal(kept[Draw(n, 1, 2)][0], expected[n]) for n in range(9))


def test_a_cache_that_is_too_large(samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "CACHE_MAX_BYTES", 1000)
    with pytest.raises(
        ConfigError, match=r"train\.cache=true would hold .* 9 crops of 256 x 128 px.*train\.cache=false"
    ):
        Crops(samples, None, cache=True)


def test_workers_do_not_change_the_crops(samples: list[Sample]) -> None:
    targets = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    crops, sampler = Crops(samples, targets, (32, 16), augment=Augment(pad=3, seed=1)), PKSampler(targets, 2, 2, seed=1)
    runs = []
    for workers in (0, 2):
        loader = DataLoader(crops, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        batches = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            batches += list(loader)
        runs.append(batches)
    assert len(runs[0]) == len(runs[1]) == 4
    for alone, helped in zip(*runs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert not torch.equal(runs[0][0][0], runs[0][2][0]), "epochs differ"
