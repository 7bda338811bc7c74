"""What the speed of a tracker depends on: device, processes, versions."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pysot.tracker.network import as_network
from toolkit.results.runs import Conditions

_PACKAGES = {
    "pysot": "pysot",
    "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}


def conditions_of(tracker: Any, settings: str, processes: int = 1) -> Conditions:
    """Describe how a tracker runs here, in so many processes at once.

    Of a tracker without a ``model``, as one of another package, no device is known.
    """
    model = getattr(tracker, "model", None)
    device = "not known" if model is None else as_network(model).device
    if device.startswith("cpu") and (name := _processor()):
        device += f" ({name})"
    if processes > 1:
        device += f", {processes} processes"
    return Conditions(device, settings, _versions())


def _versions() -> str:
    """Name the packages that run networks, if they are loaded."""
    loaded = {name: sys.modules.get(module) for module, name in _PACKAGES.items()}
    known = {name: getattr(module, "__version__", "?") for name, module in loaded.items() if module}
    return ", ".join(f"{name} {text}" for name, text in known.items())


def _processor() -> str:
    """Return the name of this machine's processor, or what kind it is."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
