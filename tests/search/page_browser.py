"""A real browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
THUMBNAIL = "#matches button.thumbnail-item"


def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no {CHROMIUM} on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield found
        found.close()


def opened(browser: Any, address: str, width: int = 1280, height: int = 800) -> Iterator[Any]:
    """The page in a window of its own; afterwards nothing may have asked another host, and no script failed."""
    found = browser.new_page(viewport={"width": width, "height": height})
    found.set_default_timeout(20_000)
    asked: list[str] = []
    failed: list[str] = []
    found.on("request", lambda request: asked.append(request.url))
    found.on("pageerror", lambda error: failed.append(str(error)))
    found.goto(address)
    found.wait_for_selector("#image button")
    yield found
    found.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert failed == []


def send(page: Any, file: Path, place: str = "#image") -> None:
    page.set_input_files(f"{place} input[type=file]", str(file))


def say(page: Any, place: str, text: str) -> None:
    """Waits until an element holds a text."""
    page.wait_for_selector(f"{place}:has-text({text!r})")


def crops(page: Any, number: int) -> Any:
    """The matches, when so many are shown."""
    page.wait_for_function(f"document.querySelectorAll({THUMBNAIL!r}).length == {number}")
    return page.locator(THUMBNAIL)
