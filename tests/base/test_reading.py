"""Files that a user names: regular, bounded, and clear about what is wrong with them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_yolo.base.errors import InputError
from kd_yolo.base.images import image_size, read_image
from kd_yolo.base.reading import (
    first_few,
    parse_yaml,
    read_bytes,
    read_json_value,
    read_text,
    read_yaml_value,
    regular_file,
    shown,
)

ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
BAD_YAML = {
    "aliases": ALIASES,
    "merged aliases": ALIASES + "z:\n  <<: [*b, *b]\n",
    "contains itself": "a: &a [*a]",
    "deep list": "[" * 100_000,
    "deep mapping": "{a: " * 500 + "1" + "}" * 500,
    "month 13": "x: 2001-13-45",
    "list as key": "? [1]\n: 2",
    "python object": "a: !!python/object/apply:os.system [ls]",
    "NUL": "a: \x00",
    "two documents": "a: 1\n---\nb: 2",
    "unknown anchor": "a: *b",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_grows_or_breaks_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^f\.yaml "):
        parse_yaml(text, "f.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc xyz:#-[]{}*&", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(plain)
@settings(deadline=None, max_examples=80)
def test_yaml_means_what_pyyaml_says(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value), "f.yaml") == value


@given(st.text("abc: -[]{}*&!\n'\"|>?", max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_value_or_an_input_error(text: str) -> None:
    try:
        expected = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # as ultralytics does
    except Exception:
        with pytest.raises(InputError):
            parse_yaml(text, "f.yaml")
    else:
        with contextlib.suppress(InputError):  # a value that contains itself
            assert parse_yaml(text, "f.yaml") == expected


def test_pipes_folders_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = {tmp_path / "pipe": "a pipe", tmp_path: "a folder", Path("/dev/zero"): "a device"}
    for path, kind in cases.items():
        with pytest.raises(InputError, match=kind):
            regular_file(path)
    for name in ("none", "a\0b", "x" * 5000):
        with pytest.raises(InputError, match="cannot be opened"):
            regular_file(tmp_path / name)


def test_sizes_are_checked_before_reading(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="expected at most 10"):
        read_bytes(file, limit=10)
    with pytest.raises(InputError, match="expected at most"):
        read_yaml_value(file)


def test_text_and_json(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_text(file) == "[1]"
    assert read_json_value(file) == [1]
    for data in (b"\xff\xfe", b"[" * 200_000, b"{", b"1e", b"9" * 6000):
        file.write_bytes(data)
        with pytest.raises(InputError):
            read_json_value(file)


def test_messages_never_print_an_unbounded_value() -> None:
    for value in ("x" * 10**6, [0] * 10**6, 10**10**4, {1: "y" * 10**6}, b"z" * 10**6):
        assert len(shown(value)) < 200
    assert shown("abc") == "'abc'"


def test_images_are_measured_before_they_are_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    import cv2
    import numpy as np

    good = tmp_path / "good.png"
    cv2.imwrite(str(good), np.full((4, 6, 3), 7, np.uint8))
    assert image_size(good) == (6, 4)
    assert read_image(good).shape == (4, 6, 3)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    huge = tmp_path / "huge.png"
    huge.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + good.read_bytes()[33:]
    )
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:40])
    for path, text in ((huge, "too large"), (broken, "not an image"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=text):
            read_image(path)


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a"], "a"),
        ([1, 2, 3], "1, 2, 3"),
        (range(5), "0, 1, 2 and 2 more"),
        ({"a": 1, "b": 2}.values(), "1, 2"),
        ([Path("a\x1b[2J")], r"a\x1b[2J"),
        (np.array([7, 8, 9, 10]), "7, 8, 9 and 1 more"),
    ],
)
def test_the_first_few_and_how_many_more(items: Collection[object], text: str) -> None:
    assert first_few(items, 3) == text
    assert first_few(items, 3, separator="; ") == text.replace(", ", "; ")
