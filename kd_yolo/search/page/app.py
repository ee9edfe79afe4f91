"""The page: its tabs, its look, and the web application that serves it and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import gradio as gr
import numpy as np
from fastapi import FastAPI

from kd_yolo.base.errors import InputError
from kd_yolo.search.page.compare_tab import CompareTab, explain_comparison
from kd_yolo.search.page.comparison import Comparison
from kd_yolo.search.page.finder import Finder
from kd_yolo.search.page.guard import LOOPBACK, Guard
from kd_yolo.search.page.parts import html, private
from kd_yolo.search.page.people_tab import PeopleTab
from kd_yolo.search.page.text import header, plural
from kd_yolo.search.page.upload import Limits

STYLE = Path(__file__).with_name("page.css")
KEPT_S, SWEPT_S = 3600, 600  # how long images of the page are kept, and how often old ones are removed


@dataclass(frozen=True)
class Site:
    """What is served, and to whom.

    Attributes:
        finder: the search.
        limits: of uploads.
        comparison: models of the second tab; None or fewer than two: it says how to get them.
        hosts: names that a browser may call the server by; None: any.
        say: takes lines for whoever runs the server.
    """

    finder: Finder
    limits: Limits
    comparison: Comparison | None = None
    hosts: frozenset[str] | None = LOOPBACK
    say: Callable[[str], None] = print


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of this process for what browsers send and are shown; it is gone afterwards.

    Settings of gradio in the environment, which could share the page or serve more files, do not count meanwhile.
    """
    before = {key: value for key, value in os.environ.items() if key.startswith("GRADIO_")}
    with TemporaryDirectory(prefix="kd-yolo-page-") as name:
        _set_gradio({"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": name})
        try:
            yield Path(name).resolve()
        finally:
            _set_gradio(before)


def _set_gradio(values: dict[str, str]) -> None:
    for key in [key for key in os.environ if key.startswith("GRADIO_")]:
        del os.environ[key]
    os.environ.update(values)


def make_page(site: Site) -> gr.Blocks:
    """Builds the page.

    Args:
        site: what it shows.
    """
    with gr.Blocks(title="Person search · kd-yolo", analytics_enabled=False, delete_cache=(SWEPT_S, KEPT_S)) as page:
        head = html(header(facts(site)))
        page.load(lambda: header(facts(site)), None, head, show_progress="hidden", **private())
        with gr.Tabs():
            with gr.Tab("Find a person"):
                PeopleTab(site.finder, site.limits, site.say)
            with gr.Tab("Compare detectors"):
                if site.comparison is not None and len(site.comparison.models) > 1:
                    CompareTab(site.comparison, site.limits)
                else:
                    explain_comparison()
    return page


def facts(site: Site) -> list[str]:
    """What the page says of its gallery, as it is now."""
    gallery = site.finder.gallery
    with contextlib.suppress(InputError):  # a search says what is wrong with it
        gallery.refresh()
    return [plural(len(gallery), "crop", "crops"), f"network {site.finder.embedder.hash}"]


def make_app(site: Site, cache: Path) -> Guard:
    """The web application (ASGI): the page behind its guard.

    Args:
        site: what is served.
        cache: of :func:`private_folder`, which is still open.
    """
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    icon = cache / "icon.png"
    cv2.imwrite(str(icon), draw_icon())
    gr.mount_gradio_app(
        outer, make_page(site), path="/", footer_links=[], run_history=False, show_error=False, ssr_mode=False,
        enable_monitoring=False, pwa=False, mcp_server=False, allowed_paths=[], blocked_paths=[],
        max_file_size=site.limits.size_bytes, theme=theme(), css=STYLE.read_text(encoding="utf-8"),
        favicon_path=str(icon),
    )  # fmt: skip
    return Guard(outer, cache, site.limits, site.hosts)


def theme() -> gr.themes.Base:
    """Colours; the fonts are those of the visitor's system (page.css): none is fetched."""
    return gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", radius_size="md", font=["sans-serif"], font_mono=["monospace"]
    )


def draw_icon() -> np.ndarray:
    """The page's icon: a person in a box, BGR with transparency."""
    icon = np.zeros((64, 64, 4), np.uint8)
    cv2.rectangle(icon, (4, 4), (59, 59), (178, 114, 0, 255), -1)
    cv2.circle(icon, (32, 22), 9, (255, 255, 255, 255), -1, cv2.LINE_AA)
    cv2.ellipse(icon, (32, 54), (17, 20), 0, 180, 360, (255, 255, 255, 255), -1, cv2.LINE_AA)
    return icon
