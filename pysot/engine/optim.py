"""Which parameters learn, when, and how fast.

Groups, names and formulas are PySOT's, with two differences: the logged learning rate is the one
in use, and momentum survives the epoch in which the backbone is unfrozen.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from yacs.config import CfgNode

# The parts of a model in the order of PySOT's parameter groups; the backbone comes first.
_PARTS = ("neck", "rpn_head", "mask_head", "refine_head")


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

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """Return the rate of a parameter group in an epoch (counted from 0).

        The schedule only scales a group's own base rate: at ``start_lr`` it is ``base_lr``. So
        ``BASE_LR`` 0.005 under a schedule that starts at 0.01 trains at half the schedule's values.
        PySOT trained its published weights that way, but logs the schedule's value.
        """
        return self.values[epoch] * base_lr / self.start_lr


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


@dataclass(frozen=True)
class OptimizerPlan:
    """The settings of a run's optimizer."""

    schedule: Schedule
    base_lr: float  # base rate of everything but the backbone
    layers_lr: float  # factor on it for the backbone
    momentum: float
    weight_decay: float  # for all parameters, batch norm and biases included
    train_layers: tuple[str, ...]  # children of the backbone that learn
    train_epoch: int  # epoch from which they do
    frozen: tuple[str, ...] = ()  # other parts of the model that never learn

    @property
    def epochs(self) -> int:
        """Number of epochs of the run."""
        return len(self.schedule.values)

    @property
    def rates(self) -> list[float]:
        """Learning rate of everything but the backbone in each epoch."""
        return [self.schedule.lr_at(epoch, self.base_lr) for epoch in range(self.epochs)]


def build_optimizer_plan(cfg: CfgNode) -> OptimizerPlan:
    """Read the plan from a configuration; ValueError as in :func:`build_schedule`."""
    return OptimizerPlan(
        schedule=build_schedule(cfg),
        base_lr=cfg.TRAIN.BASE_LR,
        layers_lr=cfg.BACKBONE.LAYERS_LR,
        momentum=cfg.TRAIN.MOMENTUM,
        weight_decay=cfg.TRAIN.WEIGHT_DECAY,
        train_layers=tuple(cfg.BACKBONE.TRAIN_LAYERS),
        train_epoch=cfg.BACKBONE.TRAIN_EPOCH,
        frozen=tuple(cfg.TRAIN.FROZEN),
    )


def begin_epoch(
    model: nn.Module,
    plan: OptimizerPlan,
    epoch: int,
    previous: torch.optim.SGD | None = None,
) -> torch.optim.SGD:
    """Set what learns in an epoch (counted from 0), and return an optimizer over it.

    The model gets training mode, frozen parts excepted. Momentum of ``previous``, the optimizer of
    the epoch before, is kept.

    Raises:
        ValueError: If ``BACKBONE.TRAIN_LAYERS`` or ``TRAIN.FROZEN`` name what the model lacks.
    """
    freeze_backbone(model, plan.train_layers if epoch >= plan.train_epoch else ())
    _freeze_parts(model, plan.frozen)
    groups = _parameter_groups(model, plan.base_lr, plan.layers_lr)
    # On CUDA one kernel updates all parameters, where torch (2.3) has it. Elsewhere the plain
    # update stays, whose rounding resumed and older runs rely on.
    on_cuda = next(model.parameters()).device.type == "cuda"
    known = "fused" in inspect.signature(torch.optim.SGD).parameters
    options = {"fused": True} if on_cuda and known else {}
    optimizer = torch.optim.SGD(
        groups, lr=plan.base_lr, momentum=plan.momentum, weight_decay=plan.weight_decay, **options
    )
    if previous is not None:
        learning = {parameter for group in groups for parameter in group["params"]}
        optimizer.state.update({p: m for p, m in previous.state.items() if p in learning})
    for group in optimizer.param_groups:
        group["lr"] = plan.schedule.lr_at(epoch, group["initial_lr"])
    return optimizer


def freeze_backbone(model: nn.Module, train_layers: Sequence[str]) -> None:
    """Put a model into training mode, but of its backbone only the named children.

    The others take no gradient, and their batch norm uses its running statistics.

    Raises:
        ValueError: If the backbone has no such child.
    """
    model.train()
    model.backbone.eval()
    model.backbone.requires_grad_(False)
    children = dict(model.backbone.named_children())
    for name in train_layers:
        if name not in children:
            known = ", ".join(children)
            raise ValueError(
                f"BACKBONE.TRAIN_LAYERS: the backbone has no layer {name!r}; it has: {known}"
            )
        children[name].train()
        children[name].requires_grad_(True)


def _freeze_parts(model: nn.Module, frozen: Sequence[str]) -> None:
    """Take gradients from whole parts of a model; their batch norm uses its running statistics."""
    known = [part for part in _PARTS if hasattr(model, part)]
    for name in frozen:
        if name not in known:
            raise ValueError(
                f"TRAIN.FROZEN: the model has no part {name!r} that could be frozen; it has: "
                f"{', '.join(known)} (for the backbone, see BACKBONE.TRAIN_LAYERS)"
            )
        getattr(model, name).eval().requires_grad_(False)


def _parameter_groups(model: nn.Module, base_lr: float, layers_lr: float) -> list[dict[str, Any]]:
    """Divide trainable parameters into PySOT's groups: the backbone, then each other part.

    Groups of frozen parts are there, but empty, so that checkpoints keep their layout.
    """
    rates = {"backbone": base_lr * layers_lr} | dict.fromkeys(_PARTS, base_lr)
    groups = [
        ([p for p in getattr(model, part).parameters() if p.requires_grad], rate)
        for part, rate in rates.items()
        if hasattr(model, part)
    ]
    return [{"params": params, "lr": lr, "initial_lr": lr} for params, lr in groups]
