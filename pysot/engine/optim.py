"""Which parameters learn, when, and how fast.

Groups, names and formulas are PySOT's, with two differences: the logged learning rate is the one
in use, and momentum survives the epoch in which the backbone is unfrozen.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from pysot.utils.lr_scheduler import Schedule, build_schedule

# The parts of a model in the order of PySOT's parameter groups; the backbone comes first.
_PARTS = ("neck", "rpn_head", "mask_head", "refine_head")


OPTIMIZERS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
"""What ``TRAIN.OPTIMIZER`` may name."""


@dataclass(frozen=True)
class OptimizerPlan:
    """The settings of a run's optimizer."""

    schedule: Schedule
    base_lr: float  # base rate of everything but the backbone
    layers_lr: float  # factor on it for the backbone
    momentum: float  # of SGD
    weight_decay: float  # for all parameters, batch norm and biases included
    train_layers: tuple[str, ...]  # parts of the backbone that learn
    train_epoch: int  # epoch from which they do
    frozen: tuple[str, ...] = ()  # other parts of the model that never learn
    optimizer: str = "sgd"  # a key of OPTIMIZERS
    per_step: bool = False  # whether rates change within epochs

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
        optimizer=cfg.TRAIN.OPTIMIZER,
        per_step=cfg.TRAIN.LR_PER_STEP,
    )


def begin_epoch(
    model: nn.Module,
    plan: OptimizerPlan,
    epoch: int,
    previous: torch.optim.Optimizer | None = None,
) -> torch.optim.Optimizer:
    """Set what learns in an epoch (counted from 0), and return an optimizer over it.

    The model gets training mode, frozen parts excepted. The state of ``previous``, the optimizer of
    the epoch before, is kept.

    Raises:
        ValueError: If ``BACKBONE.TRAIN_LAYERS`` or ``TRAIN.FROZEN`` name what the model lacks.
    """
    freeze_backbone(model, plan.train_layers if epoch >= plan.train_epoch else ())
    _freeze_parts(model, plan.frozen)
    groups = _parameter_groups(model, plan.base_lr, plan.layers_lr)
    # On CUDA one kernel updates all parameters, where torch (2.3) has it. Elsewhere the plain
    # update stays, whose rounding resumed and older runs rely on.
    on_cuda, kind = next(model.parameters()).device.type == "cuda", OPTIMIZERS[plan.optimizer]
    known = inspect.signature(kind).parameters
    options = {"fused": True} if on_cuda and "fused" in known else {}
    if "momentum" in known:
        options["momentum"] = plan.momentum
    optimizer = kind(groups, lr=plan.base_lr, weight_decay=plan.weight_decay, **options)
    if previous is not None:
        learning = {parameter for group in groups for parameter in group["params"]}
        optimizer.state.update({p: m for p, m in previous.state.items() if p in learning})
    set_rates(optimizer, plan, epoch)
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, plan: OptimizerPlan, epoch: float) -> None:
    """Set the learning rates of a time in epochs, as 1.5 in the middle of the second."""
    for group in optimizer.param_groups:
        group["lr"] = plan.schedule.lr_at(epoch, group["initial_lr"])


def freeze_backbone(model: nn.Module, train_layers: Sequence[str]) -> None:
    """Put a model into training mode, but of its backbone only the named parts.

    The others take no gradient, and their batch norm uses its running statistics.

    Raises:
        ValueError: If the backbone has no such part.
    """
    model.train()
    model.backbone.eval()
    model.backbone.requires_grad_(False)
    parts = dict(model.backbone.named_modules())
    for name in train_layers:
        if not name or name not in parts:
            known = ", ".join(name for name, _ in model.backbone.named_children())
            raise ValueError(
                f"BACKBONE.TRAIN_LAYERS: the backbone has no layer {name!r}; it has: {known}"
            )
        parts[name].train()
        parts[name].requires_grad_(True)


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
