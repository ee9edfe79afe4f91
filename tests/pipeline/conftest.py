"""A chain opens the files of its own stages again and again."""

from __future__ import annotations

from tests.light import files_are_examined_once

__all__ = ["files_are_examined_once"]  # a fixture
