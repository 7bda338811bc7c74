"""From a configuration to a training run."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import torch

from pysot.core.config import Config
from pysot.datasets.batches import Share
from pysot.datasets.build import build_train_dataset, build_train_loader
from pysot.engine.checkpoint import (
    RunState,
    newest_checkpoint,
    read_training_checkpoint,
    restore_model,
    restore_optimizer,
    restore_run,
    tidy,
)
from pysot.engine.distributed import Ranks, share_batch_norm
from pysot.engine.monitor import Monitor, Records, open_writer
from pysot.engine.optim import begin_epoch, build_optimizer_plan
from pysot.engine.pictures import PairPainter
from pysot.engine.run import Run, Snapshots
from pysot.engine.signals import StopRequest
from pysot.engine.train import Faults, StepSettings, Trainer
from pysot.models.model_builder import build_model, load_pretrained_backbone
from pysot.utils.anchor import anchor_shapes, training_anchors
from pysot.utils.model_load import load_weights

logger = logging.getLogger(__name__)


def build_run(
    cfg: Config,
    ranks: Ranks,
    device: torch.device,
    stop: StopRequest,
    seed: int,
    resume: str = "",
) -> Run:
    """Build a run that begins with the first epoch, or where a checkpoint ends.

    Args:
        cfg: The experiment.
        ranks: The processes that train together.
        device: This one's.
        stop: Ends the run early.
        seed: Of initial weights and training pairs.
        resume: A checkpoint, ``auto`` for the newest, or empty.

    Raises:
        ValueError: If the configuration, the annotations or the checkpoint is wrong.
        OSError: If a file is missing, or a folder cannot be written.
    """
    snapshots = Snapshots(Path(cfg.TRAIN.SNAPSHOT_DIR), cfg.TRAIN.SAVE_MINUTES, cfg.TRAIN.KEEP)
    cfg.check()
    if ranks.is_first:
        logger.info("config \n%s", json.dumps(cfg, indent=4))
        snapshots.folder.mkdir(parents=True, exist_ok=True)  # find out now, not after an epoch
        tidy(snapshots.folder, snapshots.keep)
    trainer = build_trainer(cfg, ranks, device, seed)
    found = ranks.share(_checkpoint(resume, snapshots.folder) if ranks.is_first else None)
    if found is None:
        epoch, state = _first_state(cfg, trainer, seed)
    else:
        epoch, state = _restore(cfg, trainer, found, seed)
    share = Share(ranks.rank, ranks.ranks, cfg.TRAIN.ACCUMULATE)
    dataset = build_train_dataset(cfg, seed)
    pinned = device.type == "cuda"
    loader = build_train_loader(cfg, dataset, epoch, pinned, share, state.pairs)
    batches = loader.batch_sampler
    done = epoch * batches.steps_per_epoch + state.pairs // batches.pairs_per_step
    return Run(
        trainer,
        loader,
        _monitor(cfg, ranks, batches, done, state.step),
        Faults(cfg.TRAIN.MAX_BAD_IMAGES, state.bad_images, state.skipped_steps),
        snapshots,
        stop,
        seed,
        epoch,
        cfg.TRAIN.EPOCH,
        state.pairs,
        batches.pairs_per_step,
        cfg.TRAIN.ACCUMULATE,
        _origin(found, resume, state),
        draw=_painter(cfg) if ranks.is_first and cfg.TRAIN.LOG_DIR else None,
        draw_every=cfg.TRAIN.LOG_IMAGES,
    )


def build_trainer(cfg: Config, ranks: Ranks, device: torch.device, seed: int) -> Trainer:
    """Build the network with random weights, and what trains it.

    Raises:
        ValueError: If the configuration is wrong, or the device cannot do what it asks for.
    """
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    train = cfg.TRAIN
    settings = StepSettings(
        train.GRAD_CLIP, train.GRAD_REDUCE, train.PRECISION, train.EMA, train.LOG_GRADS
    )
    plan = build_optimizer_plan(cfg)
    for epoch in range(train.EPOCH):
        rate = plan.schedule.lr_at(epoch, train.BASE_LR)
        if not 0 <= rate < math.inf:
            raise ValueError(
                f"TRAIN.LR: the learning rate of epoch {epoch + 1} is {rate}; expected a number "
                "of 0 or more"
            )
    model = build_model(cfg).to(device, memory_format=torch.channels_last)
    if train.SYNC_BN and ranks.ranks > 1:
        model = share_batch_norm(model, device)
    trainer = Trainer(model, plan, settings, ranks, device)
    if train.COMPILE:
        model.compile()
    return trainer


def describe_run(cfg: Config, run: Run) -> list[str]:
    """Say in a few lines what is going to be trained, and how fast it will learn."""
    trainer, train = run.trainer, cfg.TRAIN
    ranks, batches = trainer.ranks.ranks, run.loader.batch_sampler
    parts = ranks * run.accumulate
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    factor = parts if train.GRAD_REDUCE == "sum" else 1
    rates = [trainer.plan.schedule.lr_at(epoch, train.BASE_LR) for epoch in range(train.EPOCH)]
    low, high = factor * min(rates), factor * max(rates)
    lines = [
        f"training {cfg.META_ARC or 'a model'} ({parameters / 1e6:.2f} M parameters) on "
        f"{trainer.device}: {train.EPOCH} epochs of {batches.steps_per_epoch} batches of "
        f"{batches.pairs_per_step} pairs",
    ]
    if parts > 1:
        lines.append(
            f"each batch: {ranks} processes x {run.accumulate} accumulated x {train.BATCH_SIZE} "
            f"pairs; TRAIN.GRAD_REDUCE {train.GRAD_REDUCE}: effective learning rate {factor} x "
            "TRAIN.BASE_LR's"
        )
    logger.info(
        "effective batch %d, effective learning rate of the mean gradient %g to %g",
        batches.pairs_per_step,
        low,
        high,
    )
    return lines


def _checkpoint(resume: str, snapshots: Path) -> tuple[str, dict[str, Any]] | None:
    if not resume:
        return None
    if resume != "auto":
        return resume, read_training_checkpoint(Path(resume))
    found = newest_checkpoint(snapshots)
    return found and (str(found[0]), found[1])


def _first_state(cfg: Config, trainer: Trainer, seed: int) -> tuple[int, RunState]:
    load_pretrained_backbone(trainer.model, cfg)
    if cfg.TRAIN.PRETRAINED:
        # the second stage of SiamMask begins from the first one's weights
        load_weights(trainer.model, cfg.TRAIN.PRETRAINED, may_lack=("refine_head",))
    return cfg.TRAIN.START_EPOCH, RunState(seed)


def _restore(
    cfg: Config, trainer: Trainer, found: tuple[str, dict[str, Any]], seed: int
) -> tuple[int, RunState]:
    """Load a checkpoint; returns the first epoch to train and the counters."""
    model, path, content = trainer.model, Path(found[0]), found[1]
    restore_model(model, content, path)
    state = restore_run(content, seed, trainer.ranks.rank)
    epoch = int(content["epoch"])
    last = epoch if state.pairs else epoch - 1  # of the epochs that moved the optimiser
    last = max(0, min(last, cfg.TRAIN.EPOCH - 1))
    trainer.optimizer = begin_epoch(model, trainer.plan, last)
    restore_optimizer(trainer.optimizer, content, path)
    if state.scaler and trainer.scaler.is_enabled():
        trainer.scaler.load_state_dict(state.scaler)
    if trainer.average is not None and "ema" in content:
        restore_model(trainer.average.module, content["ema"], path)
        trainer.average.n_averaged.fill_(content["ema"]["n_averaged"])
    return epoch, state


def _origin(found: tuple[str, dict[str, Any]] | None, resume: str, state: RunState) -> str:
    if found is None:
        return "no checkpoint yet: starting from the first epoch" if resume else ""
    where = f" and {state.pairs} pairs of the next" if state.pairs else ""
    return f"resume from {found[0]}, {found[1]['epoch']} epochs trained{where}"


def _monitor(cfg: Config, ranks: Ranks, batches: Any, done: int, step: int) -> Monitor:
    folder = cfg.TRAIN.LOG_DIR if ranks.is_first else ""
    return Monitor(
        cfg.TRAIN.EPOCH,
        batches.steps_per_epoch,
        batches.pairs_per_step,
        print_freq=cfg.TRAIN.PRINT_FREQ,
        done=done,
        step=step,
        writer=open_writer(folder, step),
        records=Records(folder),
        show=None if ranks.is_first else False,
    )


def _painter(cfg: Config) -> PairPainter:
    shapes = anchor_shapes(cfg.ANCHOR.STRIDE, cfg.ANCHOR.RATIOS, cfg.ANCHOR.SCALES)
    train = cfg.TRAIN
    return PairPainter(
        training_anchors(shapes, cfg.ANCHOR.STRIDE, train.OUTPUT_SIZE, train.SEARCH_SIZE)
    )
