"""What a browser sends becomes an image or a reason, whatever the bytes are called."""

from __future__ import annotations

import contextlib
import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kd_yolo.base.errors import ConfigError, InputError
from kd_yolo.search.page.upload import Limits, read_upload
from kd_yolo.search.settings import ServeRules
from tests.search.page_helpers import GREEN, RED, encoded, scene, turned_jpeg

LIMITS = Limits(size_mb=1, megapixels=1)
IMAGE = scene((30, RED), (200, GREEN))


def saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".gif", ".jpg", ".webp"])
def test_a_image_of_each_kind_is_read(ending: str) -> None:
    found = read_upload(encoded(IMAGE, ending), LIMITS)
    assert found.shape == IMAGE.shape
    assert np.abs(found[100, 45].astype(int) - RED).max() < 45
    if ending in {".png", ".bmp", ".tiff"}:
        np.testing.assert_array_equal(found, IMAGE)


def test_grey_transparent_printed_and_deep_images_become_colour() -> None:
    rgb = Image.fromarray(np.ascontiguousarray(IMAGE[..., ::-1]))
    np.testing.assert_array_equal(read_upload(saved(rgb.convert("RGBA"), "PNG"), LIMITS), IMAGE)
    grey = read_upload(saved(rgb.convert("L"), "PNG"), LIMITS)
    assert grey.shape == IMAGE.shape
    assert (grey.max(axis=2) == grey.min(axis=2)).all()
    printed = read_upload(saved(rgb.convert("CMYK"), "JPEG"), LIMITS)
    assert np.abs(printed[100, 45].astype(int) - RED).max() < 40
    deep = read_upload(saved(Image.fromarray(np.full((8, 8), 257 * 100, np.uint16)), "PNG"), LIMITS)
    assert (deep == 100).all()


def test_a_turned_camera_is_set_upright() -> None:
    np.testing.assert_allclose(
        read_upload(turned_jpeg(IMAGE, 6), LIMITS).astype(int), np.rot90(IMAGE, -1).astype(int), atol=80
    )


def test_a_image_of_one_pixel_is_one() -> None:
    assert read_upload(encoded(np.zeros((1, 1, 3), np.uint8)), LIMITS).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"<html><script>alert(1)</script></html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(IMAGE, ".jpg")[:2000], "damaged"),
        (encoded(IMAGE)[:200], "damaged"),
        (b"\0" * (LIMITS.size_bytes + 1), "larger than 1 MB"),
        (encoded(np.zeros((20_000, 60, 3), np.uint8)), "60 x 20000 pixels, more than 1 megapixels"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_upload(data, LIMITS)


def test_half_a_image_is_refused_by_either_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    half = encoded(IMAGE, ".jpg")[:2000]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: IMAGE)  # as OpenCV 4, which fills the rest with grey
    with pytest.raises(InputError, match="damaged"):
        read_upload(half, LIMITS)

    def fail(*_: object) -> None:
        raise cv2.error("too strange")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(InputError, match="damaged"):
        read_upload(encoded(IMAGE), LIMITS)


def test_a_bomb_is_refused_by_its_header() -> None:
    header = bytearray(encoded(np.zeros((4, 4, 3), np.uint8), ".bmp"))
    header[18:26] = np.array([60_000, 60_000], "<i4").tobytes()  # 10 gigabytes of pixels in 100 bytes
    with pytest.raises(InputError, match="megapixels"):
        read_upload(bytes(header), Limits(size_mb=1, megapixels=50))


def test_a_long_thin_image_within_the_limit_is_read() -> None:
    assert read_upload(encoded(np.zeros((20_000, 40, 3), np.uint8)), LIMITS).shape == (20_000, 40, 3)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".png", ".jpg", ".gif", ".bmp", ".tiff", ".webp"]), st.data())
def test_damage_is_never_anything_but_a_reason(noise: bytes, ending: str, data: st.DataObject) -> None:
    whole = encoded(IMAGE[:16, :16], ending)
    place = data.draw(st.integers(0, len(whole)))
    with contextlib.suppress(InputError):
        assert read_upload(whole[:place] + noise + whole[place + len(noise) :], LIMITS).ndim == 3


@pytest.mark.parametrize(("size_mb", "megapixels"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0), (1, 1000), (500, 1)])
def test_limits_out_of_range_are_refused(size_mb: float, megapixels: float) -> None:
    with pytest.raises(ConfigError, match=r"max_(mb|megapixels): Input should be"):
        ServeRules.parse({"max_mb": size_mb, "max_megapixels": megapixels}, "serve")
