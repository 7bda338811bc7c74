"""One epoch of training, and what may go wrong in it."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pysot.datasets.dataset import TrainingDataError, as_floats
from pysot.engine.monitor import Monitor, as_numbers
from pysot.utils.cli import RunFailed

logger = logging.getLogger(__name__)

_IMAGES = ("template", "search")
_LARGEST_LOSS = 1e4
_MAX_SKIPPED_IN_A_ROW = 30


class Faults:
    """Counts what went wrong in a run, and stops it where too much did.

    Args:
        max_bad_images: Different training images that may be unreadable.
        bad_images: Those that were so far, each with the reason.
    """

    def __init__(self, max_bad_images: int, bad_images: tuple[str, ...] = ()) -> None:
        self.bad_images = dict.fromkeys(bad_images)
        self.skipped_steps = 0
        self._max_bad_images = max_bad_images
        self._skipped_in_a_row = 0

    def check_images(self, batch: dict[str, Any]) -> None:
        """Take note of images that workers replaced.

        Args:
            batch: Loses its key ``bad_images``.

        Raises:
            TrainingDataError: If there are more than allowed, or no sample could be made.
        """
        for message in batch.pop("bad_images", ()):
            if message not in self.bad_images:
                self.bad_images[message] = None
                logger.warning("unreadable training image %d: %s", len(self.bad_images), message)
        if len(self.bad_images) > self._max_bad_images or not batch:
            raise TrainingDataError(
                f"{len(self.bad_images)} training images could not be read, "
                f"{self._max_bad_images} are allowed (TRAIN.MAX_BAD_IMAGES); the last one: "
                f"{next(reversed(self.bad_images), 'none')}"
            )

    def accepts(self, losses: dict[str, float]) -> bool:
        """Tell whether a step may be taken: its loss is a number, and not above 1e4.

        Raises:
            RunFailed: If too many steps in a row may not.
        """
        total = losses["total_loss"]
        if math.isfinite(total) and total <= _LARGEST_LOSS:
            self._skipped_in_a_row = 0
            return True
        self.skipped_steps += 1
        self._skipped_in_a_row += 1
        logger.warning("step skipped, its loss is %s", total)
        if self._skipped_in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            raise RunFailed(
                f"training diverged: the loss of {self._skipped_in_a_row} steps in a row is not "
                f"finite or above {_LARGEST_LOSS:g}; a lower TRAIN.BASE_LR may help"
            )
        return False


def train_one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[dict[str, Any]],
    steps: int,
    device: torch.device,
    grad_clip: float,
    monitor: Monitor,
    faults: Faults,
    log_grads: bool = False,
) -> None:
    """Train for ``steps`` batches.

    Args:
        model: Maps a batch to a dict of losses with ``total_loss``; already in training mode.
        optimizer: At this epoch's learning rate.
        batches: Of ``pysot.datasets.build.build_train_loader``.
        steps: How many to take.
        device: Of the model.
        grad_clip: Largest norm of all gradients together.
        monitor: Told about every step.
        faults: Decides what may be skipped.
        log_grads: Whether the monitor records gradients too.

    Raises:
        TrainingDataError: If too many images cannot be read.
        RunFailed: If the loss stays unusable.
    """
    for batch in monitor.watch(itertools.islice(batches, steps)):
        faults.check_images(batch)
        losses = model(_on_device(batch, device))
        numbers = as_numbers(losses)
        if faults.accepts(numbers):
            optimizer.zero_grad(set_to_none=True)
            losses["total_loss"].backward()
            if log_grads:
                monitor.record_gradients(model)
            nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
            optimizer.step()
        monitor.record(numbers)


def _on_device(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Move what the model needs; the float64 box is for people and unknown to some devices.

    Images take the memory format in which convolutions are fastest; the values are the same.
    """
    moved = {
        key: value.to(
            device,
            non_blocking=True,
            memory_format=torch.channels_last if key in _IMAGES else torch.preserve_format,
        )
        for key, value in batch.items()
        if key != "bbox"
    }
    return as_floats(moved)
