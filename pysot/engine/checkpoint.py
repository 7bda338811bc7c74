"""Checkpoints: written whole or not at all, in PySOT's layout, enough to resume exactly.

A file has PySOT's keys ``epoch`` (finished epochs), ``state_dict`` and ``optimizer``, and ``run``:
the ``state_dict`` of every component of the trainer, by name. ``checkpoint_e<k>.pth`` follows k
finished epochs, ``partial_e<k>_p<n>.pth`` n pairs of the next one; ``ema_e<k>.pth`` holds averaged
weights alone.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pysot.core import RunFailed
from pysot.core.values import shown
from pysot.utils.model_load import read_checkpoint, tensor_fault
from toolkit.io.files import atomic_write

logger = logging.getLogger(__name__)

LARGEST_SEED = 2**63 - 1
BEST, BEST_SCORE = "checkpoint_best.pth", "best.json"

_REPORTED = 3  # wrong entries of a checkpoint

_RETRY_SECONDS = 15.0  # between two attempts to write the last checkpoint
_RETRIES = 40
_EPOCH = re.compile(r"checkpoint_e(\d+)()\.pth")
_PARTIAL = re.compile(r"partial_e(\d+)_p(\d+)\.pth")
_AVERAGE = re.compile(r"ema_e(\d+)\.pth")


def checkpoint_path(folder: Path, epoch: int, pairs: int = 0) -> Path:
    """Return the file of the checkpoint after ``epoch`` epochs and ``pairs`` pairs of the next."""
    return folder / (f"partial_e{epoch}_p{pairs}.pth" if pairs else f"checkpoint_e{epoch}.pth")


def average_path(folder: Path, epoch: int) -> Path:
    """Return the file of the averaged weights after ``epoch`` finished epochs."""
    return folder / f"ema_e{epoch}.pth"


@dataclass
class Checkpointer:
    """Writes the checkpoints of a run and removes those no longer needed."""

    folder: Path  # made if missing
    minutes: float = 0.0  # between two checkpoints within an epoch; 0 for none
    keep: int = 0  # number of checkpoints after whole epochs to keep; 0 for all

    def __post_init__(self) -> None:
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint within the epoch."""
        return self.minutes > 0 and time.monotonic() - self._last >= 60 * self.minutes

    def save(self, content: dict[str, Any], last: bool = False) -> Path | None:
        """Write a checkpoint with the content of ``Trainer.state_dict``.

        A full disk does not end the run, since the next checkpoint comes. The ``last`` one of this
        program has no successor, so it is tried again until somebody makes room.

        Returns:
            The file; None if it could not be written.

        Raises:
            RunFailed: If the last one cannot be written for ten minutes.
        """
        self._last = time.monotonic()
        for _ in range(_RETRIES if last else 1):
            try:
                path = write_checkpoint(self.folder, content)
            except OSError as error:
                problem = error
                logger.warning("%s; %s", error, "trying again" if last else "training goes on")
                time.sleep(_RETRY_SECONDS if last else 0)
            else:
                logger.info("checkpoint %s", path)
                self.prune()
                return path
        if last:
            raise RunFailed(f"{problem}; the checkpoints before are whole")
        return None

    def prune(self, complete: bool = False) -> None:
        """Remove checkpoints no longer needed.

        Those are all but the last ``keep`` after whole epochs, those within an epoch that have two
        newer ones of either kind, and, once the run is complete, all within epochs.
        """
        names = [path.name for path in self.folder.glob("*")]
        found = _places(names)
        old = sorted(found, reverse=True)[0 if complete else 2 :]
        doomed = {found[place] for place in old if place[1]}
        if self.keep:
            epochs = sorted((e for e, pairs in found if not pairs), reverse=True)[self.keep :]
            doomed |= {found[epoch, 0] for epoch in epochs}
            doomed |= {n for n in names if (m := _AVERAGE.fullmatch(n)) and int(m[1]) in epochs}
        for name in doomed:
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()


def write_checkpoint(folder: Path, content: dict[str, Any]) -> Path:
    """Write a checkpoint atomically, and averaged weights at the end of an epoch; returns its file.

    Raises:
        OSError: If it cannot be written; nothing half-written stays behind.
    """
    epoch, run = content["epoch"], content["run"]
    path = checkpoint_path(folder, epoch, run["progress"]["pairs"])
    if "ema" in run and not run["progress"]["pairs"]:
        prefix = "module."
        average = {k[len(prefix) :]: v for k, v in run["ema"].items() if k.startswith(prefix)}
        _write({"epoch": epoch, "state_dict": average}, average_path(folder, epoch))
    _write(content, path)
    return path


def _places(names: list[str]) -> dict[tuple[int, int], str]:
    """Map (finished epochs, pairs of the next) to the names of checkpoints."""
    matches = [_EPOCH.fullmatch(name) or _PARTIAL.fullmatch(name) for name in names]
    return {(int(m[1]), int(m[2] or 0)): m[0] for m in matches if m}


def whole_checkpoints(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of the checkpoints that are whole, the newest first."""
    found = _places([path.name for path in folder.glob("*")])
    for _, name in sorted(found.items(), reverse=True):
        path = folder / name
        try:
            content = read_training_checkpoint(path)
        except ValueError as error:
            logger.warning("%s; trying the one before", error)
        else:
            yield path, content


def read_training_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of our training or of PySOT's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or holds weights alone, or a wrong value, which is named.
    """
    content = read_checkpoint(path)
    keys = ("epoch", "state_dict", "optimizer")
    if not isinstance(content, dict) or any(key not in content for key in keys):
        raise ValueError(
            f"{path} is no training checkpoint (expected the keys {', '.join(keys)}); to start "
            "from weights alone, use TRAIN.PRETRAINED"
        )
    problems = list(itertools.islice(_faults(content, _LAYOUT), _REPORTED))
    if not problems:
        pairs = content.get("run", {}).get("progress", {}).get("pairs", 0)
        place = next(iter(_places([path.name])), (content["epoch"], pairs))
        if place != (content["epoch"], pairs):
            problems = [f"epoch and run.progress.pairs are {(content['epoch'], pairs)}"]
    if problems:
        raise ValueError(
            f"{path} is no training checkpoint of this program or PySOT's: {'; '.join(problems)}"
        )
    return content


def _faults(value: Any, layout: Any, name: str = "") -> Iterator[str]:
    """Describe what differs from a layout: of a dict, of the items of a list, or a test."""
    if isinstance(layout, Mapping):
        if not isinstance(value, dict):
            yield f"{name} is no dict but {shown(value)}"
            return
        for key, inner in layout.items():
            entry = f"{name}.{key.rstrip('?')}".lstrip(".")
            if key.rstrip("?") in value:
                yield from _faults(value[key.rstrip("?")], inner, entry)
            elif not key.endswith("?"):
                yield f"{entry} is missing"
    elif isinstance(layout, list):
        if not isinstance(value, list):
            yield f"{name} is no list but {shown(value)}"
            return
        for number, item in enumerate(value):
            yield from _faults(item, layout[0], f"{name}[{number}]")
    elif fault := layout(value):
        yield f"{name} {fault}"


def _count(value: Any, most: int = 10**12) -> str:
    known = type(value) is int and 0 <= value <= most
    return "" if known else f"is {shown(value)}; expected a number from 0 to {most}"


def _text(value: Any) -> str:
    return "" if isinstance(value, str) else f"is {shown(value)}; expected a text"


def _digests(value: Any) -> str:
    known = isinstance(value, dict) and all(isinstance(t, str) for t in (*value, *value.values()))
    return "" if known else f"is {shown(value)}; expected digests by name"


def _tensors(value: Any) -> str:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return "is no dict of tensors by name"
    faults = (f": {key} {fault}" for key, v in value.items() if (fault := tensor_fault(v)))
    return next(faults, "")


def _momentum(value: Any) -> str:
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        return "is no dict of dicts"
    if not all(type(key) is int for key in value):
        return "is no dict by number"
    if any(entry.keys() & _ADAMW and not entry.keys() >= _ADAMW for entry in value.values()):
        return f"has only a part of {', '.join(sorted(_ADAMW))}"
    buffers = {f"{key}.{name}": v.get(name) for key, v in value.items() for name in _BUFFERS}
    return _tensors({key: v for key, v in buffers.items() if v is not None})


def _generator(value: Any, device: str = "cpu") -> str:
    if fault := tensor_fault(value):
        return fault
    try:
        if device == "cpu" or torch.cuda.is_available():
            torch.Generator(device).set_state(value)
    except (RuntimeError, TypeError) as error:
        return f"is no state of random numbers ({str(error).splitlines()[0]})"
    return ""


def _scaler(value: Any) -> str:
    if not isinstance(value, dict):
        return f"is no dict but {shown(value)}"
    known = all(type(v) in (int, float) and 0 <= v < math.inf for v in value.values())
    return "" if known and (not value or value.keys() >= _SCALER) else f"is {shown(value)}"


_any_number = partial(_count, most=LARGEST_SEED)
_ADAMW = {"exp_avg", "exp_avg_sq", "step"}  # of each parameter
_BUFFERS = ("momentum_buffer", *sorted(_ADAMW))
_SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}
_LAYOUT = {  # of a checkpoint; ? marks what may be missing
    "epoch": _count,
    "state_dict": _tensors,
    "optimizer": {"state": _momentum, "param_groups": [{"params": [_any_number]}]},
    "run?": {
        "progress": {
            "seed": _any_number,
            **dict.fromkeys(("pairs", "step", "epoch?", "epoch_length?"), _count),
        },
        "error_budget?": {"bad_images": [_text], "skipped_steps": _count},
        "random?": {
            "generators": [{"torch": _generator, "cuda": [partial(_generator, device="cuda")]}]
        },
        "scaler?": _scaler,
        "ema?": _tensors,
        "plugins?": _digests,
    },
}


def load_momentum(optimizer: torch.optim.Optimizer, saved: dict[str, Any], path: Path) -> None:
    """Load an optimizer's state; learning rates and the like stay as configured.

    The optimizer is over the parameters that were trainable in the last finished epoch, ``saved``
    is its ``state_dict``. Messages name ``path``.

    Raises:
        ValueError: If the checkpoint has other parameter groups, or state of another optimizer or
            of parameters of another shape.
    """
    own, adaptive = optimizer.state_dict(), isinstance(optimizer, torch.optim.AdamW)
    if any(adaptive != ("exp_avg" in entry) for entry in saved["state"].values()):
        kinds = ("adamw", "sgd") if adaptive else ("sgd", "adamw")
        raise ValueError(
            f"{path}: TRAIN.OPTIMIZER is {kinds[0]}, but the checkpoint was trained by {kinds[1]}; "
            "set it, or start anew from its weights by TRAIN.PRETRAINED"
        )
    sizes = [[len(group["params"]) for group in s["param_groups"]] for s in (saved, own)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{path}: its optimizer has groups of {sizes[0]} parameters, the configuration makes "
            f"{sizes[1]}; BACKBONE.TRAIN_EPOCH and TRAIN_LAYERS must be as when it was written"
        )
    # torch before 1.5 gave parameters their addresses for numbers
    numbers, parameters = (
        [parameter for group in s["param_groups"] for parameter in group["params"]]
        for s in (saved, {"param_groups": optimizer.param_groups})
    )
    shapes = {n: parameter.shape for n, parameter in zip(numbers, parameters, strict=True)}
    for number, entry in saved["state"].items():
        known = [v for k in _BUFFERS if k != "step" and (v := entry.get(k)) is not None]
        if number not in shapes or any(buffer.shape != shapes[number] for buffer in known):
            raise ValueError(f"{path}: optimizer.state.{number} is of another parameter")
    places = {number: place for place, number in enumerate(numbers)}
    state = {places[number]: entry for number, entry in saved["state"].items()}
    optimizer.load_state_dict({**own, "state": state})


def _write(content: dict[str, Any], path: Path) -> None:
    with atomic_write(path, "wb", sync=True) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # so torch reports a full disk
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else OSError(str(error)) from error
