"""Train a tracker.

Usage:
    python tools/train.py --cfg experiments/siamrpn_alex_tiny/config.yaml
    python tools/train.py --cfg CONFIG.yaml TRAIN.EPOCH 4 TRAIN.NUM_WORKERS 2
    python tools/train.py --cfg CONFIG.yaml --resume auto

``KEY VALUE`` pairs override the configuration. A checkpoint is written after every epoch, to
TRAIN.SNAPSHOT_DIR/checkpoint_e<epoch>.pth; --resume goes on from one as if nothing had happened.
Log lines and TensorBoard files go to TRAIN.LOG_DIR. No launcher is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":
    # Threads that wait for each other should sleep, not spin, or they take the cores from the
    # workers that read data (on two busy cores a step took 2 to 10 times as long). Read once, when
    # torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from pysot.core.config import Config, load_config
from pysot.datasets.build import build_train_dataset, build_train_loader
from pysot.engine.checkpoint import (
    RunState,
    checkpoint_path,
    newest_checkpoint,
    read_training_checkpoint,
    restore_model,
    restore_optimizer,
    restore_run,
    save_checkpoint,
)
from pysot.engine.monitor import Monitor, log_to, open_writer
from pysot.engine.optim import OptimizerPlan, begin_epoch, build_optimizer_plan
from pysot.engine.train import Faults, train_one_epoch
from pysot.models.model_builder import ModelBuilder, build_model, load_pretrained_backbone
from pysot.utils.cli import run
from pysot.utils.device import choose_device
from pysot.utils.model_load import load_weights

logger = logging.getLogger("pysot.tools.train")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", default="config.yaml", help="configuration (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, default=123456, help="of weights and pairs")
    parser.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="go on from a checkpoint; auto: the newest in TRAIN.SNAPSHOT_DIR, if there is one",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="not used")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    args = parse_args(argv)
    cfg = load_config(args.cfg, args.opts)
    device = choose_device(cfg.DEVICE, cfg.CUDA)
    with log_to(cfg.TRAIN.LOG_DIR):
        train(cfg, device, args.seed, args.resume or cfg.TRAIN.RESUME)


def train(cfg: Config, device: torch.device, seed: int, resume: str = "") -> None:
    """Train a model from its first epoch, or from a checkpoint, to its last.

    Args:
        cfg: The experiment.
        device: To compute on.
        seed: Of initial weights and training pairs.
        resume: A checkpoint, ``auto``, or empty.
    """
    start = time.perf_counter()
    _make_repeatable(seed)
    logger.info("config \n%s", json.dumps(cfg, indent=4))
    snapshots = Path(cfg.TRAIN.SNAPSHOT_DIR)
    snapshots.mkdir(parents=True, exist_ok=True)  # find out now, not after the first epoch
    plan = build_optimizer_plan(cfg)
    model = build_model(cfg).to(device, memory_format=torch.channels_last)
    first, optimizer, state = _first_state(cfg, model, plan, seed, resume)
    if first >= cfg.TRAIN.EPOCH:
        print(f"nothing to do: {first} of {cfg.TRAIN.EPOCH} epochs are trained")
        return
    loader = build_train_loader(
        cfg, build_train_dataset(cfg, seed), first, pin_memory=device.type == "cuda"
    )
    steps = loader.batch_sampler.steps_per_epoch
    print(_introduction(cfg, model, device, steps))
    faults = Faults(cfg.TRAIN.MAX_BAD_IMAGES, state.bad_images)
    with contextlib.closing(_monitor(cfg, steps, first, state.step)) as monitor:
        batches = iter(loader)
        for epoch in range(first, cfg.TRAIN.EPOCH):
            optimizer = begin_epoch(model, plan, epoch, optimizer)
            _train_epoch(cfg, epoch, model, optimizer, batches, steps, monitor, faults)
            state = RunState(seed, monitor.step, tuple(faults.bad_images))
            save_checkpoint(snapshots, epoch + 1, model, optimizer, state)
    _summarise(checkpoint_path(snapshots, cfg.TRAIN.EPOCH), faults, time.perf_counter() - start)


def _train_epoch(
    cfg: Config,
    epoch: int,
    model: ModelBuilder,
    optimizer: torch.optim.SGD,
    batches: Iterator[dict[str, Any]],
    steps: int,
    monitor: Monitor,
    faults: Faults,
) -> None:
    monitor.begin_epoch(epoch, optimizer)
    train_one_epoch(
        model,
        optimizer,
        batches,
        steps,
        device=next(model.parameters()).device,
        grad_clip=cfg.TRAIN.GRAD_CLIP,
        monitor=monitor,
        faults=faults,
        log_grads=cfg.TRAIN.LOG_GRADS,
    )
    monitor.say(monitor.end_epoch())


def _first_state(
    cfg: Config, model: ModelBuilder, plan: OptimizerPlan, seed: int, resume: str
) -> tuple[int, torch.optim.SGD | None, RunState]:
    """Load what the run begins with.

    Returns:
        The first epoch to train, the optimiser of the epoch before (None at the start) and the
        counters.
    """
    found = _checkpoint(resume, Path(cfg.TRAIN.SNAPSHOT_DIR))
    if found is None:
        load_pretrained_backbone(model, cfg)
        if cfg.TRAIN.PRETRAINED:
            # the second stage of SiamMask begins from the first one's weights
            load_weights(model, cfg.TRAIN.PRETRAINED, may_lack=("refine_head",))
        return cfg.TRAIN.START_EPOCH, None, RunState(seed)
    path, content = found
    restore_model(model, content, path)
    epoch = int(content["epoch"])
    optimizer = begin_epoch(model, plan, max(0, min(epoch, cfg.TRAIN.EPOCH) - 1))
    restore_optimizer(optimizer, content, path)
    print(f"resume from {path}, {epoch} epochs trained")
    return epoch, optimizer, restore_run(content, seed)


def _checkpoint(resume: str, snapshots: Path) -> tuple[Path, dict] | None:
    if not resume:
        return None
    if resume != "auto":
        return Path(resume), read_training_checkpoint(Path(resume))
    found = newest_checkpoint(snapshots)
    if found is None:
        print(f"no checkpoint in {snapshots}: starting from the first epoch")
    return found


def _make_repeatable(seed: int) -> None:
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _monitor(cfg: Config, steps: int, first_epoch: int, step: int) -> Monitor:
    return Monitor(
        cfg.TRAIN.EPOCH,
        steps,
        cfg.TRAIN.BATCH_SIZE,
        print_freq=cfg.TRAIN.PRINT_FREQ,
        first_epoch=first_epoch,
        step=step,
        writer=open_writer(cfg.TRAIN.LOG_DIR),
    )


def _introduction(cfg: Config, model: torch.nn.Module, device: torch.device, steps: int) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"training {cfg.META_ARC or 'a model'} ({parameters / 1e6:.2f} M parameters) on {device}: "
        f"{cfg.TRAIN.EPOCH} epochs of {steps} batches of {cfg.TRAIN.BATCH_SIZE} pairs"
    )


def _summarise(checkpoint: Path, faults: Faults, seconds: float) -> None:
    if faults.skipped_steps:
        print(f"{faults.skipped_steps} steps were skipped because of their loss")
    if faults.bad_images:
        print(f"{len(faults.bad_images)} training images could not be read (see the log)")
    print(f"checkpoint: {checkpoint}")
    print(f"trained in {seconds / 60:.1f} minutes")


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a seed is 0 or more")
    return value


if __name__ == "__main__":
    run(main)
