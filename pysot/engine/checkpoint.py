"""Checkpoints: written whole or not at all, in PySOT's layout, enough to go on exactly.

A file is a dict with PySOT's keys ``epoch`` (finished epochs), ``state_dict`` and ``optimizer``,
then our own ``run``: everything else that a continued run needs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pysot.utils.model_load import read_checkpoint, state_dict_of

logger = logging.getLogger(__name__)

_VERSION = 1
_NAME = re.compile(r"checkpoint_e(\d+)\.pth")


@dataclass
class RunState:
    """What continues through a run beside weights and momentum.

    Attributes:
        seed: Of the run; with the epoch it fixes every training pair still to come.
        step: Training steps so far.
        bad_images: Training images that could not be read so far.
    """

    seed: int
    step: int = 0
    bad_images: tuple[str, ...] = ()


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Return the file of the checkpoint after ``epoch`` finished epochs."""
    return folder / f"checkpoint_e{epoch}.pth"


def save_checkpoint(
    folder: Path, epoch: int, model: nn.Module, optimizer: torch.optim.Optimizer, run: RunState
) -> Path:
    """Write a checkpoint; a file of that name is replaced only once the new one is on the disk.

    Args:
        folder: Made if missing.
        epoch: Finished epochs.
        model: Its weights go under ``state_dict``.
        optimizer: Its momentum goes under ``optimizer``; learning rates are plain numbers.
        run: The rest.

    Returns:
        The file.

    Raises:
        OSError: If it cannot be written; nothing half-written stays behind.
    """
    content = {
        "epoch": epoch,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "run": {
            "version": _VERSION,
            "seed": run.seed,
            "step": run.step,
            "bad_images": list(run.bad_images),
            "rng": _generator_states(),
        },
    }
    path = checkpoint_path(folder, epoch)
    folder.mkdir(parents=True, exist_ok=True)
    _write_atomically(content, path)
    return path


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest checkpoint of a folder that is whole.

    Returns:
        Its path and content; None where there is none. Damaged files are named in a warning.
    """
    found = {int(m[1]): path for path in folder.glob("*") if (m := _NAME.fullmatch(path.name))}
    for epoch in sorted(found, reverse=True):
        try:
            return found[epoch], read_training_checkpoint(found[epoch])
        except ValueError as error:
            logger.warning("%s; trying the one before", error)
    return None


def read_training_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of our training or of PySOT's.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or holds weights alone.
    """
    content = read_checkpoint(path)
    keys = ("epoch", "state_dict", "optimizer")
    if not isinstance(content, dict) or any(key not in content for key in keys):
        raise ValueError(
            f"{path} is no training checkpoint (expected the keys {', '.join(keys)}); to start "
            "from weights alone, use TRAIN.PRETRAINED"
        )
    return content


def restore_model(model: nn.Module, content: dict[str, Any], path: Path) -> None:
    """Load a checkpoint's weights.

    Raises:
        ValueError: If they do not fit the model exactly.
    """
    try:
        model.load_state_dict(state_dict_of(content, str(path)))
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the configured model: {error}") from error


def restore_optimizer(
    optimizer: torch.optim.Optimizer, content: dict[str, Any], path: Path
) -> None:
    """Load a checkpoint's momentum; learning rates and the like stay as configured.

    Args:
        optimizer: Over the parameters that learned in the last finished epoch.
        content: See :func:`read_training_checkpoint`.
        path: File name for messages.

    Raises:
        ValueError: If the checkpoint's parameter groups are others.
    """
    saved, own = content["optimizer"], optimizer.state_dict()
    sizes = [[len(group["params"]) for group in s["param_groups"]] for s in (saved, own)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"{path}: its optimiser has groups of {sizes[0]} parameters, the configuration makes "
            f"{sizes[1]}; BACKBONE.TRAIN_EPOCH and TRAIN_LAYERS must be as when it was written"
        )
    optimizer.load_state_dict({**own, "state": saved["state"]})


def restore_run(content: dict[str, Any], seed: int) -> RunState:
    """Continue counters and torch's random numbers; a PySOT checkpoint has neither.

    Args:
        content: See :func:`read_training_checkpoint`.
        seed: The one given now; another than the checkpoint's is used, with a warning.
    """
    saved = content.get("run")
    if saved is None:
        logger.warning("the checkpoint was not written by this program: step counts from 0")
        return RunState(seed)
    if saved["seed"] != seed:
        logger.warning("going on with seed %d; the run so far had %d", seed, saved["seed"])
    _restore_generators(saved["rng"])
    return RunState(seed, saved["step"], tuple(saved["bad_images"]))


def _generator_states() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def _restore_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def _write_atomically(content: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, "strerror", None) or str(cause).split("\n", maxsplit=1)[0]
        raise OSError(f"cannot write checkpoint {path}: {reason}") from error
