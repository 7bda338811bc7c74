"""Which pairs a process trains on, and when.

A step takes the next pairs of an epoch, in their order: as many as all processes and accumulated
batches take together. Each ``batch_size`` of them are one micro-batch of one process, so the pairs
of a step do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler


class RunBatches(Sampler):
    """Items of every batch of a run, epoch after epoch, so that workers never pause between them.

    Args:
        epoch_length: Samples per epoch.
        batch_size: Samples per batch; the rest of an epoch that fills no step is left out.
        first_epoch: Epoch to begin with, counted from 0.
        epochs: Epoch to stop before.
        rank: Number of this process, which gets every ``world_size``-th micro-batch.
        world_size: Number of processes.
        accumulate: Micro-batches that each of them takes per step.
        done: Samples of the first epoch that were used before.
    """

    def __init__(
        self,
        epoch_length: int,
        batch_size: int,
        first_epoch: int,
        epochs: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        done: int = 0,
    ) -> None:
        self._rank, self._world_size, self._accumulate = rank, world_size, accumulate
        self._epoch_length, self._batch_size = epoch_length, batch_size
        self._epochs, self._done = range(first_epoch, epochs), done

    @property
    def pairs_per_step(self) -> int:
        """Samples that all processes together take per step."""
        return self._batch_size * self._world_size * self._accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch from its beginning."""
        return self._epoch_length // self.pairs_per_step

    def steps_in(self, epoch: int) -> int:
        """Return the steps of an epoch that are yet to do."""
        return (self._epoch_length - self._done_in(epoch)) // self.pairs_per_step

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in self._epochs:
            first = epoch * self._epoch_length + self._done_in(epoch)
            for step in range(self.steps_in(epoch)):
                for turn in range(self._accumulate):
                    number = turn * self._world_size + self._rank  # of the step's micro-batches
                    start = first + step * self.pairs_per_step + number * self._batch_size
                    yield list(range(start, start + self._batch_size))

    def __len__(self) -> int:
        return sum(map(self.steps_in, self._epochs)) * self._accumulate

    def _done_in(self, epoch: int) -> int:
        return self._done if epoch == self._epochs.start else 0
