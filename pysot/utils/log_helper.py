"""PySOT's helpers for logs, for scripts written against it; nothing inside uses them."""

from __future__ import annotations

import logging
from functools import cache

_FORMAT = "[%(asctime)s-%(filename)s#%(lineno)3d] %(message)s"


def init_log(name: str, level: int = logging.INFO) -> logging.Logger:
    """Return a logger that also prints to the terminal; each call sets its level."""
    log = logging.getLogger(name)
    if not log.handlers:
        log.addHandler(_with_format(logging.StreamHandler()))
    log.setLevel(level)
    return log


def add_file_handler(name: str, log_file: str, level: int = logging.INFO) -> None:
    """Let a logger write to a file, too; ``OSError`` if it cannot be written."""
    handler = _with_format(logging.FileHandler(log_file))
    handler.setLevel(level)
    logging.getLogger(name).addHandler(handler)


def print_speed(i: int, i_time: float, n: int, name: str = "global") -> None:
    """Log that ``i`` of ``n`` steps are done, and how long the rest takes at ``i_time`` seconds."""
    minutes = round((n - i) * i_time / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    logging.getLogger(name).info(
        "Progress: %d / %d [%d%%], Speed: %.3f s/iter, ETA %d:%02d:%02d (D:H:M)",
        *(i, n, 100 * i / n, i_time, days, hours, minutes),
    )


@cache
def log_once(text: str, name: str = "global") -> None:
    """Log a text unless that was done before."""
    logging.getLogger(name).info(text)


def _with_format(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler
