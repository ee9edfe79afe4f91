"""The page in a real browser: an image in, a person chosen, matches out, a match opened; two detectors compared."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faiss", reason="needs the extra search")
pytest.importorskip("polars", reason="needs the extra search")

from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.page.comparison import Comparison, Model, ModelResult
from kd_yolo.search.page.draw import Shown, draw_classes
from tests.search.page_browser import THUMBNAIL, chromium, crops, opened, say, send
from tests.search.page_helpers import GREEN, RED, empty_finder, encoded, fill, filled_finder, scene, served

# looked for, not imported: that takes seconds in every process that collects the tests
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra ui")]
TWO = scene((40, RED), (220, GREEN))


class FakeComparison(Comparison):
    """Every model sees as many boxes as its place says."""

    def detect(self, image_hw3: ImageHW3, conf: float) -> list[ModelResult]:
        seen = []
        for place, model in enumerate(self.models, 1):
            boxes = np.array([(20 * k, 20, 20 * k + 15, 100) for k in range(place)])
            drawn = draw_classes(Shown.of(image_hw3), boxes, [0] * place, {0: "person"})
            seen.append(ModelResult(model, place, drawn))
        return seen


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from chromium()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("browser")
    (found / "two.png").write_bytes(encoded(TWO))
    (found / "one.png").write_bytes(encoded(scene((140, GREEN))))
    (found / "none.png").write_bytes(encoded(scene()))
    (found / "page.jpg").write_bytes(b"<html><script>alert(1)</script></html>")
    (found / "large.png").write_bytes(encoded(np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)))
    (found / "pixels.png").write_bytes(encoded(np.zeros((1500, 1500, 3), np.uint8)))
    return found


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    models = [Model("teacher", Path("t.pt"), 3_000_000), Model("pruned", Path("p.pt"), 1_500_000),
              Model("distilled", Path("d.pt"), 1_500_000)]  # fmt: skip
    with served(filled_finder(folder), comparison=FakeComparison(models)) as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    yield from opened(browser, address)


def pixels(page: Any, selector: str) -> ImageHW3:
    """RGB image of what an element shows, as the browser has it."""
    import cv2

    data = np.frombuffer(page.locator(selector).first.screenshot(), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def show_of(image: ImageHW3, colour: tuple[int, int, int]) -> float:
    """Share of an image that has a colour (BGR)."""
    return float((np.abs(image.astype(int) - colour[::-1]).max(axis=2) < 40).mean())


def test_a_person_is_found_again_and_seen_in_the_frame(page: Any, folder: Path) -> None:
    send(page, folder / "two.png")
    say(page, "#state", "2 people found")
    page.wait_for_selector("#person label")
    assert page.locator("#person label").all_inner_texts() == ["Person 1", "Person 2", "Whole image"]
    page.click("#person label:has-text('Person 2')")
    say(page, "#found", "4 matches from 3 cameras, best first.")
    first = crops(page, 4).first.inner_text().split("\n")
    assert first == ["1 · 0.000", "cam 1"]
    page.wait_for_selector("#table tbody tr")
    cells = page.locator("#table tbody tr").first.locator("td").all_inner_texts()
    assert cells == ["1", "1", "\N{EN DASH}", "0.000", "hall 1.png", "\N{EN DASH}"]
    page.locator(THUMBNAIL).first.click()
    say(page, "#frame-text", "Match 1: hall 1.png, camera 1")
    page.wait_for_selector("#frame-image img")
    page.wait_for_function("document.querySelector('#frame-image img').naturalWidth == 800")
    assert show_of(pixels(page, "#frame-image img"), GREEN) > 0.04
    page.click("#close")
    page.wait_for_selector("#frame", state="hidden")


@pytest.mark.e2e
def test_a_person_is_chosen_in_the_image_and_shown_in_a_video(page: Any, folder: Path) -> None:
    send(page, folder / "two.png")
    say(page, "#state", "2 people found")
    page.wait_for_function("document.querySelector('#image img')?.naturalWidth == 800")
    box = page.locator("#image img").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 60 / 320, box["y"] + box["height"] * 120 / 240)
    say(page, "#found", "4 matches")
    page.wait_for_selector("#person label.selected:has-text('Person 1')")
    texts = crops(page, 4).all_inner_texts()
    place = next(k for k, text in enumerate(texts) if "cam 2 · 0:00.7" in text)
    assert place < 2
    page.locator(THUMBNAIL).nth(place).click()
    say(page, "#frame-text", f"Match {place + 1}: yard.avi, camera 2, 0:00.7 (frame 7)")
    gone = next(k for k, text in enumerate(texts) if "cam 3" in text)
    page.locator(THUMBNAIL).nth(gone).click()
    say(page, "#frame-text", "The source is no longer here")


@pytest.mark.e2e
def test_all_of_it_works_by_keyboard(page: Any, folder: Path) -> None:
    send(page, folder / "two.png")
    say(page, "#state", "2 people found")
    page.focus("#person input >> nth=0")
    page.keyboard.press("Space")
    say(page, "#found", "4 matches")
    page.focus("#top input[type=range]")
    page.keyboard.press("Home")
    say(page, "#found", "1 match from 1 camera")
    crops(page, 1).focus()
    page.keyboard.press("Enter")
    say(page, "#frame-text", "Match 1:")
    page.focus("#close")
    page.keyboard.press("Enter")
    page.wait_for_selector("#frame", state="hidden")


@pytest.mark.e2e
def test_images_have_texts_and_steps_have_headings(page: Any, folder: Path) -> None:
    send(page, folder / "one.png")
    say(page, "#found", "4 matches")  # a single person needs no choosing
    page.locator(THUMBNAIL).first.click()
    say(page, "#frame-text", "Match 1:")
    page.wait_for_selector("#frame-image img")
    assert all(page.eval_on_selector_all("img", "all => all.map(each => each.alt)"))
    assert page.locator("h1").all_inner_texts() == ["Person search"]
    assert [text.split("\n")[-1] for text in page.locator("h2.kd-step:visible").all_inner_texts()] == [
        "Image", "Person", "Matches", "Frame",
    ]  # fmt: skip


@pytest.mark.e2e
def test_nobody_found_is_said_and_the_whole_image_can_be_asked_for(page: Any, folder: Path) -> None:
    send(page, folder / "none.png")
    say(page, "#state", "No person found.")
    page.click("#person label:has-text('Whole image')")
    say(page, "#found", "4 matches")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("name", "reason"),
    [("page.jpg", "not an image"), ("large.png", "exceed the maximum allowed size"), ("pixels.png", "megapixels")],
)
def test_what_is_no_image_is_refused_with_a_reason(page: Any, folder: Path, name: str, reason: str) -> None:
    send(page, folder / name)
    say(page, ".toast-body", reason)
    assert page.locator("#person").count() == 0
    send(page, folder / "two.png")
    say(page, "#state", "2 people found")


@pytest.mark.e2e
def test_an_empty_gallery_is_said(browser: Any, folder: Path, tmp_path: Path) -> None:
    with served(empty_finder(tmp_path / "gallery")) as address:
        for page in opened(browser, address):
            send(page, folder / "one.png")
            say(page, "#found", "The gallery is empty.")
            page.click("button[role=tab]:has-text('Compare')")
            page.wait_for_selector("text=--compare teacher.pt pruned.pt distilled.pt")


@pytest.mark.e2e
def test_the_page_says_how_large_the_gallery_is_now(browser: Any, tmp_path: Path) -> None:
    finder = empty_finder(tmp_path / "gallery")
    with served(finder) as address:
        fill(empty_finder(tmp_path / "gallery"), TWO, source="a.png")
        for page in opened(browser, address):
            say(page, ".kd-facts", "2 crops")


@pytest.mark.e2e
def test_a_damaged_gallery_is_said_to_the_visitor_without_its_path(browser: Any, folder: Path, tmp_path: Path) -> None:
    finder, lines = empty_finder(tmp_path / "gallery"), []
    with served(finder, say=lines.append) as address:
        (tmp_path / "gallery" / "gallery.json").write_text("{")
        for page in opened(browser, address):
            send(page, folder / "one.png")
            say(page, "#found", "The gallery cannot be searched.")
            assert str(tmp_path) not in page.inner_text("body")
    assert str(tmp_path) in lines[0]


@pytest.mark.e2e
def test_detectors_are_compared_under_a_slider(page: Any, folder: Path) -> None:
    page.click("button[role=tab]:has-text('Compare')")
    send(page, folder / "two.png", "#compare-image")
    say(page, "#legend", "Left: teacher, 1 box. Right: distilled, 3 boxes.")
    page.wait_for_function("[...document.querySelectorAll('#slider img')].filter(i => i.naturalWidth).length == 2")
    page.wait_for_selector("#compare-table td:has-text('3')")
    lines = [row.locator("td").all_inner_texts() for row in page.locator("#compare-table tbody tr").all()]
    sizes = [("teacher", "3,000,000", "100%"), ("pruned", "1,500,000", "50%"), ("distilled", "1,500,000", "50%")]
    assert lines == [[*size, str(boxes)] for boxes, size in enumerate(sizes, 1)]
    page.wait_for_function("[...document.querySelectorAll('#slider img')].every(i => i.alt.includes('teacher'))")
    page.click("#right input")
    page.click("li[role=option]:has-text('pruned')")
    say(page, "#legend", "Right: pruned, 2 boxes.")


@pytest.mark.e2e
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window(browser: Any, address: str, folder: Path, tmp_path: Path, width: int) -> None:
    for page in opened(browser, address, width):
        send(page, folder / "one.png")
        say(page, "#found", "4 matches")
        page.locator(THUMBNAIL).first.click()
        page.wait_for_selector("#frame-image img")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        file = tmp_path / f"page-{width}.png"
        page.screenshot(path=str(file), full_page=True)
        assert file.stat().st_size > 10_000
