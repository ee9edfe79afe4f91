"""The first tab: an image, the person in it, the ranked matches, and a match in its frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np

from kd_yolo.base.errors import InputError, KDYoloError
from kd_yolo.search.frames.frame_types import Crop, ImageHW3
from kd_yolo.search.gallery.files import Threshold
from kd_yolo.search.page.draw import Shown, draw_people
from kd_yolo.search.page.finder import WHOLE, Finder, Match, person_at
from kd_yolo.search.page.frames import show_match, source_name
from kd_yolo.search.page.parts import SESSION_S, Say, Update, html, image_input, private
from kd_yolo.search.page.text import NONE, clock, empty, plural, status, step, table
from kd_yolo.search.page.upload import Limits, read_upload

TOP, MOST = 10, 50
COLUMNS = ("Rank", "Camera", "Time", "Distance", "Source", "Frame")
START = "Drop an image of somebody, or choose one."
WAITING = "The people of the gallery who look most like the chosen one appear here."
EMPTY = "The gallery is empty. Whoever runs this page can fill it with: kd-yolo search index"
BROKEN = "The gallery cannot be searched. The terminal of kd-yolo search serve says why."
GONE = "it has been removed from the gallery since. Search again."
NO_CROP = np.full((128, 64, 3), 190, np.uint8)
SHOW_FRAME = """() => setTimeout(() => document.getElementById('frame')
  ?.scrollIntoView({behavior: 'smooth', block: 'start'}), 300)"""


@dataclass
class Session:
    """What one visitor sees; kept here, never in the browser.

    Attributes:
        shown: the image.
        people: the crops of the people in it.
        chosen: one of them, :data:`WHOLE`, or None.
        matches: of the chosen one.
    """

    shown: Shown
    people: Sequence[Crop] = ()
    chosen: int | None = None
    matches: Sequence[Match] = field(default_factory=tuple)

    def crop(self) -> ImageHW3:
        """RGB image of what is searched for."""
        if self.chosen is not None and 0 <= self.chosen < len(self.people):
            return self.people[self.chosen].image_hw3
        return self.shown.image_hw3


class PeopleTab:
    """Builds the tab inside ``gr.Blocks`` and answers its events.

    Args:
        finder: the search.
        limits: of uploads.
        say: takes lines for whoever runs the server: they may name files, which a visitor's page does not.
    """

    def __init__(self, finder: Finder, limits: Limits, say: Say) -> None:
        self.finder, self.limits, self.say = finder, limits, say
        self.session = gr.State(None, time_to_live=SESSION_S)
        with gr.Row(elem_classes="kd-columns"):
            with gr.Column(scale=4, min_width=320):
                self._build_question()
            with gr.Column(scale=6, min_width=320):
                self._build_answer()
        self._connect()

    def _build_question(self) -> None:
        html(step(1, "Image"))
        self.image = image_input(self.limits, "image", "The image, with numbered people")
        self.state = html(status(START), elem_id="state")
        html(step(2, "Person"))
        self.person = gr.Radio([], label="Who is searched for", elem_id="person", visible=False)
        self.top = gr.Slider(1, MOST, TOP, step=1, label="Matches to show", elem_id="top")

    def _build_answer(self) -> None:
        html(step(3, "Matches"))
        self.found = html(empty(WAITING), elem_id="found")
        self.gallery = gr.Gallery(
            format="jpeg", label="Matches, best first", show_label=False, columns=5, allow_preview=False,
            interactive=False, buttons=[], object_fit="contain", height="auto", elem_id="matches", visible=False,
        )  # fmt: skip
        with gr.Column(visible=False, elem_id="frame") as self.frame:
            html(step(4, "Frame"))
            self.frame_text = html(elem_id="frame-text")
            self.frame_image = gr.Image(
                format="jpeg", label="Frame", show_label=False, buttons=["fullscreen"], interactive=False,
                elem_id="frame-image", alt_text="The frame of the match, the person in a box",
            )  # fmt: skip
            self.close = gr.Button("Close frame", size="sm", elem_id="close")
        self.table = html(elem_id="table")

    def _connect(self) -> None:
        every = [self.session, self.image, self.state, self.person, self.found, self.gallery, self.frame, self.table]
        one = private()
        asked = [self.person, self.session, self.top]
        self.image.upload(self._upload, [self.image, self.top], every, **one)
        self.image.clear(self._clear, None, every, **one)
        self.image.select(self._point, [self.session, self.top], every, show_progress="hidden", **one)
        self.person.input(self._choose, asked, every, **one)
        self.top.change(self._more, [self.session, self.top], every, trigger_mode="always_last", **one)
        opened = [self.frame, self.frame_text, self.frame_image]
        self.gallery.select(self._open, [self.session], opened, **one).success(None, None, None, js=SHOW_FRAME)
        self.close.click(lambda: gr.update(visible=False), None, self.frame, api_visibility="private")

    def _upload(self, file: str | None, top: float) -> Update:
        if file is None:
            return self._clear()
        try:
            image = read_upload(Path(file).read_bytes(), self.limits)
        except InputError as error:
            return {**self._clear(), self.state: status(str(error), "warn")}
        people = self.finder.people(image)
        session = Session(Shown.of(image), people)
        choices = [(f"Person {place + 1}", place) for place in range(len(people))] + [("Whole image", WHOLE)]
        updates = {**self._clear(), **self._drawn(session), self.state: people_line(len(people))}
        if len(people) == 1:
            updates |= self._search(session, 0, top)
        return {**updates, self.person: gr.update(choices=choices, value=session.chosen, visible=True)}

    def _clear(self) -> Update:
        return {
            self.session: None, self.image: None, self.state: status(START), self.found: empty(WAITING),
            self.person: gr.update(choices=[], value=None, visible=False), **self._no_answer(),
        }  # fmt: skip

    def _no_answer(self) -> Update:
        return {self.gallery: gr.update(value=[], visible=False), self.frame: gr.update(visible=False), self.table: ""}

    def _point(self, session: Session | None, top: float, event: gr.SelectData) -> Update:
        if session is None:
            return {self.state: status(START)}
        x, y = event.index
        place = person_at(session.people, float(x) / session.shown.scale, float(y) / session.shown.scale)
        return {self.state: people_line(len(session.people))} if place is None else self._search(session, place, top)

    def _choose(self, place: int | None, session: Session | None, top: float) -> Update:
        return self._clear() if session is None or place is None else self._search(session, int(place), top)

    def _more(self, session: Session | None, top: float) -> Update:
        if session is None or session.chosen is None:
            return {self.session: session}
        return self._search(session, session.chosen, top)

    def _search(self, session: Session, place: int, top: float) -> Update:
        session.chosen = place
        updates = {self.session: session, self.person: gr.update(value=place), **self._drawn(session)}
        try:
            session.matches = self.finder.matches(session.crop(), min(int(top), MOST))
        except KDYoloError as error:
            session.matches = ()
            self.say(f"error: {error}")
            return {**updates, **self._no_answer(), self.found: status(BROKEN, "warn")}
        if not session.matches:
            return {**updates, **self._no_answer(), self.found: status(EMPTY, "warn")}
        images = [(NO_CROP if m.crop_hw3 is None else m.crop_hw3, caption(r, m)) for r, m in ranked(session.matches)]
        return {
            **updates, **self._no_answer(), self.gallery: gr.update(value=images, visible=True, selected_index=None),
            self.found: status(matches_line(session.matches, self.finder.gallery.threshold), "good"),
            self.table: matches_table(session.matches),
        }  # fmt: skip

    def _drawn(self, session: Session) -> Update:
        boxes = [crop.box_xyxy for crop in session.people]
        return {self.session: session, self.image: draw_people(session.shown, boxes, session.chosen)}

    def _open(self, session: Session | None, event: gr.SelectData) -> Update:
        if session is None or not isinstance(event.index, int) or not 0 <= event.index < len(session.matches):
            return {self.frame: gr.update(visible=False)}
        match = session.matches[event.index]
        image, line = show_match(match) if self.finder.is_kept(match) else (None, GONE)
        text = f"Match {event.index + 1}: {line}"
        alt = gr.update(value=image, alt_text=text)
        return {self.frame: gr.update(visible=True), self.frame_text: status(text), self.frame_image: alt}


def ranked(matches: Sequence[Match]) -> list[tuple[int, Match]]:
    """Matches with their ranks, from 1."""
    return list(enumerate(matches, 1))


def caption(rank: int, match: Match) -> str:
    """What stands under a crop."""
    time = "" if match.row["seconds"] is None else f" · {clock(match.row['seconds'])}"
    return f"{rank} · {match.distance:.3f}\ncam {match.row['camera']}{time}"


def matches_table(matches: Sequence[Match]) -> str:
    """The matches as a table."""
    lines = [
        (str(rank), str(m.row["camera"]), clock(m.row["seconds"]), f"{m.distance:.3f}", source_name(m.row),
         NONE if m.row["seconds"] is None and not m.row["frame"] else f"{m.row['frame']:,}")
        for rank, m in ranked(matches)
    ]  # fmt: skip
    return table("Matches, best first", COLUMNS, lines, numeric=(0, 1, 2, 3, 5))


def people_line(count: int) -> str:
    """The line under the image."""
    if not count:
        return status("No person found. Choose another image, or search for the whole image if it is a crop.", "warn")
    if count == 1:
        return status("1 person found.", "good")
    return status(f"{count} people found. Choose one: press a number in the image, or use the list.", "good")


def matches_line(matches: Sequence[Match], threshold: Threshold | None) -> str:
    """The line over the matches."""
    cameras = len({match.row["camera"] for match in matches})
    line = f"{plural(len(matches), 'match', 'matches')} from {plural(cameras, 'camera', 'cameras')}, best first."
    if threshold is not None:
        near = sum(match.distance <= threshold.distance for match in matches)
        line += f" {near} within {threshold.distance:.3f}, the calibrated distance of one person."
    return f"{line} Press one to see it in its frame."
