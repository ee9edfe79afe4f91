"""The second tab: what several detectors see in an image, two of them under a slider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from kd_yolo.base.errors import InputError
from kd_yolo.search.frames.frame_types import ImageHW3
from kd_yolo.search.page.comparison import Comparison, ModelResult
from kd_yolo.search.page.draw import Shown
from kd_yolo.search.page.parts import SESSION_S, Update, html, image_input, private
from kd_yolo.search.page.text import NONE, empty, plural, status, step, table
from kd_yolo.search.page.upload import Limits, read_upload

START = "Drop an image, or choose one: every model looks at it."
WAITING = "The two models appear here, with a slider between them."
CONF, KEPT_PX = 0.25, 2560
# gr.ImageSlider takes no alternative texts; its images come a moment after the event
NAME_IMAGES = """() => {
  let left = 40;
  const timer = setInterval(() => {
    const text = document.querySelector('#legend').innerText;
    document.querySelectorAll('#slider img').forEach((img) => { img.alt = text; });
    if (--left === 0) clearInterval(timer);
  }, 250);
}"""
COLUMNS = ("Model", "Parameters", "Size", "Boxes")


class CompareTab:
    """Builds the tab inside ``gr.Blocks`` and answers its events.

    Args:
        comparison: the models, at least two.
        limits: of uploads.
    """

    def __init__(self, comparison: Comparison, limits: Limits) -> None:
        self.comparison, self.limits = comparison, limits
        self.titles = [model.title for model in comparison.models]
        self.original = gr.State(None, time_to_live=SESSION_S)
        self.results = gr.State((), time_to_live=SESSION_S)
        with gr.Row(elem_classes="kd-columns"):
            with gr.Column(scale=4, min_width=320):
                self._build_question()
            with gr.Column(scale=6, min_width=320):
                self._build_answer()
        self._connect()

    def _build_question(self) -> None:
        html(step(1, "Image"))
        self.image = image_input(self.limits, "compare-image", "The image to compare on")
        self.state = html(status(START), elem_id="compare-state")
        html(step(2, "Models"))
        with gr.Row():
            self.left = gr.Dropdown(self.titles, value=self.titles[0], label="Left", elem_id="left", min_width=120)
            self.right = gr.Dropdown(self.titles, value=self.titles[-1], label="Right", elem_id="right", min_width=120)
        self.conf = gr.Slider(0.05, 0.95, CONF, step=0.05, label="Least score of a box", elem_id="conf")

    def _build_answer(self) -> None:
        html(step(3, "Side by side"))
        self.legend = html(empty(WAITING), elem_id="legend")
        self.slider = gr.ImageSlider(
            format="jpeg", interactive=False, label="Left and right model", show_label=False, buttons=["fullscreen"],
            elem_id="slider", visible=False,
        )  # fmt: skip
        self.table = html(models_table(self.comparison, ()), elem_id="compare-table")

    def _connect(self) -> None:
        every = [self.original, self.results, self.image, self.state, self.legend, self.slider, self.table]
        one = private()
        pair = [self.left, self.right]
        named = {"fn": None, "js": NAME_IMAGES}
        self.image.upload(self._upload, [self.image, self.conf, *pair], every, **one).success(**named)
        self.image.clear(self._clear, None, every, **one)
        looked = [self.original, self.conf, *pair]
        self.conf.change(self._compare, looked, every, trigger_mode="always_last", **one).success(**named)
        for choice in pair:
            choice.input(self._pair, [self.results, *pair], [self.legend, self.slider], **one).success(**named)

    def _upload(self, file: str | None, conf: float, left: str, right: str) -> Update:
        if file is None:
            return self._clear()
        try:
            image = shrink_to_keep(read_upload(Path(file).read_bytes(), self.limits))
        except InputError as error:
            return {**self._clear(), self.state: status(str(error), "warn")}
        return {
            **self._compare(image, conf, left, right), self.original: image,
            self.image: Shown.of(image).image_hw3, self.state: status("Move the handle to compare.", "good"),
        }  # fmt: skip

    def _clear(self) -> Update:
        return {
            self.original: None, self.results: (), self.image: None, self.state: status(START),
            self.legend: empty(WAITING), self.slider: gr.update(value=None, visible=False),
            self.table: models_table(self.comparison, ()),
        }  # fmt: skip

    def _compare(self, image: ImageHW3 | None, conf: float, left: str, right: str) -> Update:
        if image is None:
            return {self.original: None}
        results = self.comparison.detect(image, conf)
        return {
            self.results: results,
            self.table: models_table(self.comparison, results),
            **self._pair(results, left, right),
        }

    def _pair(self, results: Sequence[ModelResult], left: str, right: str) -> Update:
        if not results:
            return {self.slider: gr.update(visible=False)}
        first, second = results[self.titles.index(left)], results[self.titles.index(right)]
        names = [f"{each.model.title}, {plural(each.num_boxes, 'box', 'boxes')}" for each in (first, second)]
        return {
            self.legend: status(f"Left: {names[0]}. Right: {names[1]}."),
            self.slider: gr.update(value=(first.image_hw3, second.image_hw3), visible=True),
        }


def shrink_to_keep(image_hw3: ImageHW3) -> ImageHW3:
    """An image as it is kept for other scores: very large ones smaller, as no network sees so much of them."""
    longer = max(image_hw3.shape[:2])
    if longer <= KEPT_PX:
        return image_hw3
    size = [max(1, round(side * KEPT_PX / longer)) for side in image_hw3.shape[1::-1]]
    return np.asarray(cv2.resize(image_hw3, size, interpolation=cv2.INTER_AREA), np.uint8)


def models_table(comparison: Comparison, results: Sequence[ModelResult]) -> str:
    """Size and number of boxes of each model; sizes are shares of the first one's."""
    most = comparison.models[0].parameters
    boxes: list[Any] = [each.num_boxes for each in results] or [NONE] * len(comparison.models)
    lines = [
        (model.title, f"{model.parameters:,}", f"{model.parameters / most:.0%}", str(count))
        for model, count in zip(comparison.models, boxes, strict=True)
    ]
    return table("Models", COLUMNS, lines, numeric=(1, 2, 3))


def explain_comparison() -> None:
    """What the tab holds where no models were given."""
    html(step(1, "Models"))
    html(status("Start the page with two or more models, and they can be compared here on any image:"))
    html("<pre class='kd-command'>kd-yolo search serve ... --compare teacher.pt pruned.pt distilled.pt</pre>")
