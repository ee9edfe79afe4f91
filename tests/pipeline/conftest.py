"""A chain opens the files of its own stages again and again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.light import examined_once


@pytest.fixture(autouse=True, scope="module")
def _files_are_examined_once() -> Iterator[None]:
    with examined_once():
        yield
