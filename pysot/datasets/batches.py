"""Which pairs a process trains on, and when.

A step takes the next pairs of an epoch, in their order: as many as all processes and accumulated
batches take together. Each part of them, of ``batch_size`` pairs, is one batch of one process, so
the pairs of a step do not depend on who works on which part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch.utils.data import Sampler


@dataclass(frozen=True)
class Share:
    """What one of several processes takes of every step.

    Attributes:
        rank: Number of the process, from 0.
        ranks: Processes.
        accumulate: Batches that each of them takes per step.
    """

    rank: int = 0
    ranks: int = 1
    accumulate: int = 1

    @property
    def parts(self) -> int:
        """Batches in a step, over all processes."""
        return self.ranks * self.accumulate


class RunBatches(Sampler):
    """Items of every batch of a run, epoch after epoch, so that workers never pause between them.

    Args:
        epoch_length: Samples per epoch.
        batch_size: Samples per batch; the rest of an epoch that fills no step is left out.
        first_epoch: Epoch to begin with, counted from 0.
        epochs: Epoch to stop before.
        share: The batches of every step that are yielded.
        done: Samples of the first epoch that were used before.
    """

    def __init__(
        self,
        epoch_length: int,
        batch_size: int,
        first_epoch: int,
        epochs: int,
        share: Share | None = None,
        done: int = 0,
    ) -> None:
        self._share = share or Share()
        self._epoch_length, self._batch_size = epoch_length, batch_size
        self._epochs, self._done = range(first_epoch, epochs), done

    @property
    def pairs_per_step(self) -> int:
        """Samples that all processes together take per step."""
        return self._batch_size * self._share.parts

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
                for part in range(self._share.rank, self._share.parts, self._share.ranks):
                    start = first + step * self.pairs_per_step + part * self._batch_size
                    yield list(range(start, start + self._batch_size))

    def __len__(self) -> int:
        return sum(map(self.steps_in, self._epochs)) * self._share.accumulate

    def _done_in(self, epoch: int) -> int:
        return self._done if epoch == self._epochs.start else 0
