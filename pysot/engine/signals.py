"""Requests to stop: SIGTERM, which job schedulers send, and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = 1.0  # seconds


class StopRequest:
    """Whether somebody asked the run to stop.

    Attributes:
        signal: The number of the signal that did; None so far.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What shells report of a process that a signal ended: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of signals instead of ending.

    A second Ctrl-C ends the program at once, unless it comes with the first one: a launcher passes
    on what the terminal has sent to all.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may listen
        return
    since = time.monotonic()

    def note(number: int, frame: Any) -> None:
        nonlocal since
        if not request:
            request.signal, since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - since > _PATIENCE:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
