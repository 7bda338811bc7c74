"""Checkpoints: written whole or not at all, in PySOT's layout, enough to go on exactly.

A file is a dict with PySOT's keys ``epoch`` (finished epochs), ``state_dict`` and ``optimizer``,
then our own ``run``: everything else that a continued run needs; and ``ema``, where a running
average of the weights is kept. ``checkpoint_e<k>.pth`` follows k finished epochs, under PySOT's
name; ``partial_e<k>_p<n>.pth`` follows n pairs of the next one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pysot.utils.model_load import read_checkpoint, state_dict_of

logger = logging.getLogger(__name__)

_VERSION = 2
_LONGEST = 400  # characters of a reason; torch names every parameter
_EPOCH = re.compile(r"checkpoint_e(\d+)()\.pth")
_PARTIAL = re.compile(r"partial_e(\d+)_p(\d+)\.pth")
_AVERAGE = re.compile(r"ema_e(\d+)\.pth")
_TEMPORARY = re.compile(r"\.(checkpoint|partial|ema)_e\d+.*\.pth\.tmp")


@dataclass
class RunState:
    """What continues through a run beside weights and momentum.

    Attributes:
        seed: Of the run; with the epoch it fixes every training pair still to come.
        step: Training steps so far.
        bad_images: Training images that could not be read so far.
        skipped_steps: Steps that were not taken so far.
        pairs: Of the unfinished epoch so far, over all processes.
        generators: Per process, the state of torch's random numbers, see
            :func:`generator_states`.
        scaler: State of the scaler of half-precision gradients.
    """

    seed: int
    step: int = 0
    bad_images: tuple[str, ...] = ()
    skipped_steps: int = 0
    pairs: int = 0
    generators: tuple[dict[str, Any], ...] = ()
    scaler: dict[str, Any] = field(default_factory=dict)


def checkpoint_path(folder: Path, epoch: int, pairs: int = 0) -> Path:
    """Return the file of the checkpoint after ``epoch`` epochs and ``pairs`` pairs of the next."""
    return folder / (f"partial_e{epoch}_p{pairs}.pth" if pairs else f"checkpoint_e{epoch}.pth")


def average_path(folder: Path, epoch: int) -> Path:
    """Return the file of the averaged weights after ``epoch`` finished epochs."""
    return folder / f"ema_e{epoch}.pth"


def save_checkpoint(
    folder: Path,
    epoch: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: RunState,
    average: dict[str, Any] | None = None,
) -> Path:
    """Write a checkpoint; a file of that name is replaced only once the new one is on the disk.

    Args:
        folder: Made if missing.
        epoch: Finished epochs.
        model: Its weights go under ``state_dict``.
        optimizer: Its momentum goes under ``optimizer``; learning rates are plain numbers.
        run: The rest.
        average: Goes under ``ema``: the number of updates as ``n_averaged``, and weights under
            ``state_dict``. At the end of an epoch the weights get a file of their own too,
            ``ema_e<k>.pth``, for all that takes weights.

    Returns:
        The file.

    Raises:
        OSError: If it cannot be written; nothing half-written stays behind.
    """
    saved = {"version": _VERSION, **vars(run)}
    saved |= {"bad_images": list(run.bad_images)}
    saved |= {"generators": list(run.generators) or [generator_states()]}
    content = {
        "epoch": epoch,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "run": saved,
    }
    path = checkpoint_path(folder, epoch, run.pairs)
    folder.mkdir(parents=True, exist_ok=True)
    if average is not None:
        content["ema"] = average
        if not run.pairs:
            weights = {"epoch": epoch, "state_dict": average["state_dict"]}
            _write_atomically(weights, average_path(folder, epoch))
    _write_atomically(content, path)
    return path


def tidy(folder: Path, keep: int = 0, complete: bool = False) -> None:
    """Remove what no run needs any more.

    That is: what a killed run has left half-written; all but the last ``keep`` checkpoints after
    whole epochs (0 keeps all); checkpoints in the middle of an epoch with two newer ones of either
    kind, and all of them once the run is complete.
    """
    names = [path.name for path in folder.glob("*")] + [p.name for p in folder.glob(".*.tmp")]
    found = _places(names)
    doomed = {name for name in names if _TEMPORARY.fullmatch(name)}
    old = sorted(found, reverse=True)[0 if complete else 2 :]
    doomed |= {found[place] for place in old if place[1]}
    if keep:
        epochs = sorted((epoch for epoch, pairs in found if not pairs), reverse=True)[keep:]
        doomed |= {found[epoch, 0] for epoch in epochs}
        doomed |= {n for n in names if (m := _AVERAGE.fullmatch(n)) and int(m[1]) in epochs}
    for name in doomed:
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _places(names: list[str]) -> dict[tuple[int, int], str]:
    """Find checkpoints: name by finished epochs and pairs of the next."""
    matches = [_EPOCH.fullmatch(name) or _PARTIAL.fullmatch(name) for name in names]
    return {(int(m[1]), int(m[2] or 0)): m[0] for m in matches if m}


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """Read the newest checkpoint of a folder that is whole.

    Returns:
        Its path and content; None where there is none. Damaged files are named in a warning.
    """
    found = _places([path.name for path in folder.glob("*")])
    for place in sorted(found, reverse=True):
        path = folder / found[place]
        try:
            return path, read_training_checkpoint(path)
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
    try:
        int(content["epoch"])
        [len(group["params"]) for group in content["optimizer"]["param_groups"]]
        [content["run"][key] for key in ("seed", "step", "bad_images") if "run" in content]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no training checkpoint of this program or PySOT's: its epoch, optimizer or "
            f"run is something else ({type(error).__name__}: {error})"
        ) from error
    return content


def restore_model(model: nn.Module, content: dict[str, Any], path: Path) -> None:
    """Load a checkpoint's weights.

    Raises:
        ValueError: If they do not fit the model exactly.
    """
    try:
        model.load_state_dict(state_dict_of(content, str(path)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} ..."
        raise ValueError(f"{path} does not fit the configured model: {reason}") from error


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


def restore_run(content: dict[str, Any], seed: int, rank: int = 0) -> RunState:
    """Continue counters and torch's random numbers; a PySOT checkpoint has neither.

    Args:
        content: See :func:`read_training_checkpoint`.
        seed: The one given now; another than the checkpoint's is used, with a warning.
        rank: Number of this process; one that the run did not have before draws from its seed.
    """
    saved = content.get("run")
    if saved is None:
        logger.warning("the checkpoint was not written by this program: step counts from 0")
        return RunState(seed)
    if saved["seed"] != seed:
        logger.warning("going on with seed %d; the run so far had %d", seed, saved["seed"])
    # version 1 was written by one process
    generators = tuple(saved.get("generators") or [saved["rng"]])
    if rank < len(generators):
        _restore_generators(generators[rank])
    return RunState(
        seed,
        saved["step"],
        tuple(saved["bad_images"]),
        saved.get("skipped_steps", 0),
        saved.get("pairs", 0),
        scaler=saved.get("scaler", {}),
    )


def generator_states() -> dict[str, Any]:
    """Return the states of this process's random numbers in torch."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def _restore_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"][0])


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
