"""The server of the page: its address, its files, and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

from pysot.tracker.api import MultiTracker
from pysot.web.access import Guard, token_for
from pysot.web.visitors import Offer, Upload, UploadRefused, Visitors
from toolkit.io.packages import load_package

logger = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"

_FRAME_SECONDS = 5.0  # that a request for a frame waits for one
_LOOK_SECONDS = 0.01
_IDLE_LOOK_SECONDS = 5.0
_RECONNECT_SECONDS = 30.0  # phones cut the line when another app is on top
_SHUTDOWN_SECONDS = 3


@dataclass(frozen=True)
class WebSettings:
    """What the operator decides."""

    tracker_name: str
    offers: Sequence[Offer] = ()
    """What visitors may open beside their own files."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any that is free."""
    token: str | None = None
    """What the address must contain; made if the host is not of this machine alone."""
    most_bytes: int = 200_000_000
    """Of a file that is sent."""
    most_visitors: int = 4
    idle_seconds: float = 900.0


def serve(settings: WebSettings, tracker: Callable[[], MultiTracker]) -> None:
    """Serve the page until a signal, and remove what visitors sent and made.

    SIGTERM needs a handler, such as that of ``stop_requests``: it is raised once more in the end.

    Args:
        settings: See there.
        tracker: Makes the tracker of a session.

    Raises:
        OSError: If the address cannot be listened on.
        ValueError: If the token is unusable, or NiceGUI is not installed.
    """
    load_package("nicegui", "nicegui", "the page needs")
    uvicorn = load_package("uvicorn", "uvicorn", "the page needs")
    token = token_for(settings.host, settings.token)
    with (
        _listen(settings.host, settings.port) as listener,
        tempfile.TemporaryDirectory(prefix="pysot-web-", ignore_cleanup_errors=True) as folder,
    ):
        port = listener.getsockname()[1]
        visitors = Visitors(Path(folder), tracker, settings.most_visitors, settings.idle_seconds)
        app = Guard(_build_app(visitors, settings), token, port)
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_SECONDS
        )
        server = uvicorn.Server(config)
        if hasattr(signal, "SIGHUP"):  # which would leave the files behind
            signal.signal(signal.SIGHUP, server.handle_exit)
        print(f"open {_address(settings.host, port, token)}   (Ctrl-C ends)", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            visitors.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = f"cannot listen on {host}, port {port}: {error.strerror}"
        raise OSError(f"{reason}; choose others by --host and --port") from error


def _address(host: str, port: int, token: str | None) -> str:
    """Return the address to open; one that stands for all of the machine's becomes its name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _build_app(visitors: Visitors, settings: WebSettings) -> Any:
    from fastapi import FastAPI
    from nicegui import app, run, ui

    from pysot.web.page import add_page

    web = FastAPI(openapi_url=None)
    _Routes(visitors, settings.most_bytes).add_to(web)
    add_page(visitors, settings)
    app.add_static_files("/static", _STATIC, max_cache_age=0)  # they may be updated
    app.timer(_IDLE_LOOK_SECONDS, lambda: run.io_bound(visitors.leave_idle))
    ui.run_with(
        web, title="pysot", reconnect_timeout=_RECONNECT_SECONDS, show_welcome_message=False
    )
    return web


class _Routes:
    """What the page fetches itself; the key of a visitor stands in each address."""

    def __init__(self, visitors: Visitors, most_bytes: int) -> None:
        self._visitors, self._most_bytes = visitors, most_bytes
        self._responses = import_module("starlette.responses")

    def add_to(self, web: Any) -> None:
        """Add them to a FastAPI application."""
        web.add_route("/frame/{key}", self.frame)
        web.add_route("/upload/{key}", self.upload, methods=["POST"])
        web.add_route("/download/{key}/{kind}", self.download)
        web.add_route("/leave/{key}", self.leave, methods=["POST"])

    async def frame(self, request: Any) -> Any:
        """Send a view that is newer than the one named, as soon as there is one."""
        after = request.query_params.get("after", "0")
        after, until = int(after) if after.isdecimal() else 0, monotonic() + _FRAME_SECONDS
        while visitor := self._visitors.find(request.path_params["key"]):
            session = visitor.session
            view = session and session.view
            if view and view.number > after:
                height, width = view.image.shape[:2]
                headers = {"X-Frame": str(view.number), "X-Size": f"{width}x{height}"}
                jpeg = await asyncio.to_thread(view.jpeg)
                return self._responses.Response(jpeg, media_type="image/jpeg", headers=headers)
            if monotonic() > until:
                return self._responses.Response(status_code=204)
            await asyncio.sleep(_LOOK_SECONDS)
        return self._text("this session has ended", 410)

    async def upload(self, request: Any) -> Any:
        """Take a video, the body of the request, and open it."""
        visitor = self._visitors.find(request.path_params["key"])
        if visitor is None:
            return self._text("this session has ended: load the page again", 410)
        if int(request.headers.get("content-length", 0)) > self._most_bytes:
            return self._text(f"too large: at most {self._most_bytes / 1e6:g} MB", 413)
        try:
            with Upload(visitor, request.query_params.get("name", ""), self._most_bytes) as file:
                await file.receive(request.stream())
        except UploadRefused as error:
            return self._text(str(error), 415)
        except import_module("starlette.requests").ClientDisconnect:
            return self._responses.Response(status_code=400)  # which nobody will read
        except OSError as error:
            logger.error("upload: %s", error)
            return self._text("the server cannot keep the file: its disk may be full", 507)
        return self._responses.Response(status_code=204)

    async def download(self, request: Any) -> Any:
        """Send a file of results."""
        visitor = self._visitors.find(request.path_params["key"])
        session = visitor and visitor.session
        file = session and session.file(request.path_params["kind"])
        if not file:
            return self._text("there is no such file, or no longer", 404)
        visitor.touch()
        return self._responses.FileResponse(file, filename=session.name_of(file))

    async def leave(self, request: Any) -> Any:
        """End a session, as its page was closed."""
        await asyncio.to_thread(self._visitors.leave, request.path_params["key"])
        return self._responses.Response(status_code=204)

    def _text(self, text: str, status: int) -> Any:
        return self._responses.PlainTextResponse(text, status)
