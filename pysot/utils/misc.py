"""PySOT's odds and ends, for scripts written against it; nothing inside uses them."""

from __future__ import annotations

import subprocess

from torch import nn

from pysot.core import REPOSITORY


def bbox_clip(x: float, min_value: float, max_value: float) -> float:
    """Limit a number to a range."""
    return min(max(x, min_value), max_value)


def commit() -> str:
    """Return the commit of the checkout and its state in a line each; empty if it is none."""
    lines = []
    for arguments in (("rev-parse", "HEAD"), ("status", "--short", "--branch")):
        try:
            done = subprocess.run(
                ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True
            )
        except OSError:
            return ""
        lines.append(done.stdout.strip())
    return "\n".join(filter(None, lines))


def describe(model: nn.Module, name: str = "") -> str:
    """Return a line on each parameter of a model: name, shape, and whether it learns."""
    return "\n".join(
        f"{name}.{key}".lstrip(".")
        + f" {tuple(p.shape)} {'trainable' if p.requires_grad else 'frozen'}"
        for key, p in model.named_parameters()
    )
