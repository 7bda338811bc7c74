"""A training run from its first step, or from a checkpoint, to its last."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from pysot.core.errors import RunFailed
from pysot.engine.checkpoint import RunState, generator_states, save_checkpoint, tidy
from pysot.engine.monitor import Monitor
from pysot.engine.prefetch import batches_on
from pysot.engine.signals import StopRequest
from pysot.engine.train import COUNTS, Faults, Trainer, agree_on_batches

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 15.0  # between two attempts to write the last checkpoint
_RETRIES = 40


@dataclass
class Snapshots:
    """Where and how often a run saves itself.

    Attributes:
        folder: Of the checkpoints.
        minutes: Between two of them within an epoch; 0 for none.
        keep: How many of those after whole epochs to keep; 0 for all.
    """

    folder: Path
    minutes: float = 0.0
    keep: int = 0
    _last: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint within the epoch."""
        return self.minutes > 0 and time.monotonic() - self._last >= 60 * self.minutes

    def save(self, trainer: Trainer, epoch: int, state: RunState) -> Path:
        """Write a checkpoint and remove those that it makes superfluous.

        Raises:
            OSError: If it cannot be written; then nothing is removed.
        """
        self._last = time.monotonic()
        average = trainer.average
        path = save_checkpoint(
            self.folder,
            epoch,
            trainer.model,
            trainer.optimizer,
            state,
            average
            and {"n_averaged": int(average.n_averaged), "state_dict": average.module.state_dict()},
        )
        tidy(self.folder, self.keep)
        return path


@dataclass
class Run:
    """Everything that a training run consists of.

    Attributes:
        trainer: Takes the steps.
        loader: Of ``pysot.datasets.build.build_train_loader``.
        monitor: Told about every step.
        faults: Decides what may be skipped.
        snapshots: Where checkpoints go.
        stop: Ends the run early.
        seed: For the checkpoints.
        epoch: The first epoch to train, from 0.
        epochs: How many there are.
        pairs: Of the first epoch that were used before.
        pairs_per_step: Over all processes.
        accumulate: Batches that each process takes per step.
        origin: For a person: what the run goes on from.
        draw: Makes a picture of a batch, for :attr:`Monitor.record_picture`.
        draw_every: Steps between two pictures; 0 for none.
        after_epoch: Called with the number of finished epochs and their checkpoint.
    """

    trainer: Trainer
    loader: DataLoader
    monitor: Monitor
    faults: Faults
    snapshots: Snapshots
    stop: StopRequest
    seed: int
    epoch: int
    epochs: int
    pairs: int
    pairs_per_step: int
    accumulate: int = 1
    origin: str = ""
    draw: Callable[[nn.Module, dict[str, Any]], Any] | None = None
    draw_every: int = 0
    after_epoch: Callable[[int], None] = lambda epoch: None

    def go(self) -> bool:
        """Train to the end.

        Returns:
            Whether the end was reached; False if the run was asked to stop, and saved itself.

        Raises:
            TrainingDataError: If too many images cannot be read.
            RunFailed: If the loss stays unusable, a process is gone, or the last checkpoint
                cannot be written.
        """
        steps = self._steps()
        while self.epoch < self.epochs:
            if not self._train_epoch(steps):
                return False
            self.epoch, self.pairs = self.epoch + 1, 0
            self._save(last=self.epoch == self.epochs)
            self.after_epoch(self.epoch)
        if self.trainer.ranks.is_first:
            tidy(self.snapshots.folder, self.snapshots.keep, complete=True)
        return True

    def _train_epoch(self, steps: Iterator[list[dict[str, Any]]]) -> bool:
        """Train what is left of an epoch; returns whether its end was reached."""
        self.trainer.begin_epoch(self.epoch)
        done = self.pairs // self.pairs_per_step
        self.monitor.begin_epoch(self.epoch, self.trainer.optimizer, done)
        number = self.loader.batch_sampler.steps_in(self.epoch)
        for parts in self.monitor.watch(itertools.islice(steps, number)):
            stop = not self._step(parts)
            stop, due = self.trainer.ranks.any([stop or bool(self.stop), self.snapshots.due])
            if stop or due:
                self._save(last=stop)
            if stop:
                signals = self.trainer.ranks.gather(self.stop.signal)
                self.stop.signal = next(filter(None, signals))  # all end alike
                return False
        self.monitor.say(self.monitor.end_epoch())
        return True

    def _step(self, parts: list[dict[str, Any]]) -> bool:
        """Take a step; returns whether there was one to take."""
        trainer, monitor = self.trainer, self.monitor
        if any(trainer.ranks.any([len(parts) < self.accumulate])):
            return False
        agree_on_batches(parts, trainer.ranks, self.faults)
        if self.draw and self.draw_every and monitor.step % self.draw_every == 0:
            monitor.record_picture("pairs", self.draw(trainer.model, parts[0]))
        watch = monitor.record_gradients if trainer.settings.log_grads else None
        monitor.record(trainer.step(parts, self.faults, watch))
        self.pairs += self.pairs_per_step
        return True

    def _steps(self) -> Iterator[list[dict[str, Any]]]:
        """Yield this process's batches of every step, on the device.

        After the last step, or without a loader that works, they are too few.
        """
        several = self.accumulate * self.trainer.ranks.ranks > 1
        batches = batches_on(
            self.trainer.device, self._until_stopped(), self._count if several else None
        )
        while True:
            yield list(itertools.islice(batches, self.accumulate))

    def _until_stopped(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self.loader
        except RuntimeError:
            if not self.stop:  # else the signal has reached the loader's workers too
                raise

    def _count(self, batch: dict[str, Any]) -> None:
        if "template" in batch:
            batch[COUNTS] = self.trainer.model.label_counts(batch)

    def _save(self, last: bool = False) -> None:
        """Write a checkpoint.

        A full disk ends no run: the next checkpoint comes. Only after the last step there is no
        next one, so that this one is tried again until somebody has made room.

        Raises:
            RunFailed: If the last one cannot be written for ten minutes.
        """
        generators = self.trainer.ranks.gather(generator_states())
        if not self.trainer.ranks.is_first:
            return
        for _ in range(_RETRIES if last else 1):
            try:
                path = self.snapshots.save(self.trainer, self.epoch, self._state(generators))
            except OSError as error:
                problem = error
                logger.warning("%s; %s", error, "trying again" if last else "training goes on")
                time.sleep(_RETRY_SECONDS if last else 0)
            else:
                logger.info("checkpoint %s", path)
                self.monitor.records.add("checkpoint", step=self.monitor.step, path=str(path))
                return
        if last:
            raise RunFailed(f"{problem}; the checkpoints before are whole")

    def _state(self, generators: list[dict[str, Any]]) -> RunState:
        return RunState(
            self.seed,
            self.monitor.step,
            tuple(self.faults.bad_images),
            self.faults.skipped_steps,
            self.pairs,
            tuple(generators),
            self.trainer.scaler.state_dict(),
        )
