"""Natural order: by the value of numbers, and never by how a folder lists its files."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kd_yolo.base.order import natural_key


def test_numbers_count_by_value() -> None:
    ordered = ["a/2.jpg", "a/10.jpg", "a b/1.jpg", "img1.jpg", "img01.jpg", "img2.jpg", "img10.jpg", "img10b.jpg"]
    ordered += ["img" + "9" * 5000 + ".jpg", "Img" + "1" * 5001 + ".jpg", "z.jpg"]
    for seed in range(5):
        mixed = random.Random(seed).sample(ordered, len(ordered))
        assert sorted(mixed, key=natural_key) == sorted(ordered, key=natural_key)
    assert [Path(p).name for p in sorted(["f10", "f9", "f1"], key=natural_key)] == ["f1", "f9", "f10"]
    assert sorted(ordered, key=natural_key).index("a/2.jpg") < sorted(ordered, key=natural_key).index("a b/1.jpg")


@given(st.lists(st.text("a1029٣²/. B", max_size=8), max_size=8))
def test_the_order_depends_on_the_names_only(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(sorted(names), key=natural_key)
    assert len({natural_key(name) for name in names}) == len(set(names))


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_two_numbers_compare_as_numbers(a: int, b: int) -> None:
    assert (natural_key(f"frame_{a}.png") < natural_key(f"frame_{b}.png")) == (a < b)
