"""Components that the tabs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from kd_yolo.search.page.upload import NAMES, Limits

SESSION_S = 3600  # that what a visitor sees is kept after the last event
Say = Callable[[str], None]
Update = dict[Any, Any]


def html(text: str = "", elem_id: str | None = None) -> gr.HTML:
    """HTML of :mod:`kd_yolo.search.page.text`, without a frame of its own."""
    return gr.HTML(text, elem_id=elem_id, apply_default_css=False, js_on_load=None)


def image_input(limits: Limits, elem_id: str, alt_text: str) -> gr.Image:
    """Where an image is dropped or chosen; it comes as the file that was sent."""
    return gr.Image(
        type="filepath", image_mode=None, format="jpeg", sources=["upload", "clipboard"], label="Image",
        show_label=False, buttons=[], height=330, elem_id=elem_id, alt_text=alt_text,
        placeholder=f"# Drop an image here\nor press to choose one\n{NAMES}, up to {limits.size_mb:g} MB",
    )  # fmt: skip


def private() -> dict[str, Any]:
    """How the events of the page run: one after the other, and called by no name."""
    return {"concurrency_id": "search", "concurrency_limit": 1, "api_visibility": "private"}
