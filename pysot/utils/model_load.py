"""Reading of checkpoints of PySOT and our own, and the choice of a device."""

from __future__ import annotations

import contextlib
import logging
import pickle
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

_REPORTED_KEYS = 8


def read_checkpoint(path: str | Path) -> Any:
    """Read a file that ``torch.save`` wrote, onto the CPU, without running code from it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is cut short, or holds objects that need code to run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint not found: {path}")
    try:
        with _numpy_scalars_allowed(), warnings.catch_warnings():
            # torch warns of pickle protocols that it may not know, then says what it refuses
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # the reason hides among advice, some of which would disarm the protection
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().split("\n")[0]
        raise ValueError(
            f"{path}: refused, because it is no plain checkpoint of tensors and numbers; loading "
            f"it could run code hidden in it ({reason})"
        ) from error
    except PermissionError:
        raise
    except Exception as error:  # torch checks little: a damaged file raises almost anything
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"{path} is damaged or no checkpoint ({reason})") from error


@contextlib.contextmanager
def _numpy_scalars_allowed() -> Any:
    """Let NumPy numbers pass: PySOT stores the learning rate as one."""
    if not hasattr(torch.serialization, "safe_globals"):  # torch < 2.5
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scalar = np.float64(0).__reduce__()[0]
    allowed = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.int64))]
    # the module moved from numpy.core to numpy._core in NumPy 2; files carry either name
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    with torch.serialization.safe_globals(allowed + [(scalar, name) for name in names]):
        yield


def state_dict_of(checkpoint: Any, source: str) -> dict[str, Tensor]:
    """Return the weights in a checkpoint, a state_dict or a dict that holds one as ``state_dict``.

    A leading ``module.``, which data-parallel wrappers add, is dropped.

    Raises:
        ValueError: If there are no weights in it; the message names ``source``.
    """
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not any(torch.is_tensor(v) for v in weights.values()):
        raise ValueError(f"{source} holds no weights (expected names and tensors, or 'state_dict')")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def load_weights(model: nn.Module, path: str | Path, may_lack: Sequence[str] = ()) -> nn.Module:
    """Load a checkpoint into a model, all of it or not at all, and return the model.

    Where none of the model's names occur in the file, names with the prefix ``features.`` are
    tried, as backbone files of AlexNet have it. The file may be without the whole of a part that
    ``may_lack`` names: it keeps its weights, and a log line says so.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not fit the model; the message lists missing, unexpected and
            differently shaped entries. Missing ``num_batches_tracked`` counters are accepted.
    """
    weights = state_dict_of(read_checkpoint(path), str(path))
    own = model.state_dict()
    if not own.keys() & weights.keys():
        weights = {f"features.{key}": value for key, value in weights.items()}
    for part in may_lack:
        entries = {key for key in own if key.startswith(f"{part}.")}
        if entries and not entries & weights.keys():
            logger.info("%s has no %s: it keeps its initial weights", path, part)
            own = {key: value for key, value in own.items() if key not in entries}
    problems = mismatches(own, weights)
    if problems:
        raise ValueError(f"{path} does not fit this model: " + "; ".join(problems))
    model.load_state_dict(weights, strict=False)
    logger.info("loaded %d entries from %s", len(weights), path)
    return model


def load_pretrain(model: nn.Module, pretrained_path: str | Path) -> nn.Module:
    """Load a checkpoint under PySOT's name for it; see :func:`load_weights`."""
    return load_weights(model, pretrained_path)


def mismatches(own: dict[str, Tensor], weights: dict[str, Tensor]) -> list[str]:
    """Describe the entries that are missing, unexpected, or of another shape in ``weights``."""
    missing, unexpected = (
        [key for key in one.keys() - other.keys() if not key.endswith("num_batches_tracked")]
        for one, other in ((own, weights), (weights, own))
    )
    shapes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
    return [f"{len(keys)} {what}: {shortened(keys)}" for what, keys in parts if keys]


def shortened(keys: Collection[str]) -> str:
    """Return the first of the keys, in order, as a text."""
    shown = ", ".join(sorted(keys)[:_REPORTED_KEYS])
    return shown + (", ..." if len(keys) > _REPORTED_KEYS else "")


def choose_device(name: str = "auto", cuda: bool = True) -> torch.device:
    """Return the named device, or for ``auto`` CUDA (if ``cuda``), else MPS, else the CPU.

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
