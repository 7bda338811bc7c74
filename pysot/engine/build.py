"""From a configuration to a training run.

A wrong configuration, checkpoint or annotation is a ValueError, a missing file an OSError.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from pysot.core.config import Config
from pysot.datasets.build import build_train_dataset, build_train_loader
from pysot.engine.checkpoint import Checkpointer, newest_checkpoint, read_training_checkpoint
from pysot.engine.distributed import ProcessGroup, sync_batch_norm
from pysot.engine.monitor import MetricsLog, Monitor, PairPainter, open_writer
from pysot.engine.optim import build_optimizer_plan
from pysot.engine.trainer import Trainer
from pysot.models.model_builder import build_model, load_pretrained_backbone
from pysot.utils.anchor import anchor_shapes, training_anchors
from pysot.utils.model_load import load_weights

logger = logging.getLogger(__name__)


def build_trainer(cfg: Config, group: ProcessGroup, device: torch.device, seed: int) -> Trainer:
    """Build the network with random weights, and its trainer."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    train, plan = cfg.TRAIN, build_optimizer_plan(cfg)
    for epoch, rate in enumerate(plan.rates):
        if not 0 <= rate < math.inf:
            raise ValueError(
                f"TRAIN.LR: the learning rate of epoch {epoch + 1} is {rate}; expected a number "
                "of 0 or more"
            )
    model = build_model(cfg).to(device, memory_format=torch.channels_last)
    if train.SYNC_BN and group.world_size > 1:
        model = sync_batch_norm(model, device)
    trainer = Trainer(
        model,
        plan,
        group,
        device,
        seed=seed,
        grad_clip=train.GRAD_CLIP,
        grad_reduce=train.GRAD_REDUCE,
        precision=train.PRECISION,
        ema_decay=train.EMA,
        max_bad_images=train.MAX_BAD_IMAGES,
    )
    if train.COMPILE:
        model.compile()
    return trainer


def build_checkpointer(cfg: Config, group: ProcessGroup) -> Checkpointer:
    """Build what writes checkpoints, and make their folder, so that a fault shows at once."""
    cfg.check()
    train = cfg.TRAIN
    checkpointer = Checkpointer(Path(train.SNAPSHOT_DIR), train.SAVE_MINUTES, train.KEEP)
    if group.is_main_process:
        checkpointer.folder.mkdir(parents=True, exist_ok=True)
        checkpointer.prune()
    return checkpointer


def load_start(cfg: Config, trainer: Trainer, resume: str = "") -> str:
    """Load pretrained weights or a checkpoint into the trainer, and describe which in a line.

    ``resume`` is a checkpoint, ``auto`` for the newest, or empty; so is the line of a new run.
    """
    group, progress = trainer.group, trainer.progress
    found = group.broadcast(_checkpoint(cfg, resume) if group.is_main_process else None)
    if found is not None:
        path, content = found
        trainer.load_state_dict(content, path)
        more = f" and {progress.pairs} pairs of the next" if progress.pairs else ""
        return f"resume from {path}, {progress.epoch} epochs trained{more}"
    load_pretrained_backbone(trainer.model, cfg)
    if cfg.TRAIN.PRETRAINED:
        # the second stage of SiamMask begins from the first one's weights
        load_weights(trainer.model, cfg.TRAIN.PRETRAINED, may_lack=("refine_head",))
    progress.epoch = cfg.TRAIN.START_EPOCH
    return "no checkpoint yet: starting from the first epoch" if resume else ""


def _checkpoint(cfg: Config, resume: str) -> tuple[Path, dict[str, Any]] | None:
    if resume == "auto":
        return newest_checkpoint(Path(cfg.TRAIN.SNAPSHOT_DIR))
    return (Path(resume), read_training_checkpoint(Path(resume))) if resume else None


def build_loader(cfg: Config, trainer: Trainer) -> DataLoader:
    """Build the loader of all pairs yet to come."""
    progress, group = trainer.progress, trainer.group
    return build_train_loader(
        cfg,
        build_train_dataset(cfg, progress.seed),
        progress.epoch,
        pin_memory=trainer.device.type == "cuda",
        rank=group.rank,
        world_size=group.world_size,
        done=progress.pairs,
    )


def build_monitor(cfg: Config, trainer: Trainer, loader: DataLoader) -> Monitor:
    """Build what shows the run; only the main process shows and writes anything."""
    main, batches, train = trainer.group.is_main_process, loader.batch_sampler, cfg.TRAIN
    folder = train.LOG_DIR if main else ""
    stride = cfg.ANCHOR.STRIDE
    shapes = anchor_shapes(stride, cfg.ANCHOR.RATIOS, cfg.ANCHOR.SCALES)
    anchors = training_anchors(shapes, stride, train.OUTPUT_SIZE, train.SEARCH_SIZE)
    return Monitor(
        trainer.progress,
        train.EPOCH,
        batches.steps_per_epoch,
        batches.pairs_per_step,
        train.PRINT_FREQ,
        writer=open_writer(folder, trainer.progress.step),
        metrics_log=MetricsLog(folder),
        painter=PairPainter(anchors, stride),
        picture_freq=train.LOG_IMAGES,
        log_grads=train.LOG_GRADS,
        show=None if main else False,
    )


def describe_run(cfg: Config, trainer: Trainer, loader: DataLoader) -> list[str]:
    """Describe in a few lines the model, the batches and the learning rate."""
    train, batches, world_size = cfg.TRAIN, loader.batch_sampler, trainer.group.world_size
    number = world_size * train.ACCUMULATE
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    factor = number if train.GRAD_REDUCE == "sum" else 1
    rates = trainer.plan.rates
    lines = [
        f"training {cfg.META_ARC or 'a model'} ({parameters / 1e6:.2f} M parameters) on "
        f"{trainer.device}: {train.EPOCH} epochs of {batches.steps_per_epoch} batches of "
        f"{batches.pairs_per_step} pairs",
    ]
    if number > 1:
        lines.append(
            f"each batch: {world_size} processes x {train.ACCUMULATE} accumulated x "
            f"{train.BATCH_SIZE} pairs; TRAIN.GRAD_REDUCE {train.GRAD_REDUCE}: effective learning "
            f"rate {factor} x TRAIN.BASE_LR's"
        )
    logger.info(
        "effective batch %d, effective learning rate of the mean gradient %g to %g",
        batches.pairs_per_step,
        factor * min(rates),
        factor * max(rates),
    )
    return lines
