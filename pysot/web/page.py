"""The page itself; needs NiceGUI."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nicegui import run, ui

from pysot.tracker.session import TargetResult
from pysot.web.server import WebSettings
from pysot.web.session import State, Status, TrackingSession
from pysot.web.visitors import Offer, Visitor, Visitors
from toolkit.visualization.overlay import PALETTE

_UPDATE_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_CONNECT_SECONDS = 60.0

_HINTS = {
    State.OPENING: "Opening the video ...",
    State.READY: "Drag a box around each object, then press Start.",
    State.PLAYING: "Tracking. Draw on the picture to pause and add an object.",
    State.PAUSED: "Paused. Draw a box to add an object, or press Redraw to correct one.",
    State.ENDED: "Finished. The files are ready.",
    State.FAILED: "This did not work. Choose another video.",
}
_PLAY = {
    State.READY: ("Start", "play_arrow"),
    State.PLAYING: ("Pause", "pause"),
    State.PAUSED: ("Resume", "play_arrow"),
}
_KEYS = (
    "Keys: Space starts and pauses. In the picture, arrows move a cross (with Shift in small "
    "steps), Enter sets a corner of a box, Escape undoes."
)
_HEAD = """
<link rel="stylesheet" href="/static/page.css">
<script src="/static/view.js" defer></script>
"""


def add_page(visitors: Visitors, settings: WebSettings) -> None:
    """Register the page, at ``/``."""

    @ui.page("/")
    async def page() -> None:
        ui.add_head_html(_HEAD)
        ui.colors(primary="#1c5d99")
        client = ui.context.client
        with suppress(TimeoutError):
            await client.connected(_CONNECT_SECONDS)
        if client.has_socket_connection:  # a place is for a browser, not for any request
            _Entrance(visitors, settings).try_to_enter()


class _Entrance:
    """Where a visitor waits for a place."""

    def __init__(self, visitors: Visitors, settings: WebSettings) -> None:
        self._visitors, self._settings = visitors, settings
        self._client = ui.context.client
        self._content = ui.element("div").classes("page")

    def try_to_enter(self) -> None:
        """Show the page if there is a place, or try again soon."""
        visitor = self._visitors.enter()
        self._content.clear()
        with self._content:
            if visitor is None:
                most = self._visitors.most
                _show_notice(
                    "All places are taken",
                    f"This server has places for {most} visitor{'s'[: most != 1]} at a time. "
                    "The page goes on by itself as soon as one is free.",
                )
                ui.timer(_RETRY_SECONDS, self.try_to_enter, once=True)
                return
            self._client.on_delete(lambda: run.io_bound(self._visitors.leave, visitor.key))
            _Page(self._visitors, visitor, self._settings, self._content)


def _show_notice(title: str, text: str) -> None:
    with ui.element("main").classes("notice").props("role=status"):
        ui.label(title).classes("title")
        ui.label(text)


class _Page:
    """What a visitor sees and does."""

    def __init__(
        self, visitors: Visitors, visitor: Visitor, settings: WebSettings, content: Any
    ) -> None:
        self._visitors, self._visitor, self._settings = visitors, visitor, settings
        self._content = content
        self._redrawing: int | None = None  # target that the next box is for
        self._rows: dict[int, _Row] = {}
        self._upload_note = self._upload_error = ""
        with ui.element("header"):
            ui.label("pysot").classes("name")
            ui.label("Track objects in a video").classes("subject")
            ui.label(settings.tracker_name).classes("model")
        with ui.element("main").classes("tracking"):
            with ui.element("section").classes("stage").props('aria-label="Video"'):
                self._build_stage()
            with ui.element("section").classes("side").props('aria-label="Settings"'):
                self._build_source()
                self._build_targets()
                self._build_results()
        ui.keyboard(on_key=self._on_key, repeating=False)
        self._timer = ui.timer(_UPDATE_SECONDS, self._update)

    # ------------------------------------------------------------------------------ what is seen

    def _build_stage(self) -> None:
        self._hint = ui.label().classes("hint").props("role=status")
        self._error = ui.label().classes("error").props("role=alert")
        self._view = ui.element("tracking-view").props(f"visitor={self._visitor.key}")
        self._view.on("box", self._on_box, args=["detail"])
        self._view.on("draw", self._on_draw, args=[])
        self._view.on("upload", self._on_upload, args=["detail"])
        self._bar = ui.linear_progress(0.0, show_value=False).props('aria-label="Progress"')
        with ui.element("div").classes("controls"):
            self._play = ui.button("Start", on_click=self._on_play).props("unelevated no-caps")
            self._step = self._control("Step", "skip_next", lambda: self._ask(TrackingSession.step))
            self._finish = self._control(
                "Finish", "stop", lambda: self._ask(TrackingSession.finish)
            )
            self._again = self._control("Start over", "replay", self._on_again)
            self._fast = ui.switch("Full speed", on_change=self._on_fast)
            self._progress = ui.label().classes("progress")
        ui.label(_KEYS).classes("note keys")

    def _control(self, text: str, icon: str, handler: Any) -> ui.button:
        return ui.button(text, icon=icon, on_click=handler).props("outline no-caps")

    def _build_source(self) -> None:
        with ui.element("div").classes("panel"):
            ui.label("Video").classes("title")
            offers = {str(n): offer.label for n, offer in enumerate(self._settings.offers)}
            if offers:
                ui.select(offers, label="Clip or camera", on_change=self._on_offer).props(
                    "outlined"
                )
            most = self._settings.most_bytes
            send = f"() => document.querySelector('tracking-view').upload({most})"
            button = ui.button("Upload a video", icon="upload").props("outline no-caps")
            button.on("click", js_handler=send)
            ui.label(f"Up to {most / 1e6:g} MB: MP4, MOV, AVI, MKV, WebM, MPEG").classes("note")

    def _build_targets(self) -> None:
        with ui.element("div").classes("panel"):
            ui.label("Objects").classes("title")
            self._none = ui.label("None yet").classes("note")
            self._list = ui.element("div").classes("targets").props("role=list")

    def _build_results(self) -> None:
        with ui.element("div").classes("panel"):
            ui.label("Results").classes("title")
            self._downloads = {}
            with ui.element("div").classes("controls"):
                for kind, text in (("video", "Video"), ("json", "JSON")):
                    target = f"/download/{self._visitor.key}/{kind}"
                    button = ui.button(text, icon="download").props("outline no-caps")
                    button.props(f'aria-label="Download {text}"')
                    button.on_click(lambda target=target: ui.download.from_url(target))
                    self._downloads[kind] = button
            ui.label("Boxes, scores and masks of each frame; ready after Finish.").classes("note")

    def _update(self) -> None:
        """Show the session as it is now."""
        visitor = self._visitor
        if self._visitors.find(visitor.key) is None:
            self._say_goodbye()
            return
        session = visitor.session
        status = session.status if session else None
        self._hint.text = self._hint_for(status)
        self._error.text = self._upload_error or (status.message if status else "")
        self._error.visible = bool(self._error.text)
        self._update_controls(status)
        self._update_targets(status.targets if status else {}, not status or status.ended)
        for kind, button in self._downloads.items():
            button.enabled = bool(session and session.file(kind))

    def _hint_for(self, status: Status | None) -> str:
        if self._upload_note:
            return self._upload_note
        if status is None:
            return "Choose a clip, or upload a video."
        if self._redrawing is not None and not status.ended:
            return f"Draw the new box of object {self._redrawing}."
        if status.state == State.READY and status.targets:
            return "Press Start, or draw another box."
        return _HINTS[status.state]

    def _update_controls(self, status: Status | None) -> None:
        state = status.state if status else None
        text, icon = _PLAY.get(state, _PLAY[State.READY])
        self._play.text = text
        self._play.props(f"icon={icon}")
        self._play.enabled = state in _PLAY
        self._step.enabled = state in (State.READY, State.PAUSED)
        self._finish.enabled = state in (State.PLAYING, State.PAUSED)
        self._again.enabled = status is not None
        self._fast.enabled = state in _PLAY
        if status is None or status.frame < 0:
            self._progress.text, self._bar.value = "", 0.0
            return
        total, done = status.num_frames, status.frame + 1
        speed = f", {status.fps:.0f} fps" if status.fps else ""
        self._progress.text = f"Frame {done}{f' of {total}' if total else ''}{speed}"
        self._bar.value = min(1.0, done / total) if total else 0.0

    def _update_targets(self, targets: Mapping[int, TargetResult], ended: bool) -> None:
        if self._redrawing not in targets:
            self._redrawing = None
        for number in self._rows.keys() - targets.keys():
            self._rows.pop(number).element.delete()
        for number in sorted(targets.keys() - self._rows.keys()):
            with self._list:
                self._rows[number] = _Row(number, self._on_redraw, self._on_drop)
        for number, row in self._rows.items():
            row.update(targets[number], number == self._redrawing, not ended)
        self._none.visible = not targets

    def _say_goodbye(self) -> None:
        self._timer.deactivate()
        self._content.clear()
        minutes = self._settings.idle_seconds / 60
        with self._content:
            _show_notice(
                "This session has ended",
                f"Nothing was done for {minutes:g} minutes, so its files were removed.",
            )
            reload = "() => location.reload()"
            button = ui.button("Start again").props("no-caps").classes("again")
            button.on("click", js_handler=reload)

    # ------------------------------------------------------------------------------ what is done

    def _ask(self, what: Callable[[TrackingSession], None]) -> None:
        """Ask the session for something, if there is one; the visitor is not idle, then."""
        self._visitor.touch()
        if session := self._visitor.session:
            what(session)

    def _on_key(self, event: Any) -> None:
        if event.action.keydown and event.key.space:
            self._on_play()

    def _on_play(self) -> None:
        self._redrawing = None
        self._ask(_toggle)

    async def _on_again(self) -> None:
        await self._open(self._visitor.reopen)

    async def _on_offer(self, event: Any) -> None:
        await self._open(self._visitor.open, self._settings.offers[int(event.value)])

    async def _open(self, how: Callable[..., None], *what: Offer) -> None:
        self._visitor.touch()
        session = self._visitor.session
        if session and session.view:
            number = session.view.number
            ui.run_javascript(f"document.querySelector('tracking-view').clear({number})")
        await run.io_bound(how, *what)
        self._begin()

    def _begin(self) -> None:
        self._redrawing = None
        self._upload_error = self._upload_note = ""
        self._on_fast()

    def _on_fast(self) -> None:
        self._ask(lambda session: setattr(session, "full_speed", self._fast.value))

    def _on_draw(self) -> None:
        self._ask(TrackingSession.pause)

    def _on_box(self, event: Any) -> None:
        number, box = self._redrawing, event.args["detail"]
        self._redrawing = None
        if number is None:
            self._ask(lambda session: session.add(box))
        else:
            self._ask(lambda session: session.redraw(number, box))

    def _on_redraw(self, number: int) -> None:
        self._redrawing = None if self._redrawing == number else number
        self._ask(TrackingSession.pause)

    def _on_drop(self, number: int) -> None:
        self._ask(lambda session: session.drop(number))

    def _on_upload(self, event: Any) -> None:
        self._visitor.touch()
        detail = event.args["detail"]
        if "error" in detail:
            self._upload_note, self._upload_error = "", str(detail["error"])
        elif detail["percent"] is None:
            self._begin()
        else:
            self._upload_error = ""
            self._upload_note = f"Uploading: {detail['percent']} %"


def _toggle(session: TrackingSession) -> None:
    if session.status.state == State.PLAYING:
        session.pause()
    else:
        session.play()


class _Row:
    """A target in the list."""

    def __init__(self, number: int, on_redraw: Any, on_drop: Any) -> None:
        self._name = name = f"Object {number}"
        blue, green, red = PALETTE[number % len(PALETTE)]
        self.element = ui.element("div").classes("target").props("role=listitem")
        with self.element:
            ui.element("span").classes("chip").style(f"background: rgb({red}, {green}, {blue})")
            ui.label(name).classes("label")
            self._score = ui.label().classes("score")
            self._redraw = ui.button("Redraw", on_click=lambda: on_redraw(number))
            self._redraw.props("dense flat no-caps")
            self._drop = ui.button(icon="close", on_click=lambda: on_drop(number))
            self._drop.props(f'dense flat round aria-label="Remove {name}"')

    def update(self, target: TargetResult, redrawing: bool, enabled: bool) -> None:
        known = not math.isnan(target.score)
        self._score.text = "lost" if target.lost else f"{target.score:.2f}" if known else ""
        self._redraw.text = text = "Cancel" if redrawing else "Redraw"
        self._redraw.props(f'aria-label="{text} {self._name}"')
        self._redraw.enabled = self._drop.enabled = enabled
