"""Augmentation: what it does to pixels, and that nothing but seed and draw decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kd_yolo.base.errors import ConfigError
from kd_yolo.reid.data.sampler import Draw
from kd_yolo.reid.data.transforms import IMAGENET_MEAN, Augment, as_unit, resize

CROP = torch.randint(0, 256, (3, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
OFF = {"flip": 0.0, "pad": 0, "erase": 0.0}


def test_nothing_is_done_when_all_is_off() -> None:
    assert torch.equal(Augment(**OFF)(CROP, Draw(0)), CROP.double().div(255).float())


def test_a_flip_mirrors() -> None:
    flipped = Augment(**OFF | {"flip": 1.0})(CROP, Draw(0))
    assert torch.equal(flipped, as_unit(CROP).flip(2))


def test_padding_shifts_and_fills_with_black() -> None:
    white = torch.full((3, 32, 16), 255, dtype=torch.uint8)
    shifts = set()
    for number in range(40):
        moved = Augment(**OFF | {"pad": 4})(white, Draw(number))
        assert moved.shape == white.shape
        assert set(moved.unique().tolist()) <= {0.0, 1.0}
        shifts.add((int(moved[0].amax(1).sum()), int(moved[0].amax(0).sum())))
        assert min(shifts) >= (28, 12), "no more than 4 pixels are lost"
    assert len(shifts) > 5


def test_erasing_fills_a_rectangle_of_the_right_area_with_the_mean() -> None:
    black = torch.zeros((3, 64, 32), dtype=torch.uint8)
    for number in range(30):
        erased = Augment(**OFF | {"erase": 1.0})(black, Draw(number))
        mask = erased[0] > 0
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == rows * columns, "a rectangle"
        assert 0.01 <= float(mask.sum()) / mask.numel() <= 0.42
        for channel, value in enumerate(IMAGENET_MEAN):
            assert erased[channel][mask].unique().tolist() == pytest.approx([value])


def test_erasing_happens_as_often_as_asked() -> None:
    black = torch.zeros((3, 32, 16), dtype=torch.uint8)
    happened = sum(bool(Augment(**OFF | {"erase": 0.3})(black, Draw(n)).any()) for n in range(400))
    assert 90 <= happened <= 150


def test_seed_epoch_sample_and_repeat_decide_and_nothing_else() -> None:
    torch.manual_seed(1)
    first = Augment(seed=1)(CROP, Draw(3, 2, 1))
    torch.manual_seed(2)
    assert torch.equal(Augment(seed=1)(CROP, Draw(3, 2, 1)), first)
    others = [
        Augment(seed=2)(CROP, Draw(3, 2, 1)),
        *(Augment(seed=1)(CROP, Draw(*key)) for key in ((4, 2, 1), (3, 3, 1), (3, 2, 2))),
    ]
    assert all(not torch.equal(other, first) for other in others)


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    Augment()(CROP, Draw(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size_hw", [(256, 128), (33, 57)])
def test_any_size(size_hw: tuple[int, int]) -> None:
    image = Image.fromarray(np.full((20, 10, 3), (10, 20, 30), np.uint8))
    x_chw = resize(image, size_hw)
    assert x_chw.shape == (3, *size_hw)
    assert x_chw.dtype == torch.uint8
    assert torch.equal(x_chw[:, 0, 0], torch.tensor([10, 20, 30], dtype=torch.uint8))
    assert Augment()(x_chw, Draw(0)).shape == (3, *size_hw)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [({"flip": 1.5}, r"train\.flip=1\.5"), ({"erase": -0.1}, r"train\.erase=-0\.1"), ({"pad": -1}, r"train\.pad=-1")],
)
def test_values_out_of_range(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Augment(**wrong)


def test_jitter_recolours_and_keeps_shapes() -> None:
    grey = torch.full((3, 16, 8), 120, dtype=torch.uint8)
    casts = []
    for number in range(30):
        seen = Augment(**OFF | {"jitter": 0.3})(grey, Draw(number))
        assert torch.equal(seen, seen[:, :1, :1].expand_as(seen)), "an even crop stays even"
        assert 120 / 255 * 0.7**3 <= float(seen.min()) <= float(seen.max()) <= min(1, 120 / 255 * 1.3**3)
        casts.append((seen[:, 0, 0] / seen[:, 0, 0].mean()).tolist())
    assert max(cast[0] for cast in casts) > 1.1 > 0.9 > min(cast[0] for cast in casts), "channels change apart"
    assert torch.equal(Augment(**OFF | {"jitter": 0.3})(grey, Draw(1)), Augment(**OFF | {"jitter": 0.3})(grey, Draw(1)))
    with pytest.raises(ConfigError, match=r"train\.jitter=1"):
        Augment(jitter=1)
