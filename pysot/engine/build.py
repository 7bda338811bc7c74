"""From a configuration to a training run.

A wrong configuration, checkpoint or annotation is a ValueError, a missing file an OSError.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pysot.core.config import Config
from pysot.datasets.anchor_target import mask_labels
from pysot.datasets.build import build_train_dataset, build_train_loader, labels_name
from pysot.datasets.dataset import PairDataset
from pysot.engine.checkpoint import Checkpointer, read_training_checkpoint, whole_checkpoints
from pysot.engine.distributed import ProcessGroup, sync_batch_norm
from pysot.engine.loggers import Loggers, Run, open_loggers
from pysot.engine.monitor import Monitor, PairPainter
from pysot.engine.optim import begin_epoch, build_optimizer_plan
from pysot.engine.trainer import Progress, Trainer
from pysot.models.model_builder import ModelBuilder, build_model, load_pretrained
from pysot.models.wiring import lay_out
from pysot.utils.anchor import Grid, anchor_shapes
from pysot.utils.bbox import Corner
from toolkit.io.files import acquire

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
    model = build_model(cfg).to(device)
    lay_out(model)
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


@contextlib.contextmanager
def claim_folder(cfg: Config, group: ProcessGroup) -> Iterator[None]:
    """Keep other trainings out of ``TRAIN.SNAPSHOT_DIR`` during the block, which it makes.

    The claim ends with its process, whatever ends that; a file beside the lock says whose it is.

    Raises:
        OSError: If the folder cannot be written.
        ValueError: If another training has it.
    """
    folder, here, problem = Path(cfg.TRAIN.SNAPSHOT_DIR), f" on {platform.node()}", ""
    note = folder / ".training"
    with contextlib.ExitStack() as stack:
        if group.is_main_process:
            free = stack.enter_context(acquire(folder / ".training.lock"))
            owner = ""
            with contextlib.suppress(OSError):
                owner = note.read_text("utf-8", "replace").strip()
            if not free:
                owner = owner or "another process"
                problem = f"TRAIN.SNAPSHOT_DIR {folder} is in use by the training of {owner}"
            else:
                if not owner.endswith(here) and owner:  # file systems may not share locks
                    logger.warning("taking over %s from %s, which must have ended", folder, owner)
                note.write_text(f"process {os.getpid()}{here}\n", "utf-8")
                stack.callback(note.unlink, missing_ok=True)
        if problem := group.broadcast(problem):
            raise ValueError(problem)
        yield


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
    candidates = _checkpoints(cfg, resume) if group.is_main_process else iter(())
    failure: ValueError | None = None
    while (found := group.broadcast(next(candidates, None))) is not None:
        path, content = found
        try:
            trainer.load_state_dict(content, path)
        except ValueError as error:
            if resume != "auto":
                raise
            failure = failure or error
            logger.warning("%s; trying the one before", error)
        else:
            more = f" and {progress.pairs} pairs of the next" if progress.pairs else ""
            return f"resume from {path}, {progress.epoch} epochs trained{more}"
    if failure is not None:
        raise failure
    load_pretrained(trainer.model, cfg)
    progress.epoch = cfg.TRAIN.START_EPOCH
    return "no checkpoint yet: starting from the first epoch" if resume else ""


def _checkpoints(cfg: Config, resume: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield what to resume from, the best first: not in the middle of a micro-batch."""
    if resume and resume != "auto":
        found = iter([(Path(resume), read_training_checkpoint(Path(resume)))])
    else:
        found = whole_checkpoints(Path(cfg.TRAIN.SNAPSHOT_DIR)) if resume else iter(())
    problem = ""
    for path, content in found:
        pairs = content.get("run", {}).get("progress", {}).get("pairs", 0)
        if not pairs % cfg.TRAIN.BATCH_SIZE:
            yield path, content
            continue
        problem = (
            f"{path}: run.progress.pairs is {pairs}, no multiple of TRAIN.BATCH_SIZE "
            f"{cfg.TRAIN.BATCH_SIZE}, which must be as when it was written"
        )
        if resume != "auto":
            raise ValueError(problem)
        logger.warning("%s; trying the one before", problem)
    if problem:  # better than to begin anew
        raise ValueError(problem)


def build_loader(cfg: Config, trainer: Trainer) -> DataLoader:
    """Build the loader of all pairs yet to come."""
    progress, group = trainer.progress, trainer.group
    dataset = build_train_dataset(cfg, progress.seed, response_grid(cfg, trainer.model))
    _continue_epoch(progress, dataset.epoch_length)
    return build_train_loader(
        cfg,
        dataset,
        progress.epoch,
        pin_memory=trainer.device.type == "cuda",
        rank=group.rank,
        world_size=group.world_size,
        done=progress.pairs,
    )


def _continue_epoch(progress: Progress, length: int) -> None:
    """Note the pairs of an epoch, and compare them with those of an epoch that goes on."""
    before, progress.epoch_length = progress.epoch_length or length, length
    if not progress.pairs or length == before >= progress.pairs:
        return
    text = (
        f"the checkpoint is {progress.pairs} pairs into an epoch, which now has {length} "
        f"(DATASET.VIDEOS_PER_EPOCH, and the videos of its sets if that is 0 or less)"
    )
    if progress.pairs > length:
        raise ValueError(
            f"{text}; set DATASET.VIDEOS_PER_EPOCH {max(before, progress.pairs)} as before, or "
            f"resume from checkpoint_e{progress.epoch}.pth"
        )
    logger.warning("%s and had %d: some pairs come again or not at all", text, before)


def check_network(cfg: Config, trainer: Trainer, dataset: PairDataset) -> None:
    """Run the network once, so that what would stop its training or make it useless shows before.

    Raises:
        ValueError: If its response is not what the labels are for, or nothing learns in an epoch
            that is yet to come.
    """
    model, plan, first = trainer.model, trainer.plan, trainer.progress.epoch
    batch = _blank_pair(cfg, dataset, trainer.device)
    border = min(max(first, plan.train_epoch), plan.epochs)
    for start, stop in ((first, border), (border, plan.epochs)):
        if start == stop:
            continue
        optimizer, rate = begin_epoch(model, plan, start), max(plan.schedule.values[start:stop])
        losses = _blank_losses(cfg, model, batch)
        learns = any(v.requires_grad and model.loss_weights.get(k, 1) for k, v in losses.items())
        groups = optimizer.param_groups
        if not (learns and any(rate * group["initial_lr"] for group in groups if group["params"])):
            raise ValueError(_nothing_learns(cfg, start))


def _nothing_learns(cfg: Config, epoch: int) -> str:
    train, backbone = cfg.TRAIN, cfg.BACKBONE
    return (
        f"nothing learns in epoch {epoch + 1}: TRAIN.FROZEN {train.FROZEN}, BACKBONE.TRAIN_LAYERS "
        f"{backbone.TRAIN_LAYERS} from BACKBONE.TRAIN_EPOCH {backbone.TRAIN_EPOCH} on, "
        f"TRAIN.BASE_LR {train.BASE_LR:g}, BACKBONE.LAYERS_LR {backbone.LAYERS_LR:g}, "
        f"TRAIN.CLS_WEIGHT {train.CLS_WEIGHT:g}, LOC_WEIGHT {train.LOC_WEIGHT:g}, MASK_WEIGHT "
        f"{train.MASK_WEIGHT:g}; free a part, or set BACKBONE.TRAIN_EPOCH {epoch}"
    )


def _blank_losses(cfg: Config, model: ModelBuilder, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compute the losses of a blank pair, without their sum; ValueError if they are unusable."""
    try:
        losses = model.eval().forward(batch)
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        name, reason = labels_name(cfg), str(error).split("\n", maxsplit=1)[0]
        made = ", ".join(key for key in batch if key.startswith("label"))
        raise ValueError(
            "the parts of the network do not suit each other, or RPN.LOSS not the labels of "
            f"RPN.LABELS {name!r} ({made}): {type(error).__name__}: {reason}"
        ) from error
    losses.pop("total_loss")
    if odd := [name for name, value in losses.items() if value.dim()]:
        raise ValueError(f"RPN.LOSS: {odd[0]} is no scalar, its shape is {[*losses[odd[0]].shape]}")
    shown, losses = losses, {n: value for n, value in losses.items() if n.endswith("_loss")}
    if shown and not losses:
        raise ValueError(f"RPN.LOSS returns no loss named ..._loss; found: {', '.join(shown)}")
    if unknown := sorted(cfg.TRAIN.LOSS_WEIGHTS.keys() - losses.keys()):
        raise ValueError(f"TRAIN.LOSS_WEIGHTS: no loss {unknown[0]!r}; known: {', '.join(losses)}")
    return losses


def response_grid(cfg: Config, model: ModelBuilder) -> Grid:
    """Find the cells of a network's response, which labels are made for.

    A warning says that ``TRAIN.OUTPUT_SIZE`` states another number of them.

    Raises:
        ValueError: If the network cannot take images of the configured sizes, or cells are not
            ``ANCHOR.STRIDE`` pixels apart, as trackers take them to be.
    """
    train = cfg.TRAIN
    sizes = f"TRAIN.SEARCH_SIZE {train.SEARCH_SIZE} and EXEMPLAR_SIZE {train.EXEMPLAR_SIZE}"
    try:
        grid = model.eval().grid(train.EXEMPLAR_SIZE, train.SEARCH_SIZE)
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"{sizes} do not suit the network: {reason}") from error
    if grid.stride != cfg.ANCHOR.STRIDE:
        raise ValueError(
            f"ANCHOR.STRIDE is {cfg.ANCHOR.STRIDE}, but cells of the network's response are "
            f"{grid.stride} pixels apart; set ANCHOR.STRIDE {grid.stride}"
        )
    if grid.size != train.OUTPUT_SIZE:
        logger.warning(
            "TRAIN.OUTPUT_SIZE is %d, but the network's response is %d x %d for %s: so are labels",
            *(train.OUTPUT_SIZE, grid.size, grid.size, sizes),
        )
    return grid


def _blank_pair(cfg: Config, dataset: PairDataset, device: torch.device) -> dict[str, Tensor]:
    """Make a batch of one blank pair with the labels of a target in the middle."""
    side = dataset.search_size
    target = Corner(0.4 * side, 0.4 * side, 0.6 * side, 0.6 * side)
    labels = dataset.labels(target, np.random.default_rng(0), False)
    if dataset.masks and "label_cls" not in labels:
        raise ValueError(
            "MASK.MASK: masks are learned at cells where label_cls is 1, which RPN.LABELS "
            f"{labels_name(cfg)!r} does not make"
        )
    if dataset.masks:
        labels |= mask_labels(np.ones((side, side)), labels["label_cls"], side)
    arrays = {"template": np.zeros((3, *(dataset.exemplar_size,) * 2), np.float32)}
    arrays |= {"search": np.zeros((3, side, side), np.float32), **labels}
    return {key: torch.from_numpy(array)[None].to(device) for key, array in arrays.items()}


def build_monitor(cfg: Config, trainer: Trainer, loader: DataLoader) -> Monitor:
    """Build what shows the run; only the main process shows and writes anything."""
    batches, train, stride, shapes = loader.batch_sampler, cfg.TRAIN, cfg.ANCHOR.STRIDE, None
    if labels_name(cfg) == "anchors":
        shapes = anchor_shapes(stride, cfg.ANCHOR.RATIOS, cfg.ANCHOR.SCALES)
    return Monitor(
        trainer.progress,
        train.EPOCH,
        batches.steps_per_epoch,
        batches.pairs_per_step,
        train.PRINT_FREQ,
        loggers=_build_loggers(cfg, trainer),
        painter=PairPainter(stride, shapes),
        picture_freq=train.LOG_IMAGES,
        log_grads=train.LOG_GRADS,
        show=None if trainer.group.is_main_process else False,
    )


def _build_loggers(cfg: Config, trainer: Trainer) -> Loggers:
    """Open the loggers of the main process; ValueError in all processes if one cannot begin."""
    group, train, problem, loggers = trainer.group, cfg.TRAIN, "", Loggers()
    run = Run(train.LOG_DIR, trainer.progress.step, cfg.META_ARC, json.loads(json.dumps(cfg)))
    try:
        if group.is_main_process:
            loggers = open_loggers(train.LOGGERS, run)
    except ValueError as error:
        problem = str(error)
    if problem := group.broadcast(problem):
        raise ValueError(problem)
    return loggers


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
