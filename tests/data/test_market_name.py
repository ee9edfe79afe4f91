"""Market-1501's names: written and read by one hand."""

from __future__ import annotations

import pytest

from kd_yolo.data.market_name import JUNK, MarketName, market_stem, parse_market_name


@pytest.mark.parametrize(
    ("stem", "identity", "camera", "frame", "others"),
    [
        ("0002_c1s1_000451_03", 2, 1, 451, {"box": 3}),
        ("-1_c3s2_000000_00", JUNK, 3, 0, {"sequence": 2}),
        ("12345_c10s1_1234567_100", 12345, 10, 1234567, {"box": 100}),
    ],
)
def test_names_are_written_and_read(stem: str, identity: int, camera: int, frame: int, others: dict[str, int]) -> None:
    assert market_stem(identity, camera, frame, **others) == stem
    assert parse_market_name(f"{stem}.jpg") == MarketName(identity, camera)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("0002_c1_f0046182.jpg", MarketName(2, 1)),
        ("1-2_c7.jpg", MarketName(None, 7)),
        ("--_c7.jpg", MarketName(None, 7)),
        ("cam1_c2.jpg", None),
        ("0002_d1.jpg", None),
        ("", None),
    ],
)
def test_other_names(name: str, found: MarketName | None) -> None:
    assert parse_market_name(name) == found
