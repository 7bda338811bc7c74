"""Learning rates of the epochs of a run; formulas are PySOT's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from yacs.config import CfgNode

from pysot.core import config as configuration


def log_rates(epochs: int, start_lr: float, end_lr: float) -> NDArray:
    """Rates that fall by the same factor every epoch; (epochs,)."""
    return np.logspace(np.log10(start_lr), np.log10(end_lr), epochs)


def linear_rates(epochs: int, start_lr: float, end_lr: float) -> NDArray:
    """Rates on a line from the first epoch's to the last one's; (epochs,)."""
    return np.linspace(start_lr, end_lr, epochs)


def cosine_rates(epochs: int, start_lr: float, end_lr: float) -> NDArray:
    """Half a cosine wave that would reach ``end_lr`` in the epoch after the last; (epochs,).

    Computed in single precision, as in PySOT.
    """
    phase = np.arange(epochs, dtype=np.float32) * np.pi / epochs
    return end_lr + (start_lr - end_lr) * (1 + np.cos(phase)) * 0.5


def step_rates(
    epochs: int,
    start_lr: float,
    end_lr: float | None = None,
    step: int = 10,
    mult: float | None = None,
) -> NDArray:
    """Rates that change by a factor every ``step`` epochs; (epochs,).

    The factor is ``mult``, or such that ``epochs // step`` changes lead to ``end_lr``.
    """
    factor = _factor(start_lr, end_lr, mult, epochs // step)
    return start_lr * factor ** (np.arange(epochs) // step)


def multi_step_rates(
    epochs: int,
    start_lr: float,
    end_lr: float | None = None,
    steps: Sequence[int] = (10, 20, 30, 40),
    mult: float | None = None,
) -> NDArray:
    """Rates that change by a factor at the epochs ``steps``; (epochs,), single precision.

    The factor is ``mult``, or such that all changes together lead to ``end_lr``.
    """
    factor = _factor(start_lr, end_lr, mult, len(steps))
    changes = np.searchsorted(np.sort(steps), np.arange(epochs), side="right")
    return (start_lr * factor**changes).astype(np.float32)


def _factor(start_lr: float, end_lr: float | None, mult: float | None, changes: int) -> float:
    if (end_lr is None) == (mult is None):
        raise ValueError("give either end_lr or mult")
    return mult if end_lr is None else (end_lr / start_lr) ** (1.0 / max(1, changes))


RATES: dict[str, Callable[..., NDArray]] = {
    "log": log_rates,
    "linear": linear_rates,
    "cos": cosine_rates,
    "step": step_rates,
    "multi-step": multi_step_rates,
}
"""The schedules that ``TRAIN.LR.TYPE`` and ``TRAIN.LR_WARMUP.TYPE`` may name."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a run."""

    values: tuple[float, ...]  # as configured, one per epoch
    start_lr: float  # first rate after the warm-up

    def lr_at(self, epoch: float, base_lr: float) -> float:
        """Return the rate of a parameter group in an epoch (counted from 0).

        Between two epochs it is on a line from one's rate to the other's; after the last it stays.

        The schedule only scales a group's own base rate: at ``start_lr`` it is ``base_lr``. So
        ``BASE_LR`` 0.005 under a schedule that starts at 0.01 trains at half the schedule's values.
        PySOT trained its published weights that way, but logs the schedule's value.
        """
        before = int(epoch)
        value, *after = self.values[before : before + 2]
        if after:
            value += (after[0] - value) * (epoch - before)
        return value * base_lr / self.start_lr


def build_schedule(cfg: CfgNode) -> Schedule:
    """Build the schedule of ``TRAIN.LR`` and ``TRAIN.LR_WARMUP``; ValueError if they are wrong."""
    train = cfg.TRAIN
    if not train.LR_WARMUP.WARMUP:
        values = _rates("TRAIN.LR", train.LR, train.EPOCH)
        return _schedule(values.tolist(), train.LR.KWARGS.start_lr)
    epochs = train.EPOCH - train.LR_WARMUP.EPOCH
    if epochs < 1:
        raise ValueError(
            f"TRAIN.EPOCH ({train.EPOCH}) counts the warm-up too and must exceed "
            f"TRAIN.LR_WARMUP.EPOCH ({train.LR_WARMUP.EPOCH})"
        )
    warm_up = _rates("TRAIN.LR_WARMUP", train.LR_WARMUP, train.LR_WARMUP.EPOCH)
    values = _rates("TRAIN.LR", train.LR, epochs)
    return _schedule([*warm_up.tolist(), *values.tolist()], values[0])


def _schedule(values: list[float], start_lr: float) -> Schedule:
    if not start_lr > 0:
        raise ValueError(f"TRAIN.LR.KWARGS: start_lr is {start_lr}; expected a number above 0")
    return Schedule(tuple(values), float(start_lr))


def _rates(key: str, node: CfgNode, epochs: int) -> NDArray:
    if node.TYPE not in RATES:
        known = ", ".join(sorted(RATES))
        raise ValueError(f"{key}.TYPE: unknown schedule {node.TYPE!r}; known: {known}")
    try:
        rates = np.asarray(RATES[node.TYPE](epochs, **node.KWARGS))
        if rates.shape != (epochs,) or rates.dtype.kind not in "if":
            raise ValueError("expected numbers")
        return rates
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{key}.KWARGS do not fit the schedule {node.TYPE!r}: {error}") from error


class LRScheduler:
    """Sets the learning rates of an optimizer, as scripts written against PySOT expect.

    ``lr_spaces`` (E,) are the schedule's values; see :meth:`Schedule.lr_at` for what a group gets.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, schedule: Schedule, last_epoch: int = -1
    ) -> None:
        self.optimizer, self.schedule, self.last_epoch = optimizer, schedule, last_epoch
        self.lr_spaces = np.array(schedule.values)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of an epoch, counted from 0; by default of the next one."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr_at(self.last_epoch, group["initial_lr"])

    def get_cur_lr(self) -> float:
        """Return the schedule's value in the current epoch."""
        return self.schedule.values[self.last_epoch]


def build_lr_scheduler(
    optimizer: torch.optim.Optimizer,
    epochs: int | None = None,
    last_epoch: int = -1,
    cfg: CfgNode | None = None,
) -> LRScheduler:
    """Build the scheduler of ``TRAIN``, by default of ``pysot.core.config.cfg``.

    ``epochs`` counts the warm-up, and takes the place of ``TRAIN.EPOCH``; ``ValueError`` if the
    keys are wrong.
    """
    cfg = (configuration.cfg if cfg is None else cfg).clone()
    cfg.defrost()
    cfg.TRAIN.EPOCH = epochs or cfg.TRAIN.EPOCH
    return LRScheduler(optimizer, build_schedule(cfg), last_epoch)
