"""The choice of a device to compute on."""

from __future__ import annotations

import torch


def choose_device(name: str = "auto", cuda: bool = True) -> torch.device:
    """Turn the configuration's wish into a device that is there.

    Args:
        name: ``auto`` for CUDA, else Apple's MPS, else the CPU; or a name that ``torch.device``
            takes, such as ``cpu``, ``cuda:1`` or ``mps``.
        cuda: False keeps ``auto`` away from CUDA.

    Raises:
        ValueError: If the name means nothing, or the named device is not available.
    """
    if name == "auto":
        if cuda and torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"DEVICE: unknown device {name!r}; known: {_available()}") from error
    if not _is_available(device):
        raise ValueError(f"DEVICE: {name!r} is not available here; available: {_available()}")
    return device


def _is_available(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "mps" and torch.backends.mps.is_available()


def _available() -> str:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join(["auto", "cpu", *cuda, *mps])
