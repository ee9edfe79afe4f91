"""What a ReID checkpoint may hold beyond what every file of torch may: nothing repeated, endless, or too deep."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest

from kd_yolo.base.errors import InputError
from kd_yolo.base.pickles import scan_pickle
from kd_yolo.reid.model.pickle_policy import MAX_DEPTH, check_pickle
from tests.trust.claiming_pickles import WHOLE


def check(data: bytes) -> None:
    check_pickle(scan_pickle(io.BytesIO(data)))


def shared_chains(chains: int, levels: int) -> list[Any]:
    """A list of chains; the end of each is the start of the one before it, so its levels add up."""
    found: list[Any] = []
    inner: list[Any] = []
    for _ in range(chains):
        for _ in range(levels):
            inner = [inner]
        found.append(inner)
    return found


def test_a_tensor_that_repeats_its_numbers() -> None:
    check(b"\x80\x02" + WHOLE + b".")
    with pytest.raises(InputError, match="does not fit its 4 numbers"):
        check(b"\x80\x02" + WHOLE.replace(b"K\x04\x85K\x01\x85", b"K\x09\x85K\x00\x85") + b".")


def test_a_value_that_contains_itself() -> None:
    endless: list[Any] = []
    endless.append([endless])
    with pytest.raises(InputError, match="contains itself"):
        check(pickle.dumps(endless, 2))


def test_few_bytes_for_many_values() -> None:
    item: list[Any] = [0] * 10
    for _ in range(5):
        item = [item] * 10
    check(pickle.dumps(item, 2))
    with pytest.raises(InputError, match="stands for more than 5000000 values"):
        check(pickle.dumps([item] * 10, 2))


def test_levels_add_up_over_what_is_shared() -> None:
    check(pickle.dumps(shared_chains(2, 30), 2))
    with pytest.raises(InputError, match=f"nested more than {MAX_DEPTH} levels"):
        check(pickle.dumps(shared_chains(3, 30), 2))
