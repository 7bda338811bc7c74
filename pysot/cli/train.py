r"""Train a tracker.

``KEY VALUE`` pairs override the configuration. A checkpoint is written after every epoch, to
TRAIN.SNAPSHOT_DIR/checkpoint_e<epoch>.pth, every TRAIN.SAVE_MINUTES minutes, and on SIGTERM and
Ctrl-C, after the step in work; --resume goes on from one as if nothing had happened. Log lines,
TensorBoard files and log.jsonl go to TRAIN.LOG_DIR. No launcher is needed for one process; torchrun
starts several, on one machine or many. --val tests the tracker while it is trained, and keeps the
best as checkpoint_best.pth.

--cache-features trains faster while the backbone is frozen: its features of all DATASET.VIEWS are
computed once and kept on disk. Only a run of the same network, views and images uses them.

Exit codes: 0 trained to the end, 143 stopped by SIGTERM, 130 by Ctrl-C, 1 the run failed, 2 wrong
input.

Examples:
    pysot train --config siamrpn_alex_tiny
    pysot train --config CONFIG.yaml TRAIN.EPOCH 4 TRAIN.NUM_WORKERS 2
    pysot train --config CONFIG.yaml --resume auto
    pysot train --config CONFIG.yaml --val OTB100 --val-every 5
    torchrun --nproc-per-node 8 tools/train.py --config CONFIG.yaml --resume auto
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pysot.cli import Parser, find_dataset_root, positive, stop_requests
from pysot.core import StopRequest
from pysot.core.config import Config, load_config
from pysot.engine import build
from pysot.engine.cache_builder import cache_features
from pysot.engine.checkpoint import BEST, LARGEST_SEED, average_path, checkpoint_path
from pysot.engine.distributed import ProcessGroup, device_of, find_process_group, init_process_group
from pysot.engine.monitor import log_to
from pysot.engine.trainer import Trainer
from pysot.engine.validation import Validation
from pysot.utils.model_load import choose_device

logger = logging.getLogger(__name__)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_config(default="config.yaml")
    add = parser.add_argument
    add("--seed", type=_seed, default=123456, help="of weights and pairs")
    add(
        "--resume",
        metavar="auto|PATH",
        help="go on from a checkpoint; auto: the newest in TRAIN.SNAPSHOT_DIR, if there is one",
    )
    add("--local_rank", "--local-rank", type=int, default=0, help="set by old launchers")
    add("--val", metavar="DATASET", help="benchmark to test on after epochs")
    add("--val-every", type=positive, default=1, metavar="N", help="test after every N epochs")
    parser.add_dataset_root("--val-root", text="its folder (default: testing_dataset/DATASET)")
    add(
        "--cache-features",
        type=_cache_folder,
        nargs="?",
        const="",
        metavar="FOLDER",
        help="keep the frozen backbone's features there (default: TRAIN.SNAPSHOT_DIR/features)",
    )
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.opts)
    group = find_process_group(args.local_rank)
    resume = args.resume or cfg.TRAIN.RESUME
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0):
        resume = "auto"  # torchrun has started the processes again, after one was lost
    validation = build_validation(args, cfg) if args.val else None
    with stop_requests() as stop, log_to(cfg.TRAIN.LOG_DIR, group.rank):
        train(cfg, group, stop, args.seed, resume, validation, args.cache_features)
    if stop:
        sys.exit(128 + stop.signal)  # as shells report it


def build_validation(args: argparse.Namespace, cfg: Config) -> Validation:
    """Prepare the tests between epochs; OSError if the benchmark is not there."""
    root = find_dataset_root(args.val, args.dataset_root)
    if not (root / f"{args.val}.json").is_file():
        raise FileNotFoundError(f"--val: there is no {root / args.val}.json")
    folder = Path(cfg.TRAIN.LOG_DIR or cfg.TRAIN.SNAPSHOT_DIR) / "val"
    return Validation(args.val, args.val_every, args.config, args.opts, folder, root)


def train(
    cfg: Config,
    group: ProcessGroup,
    stop: StopRequest,
    seed: int,
    resume: str = "",
    validation: Validation | None = None,
    cache: str | None = None,
) -> None:
    """Train a model from its first epoch, or from a checkpoint, to its last.

    ``seed`` determines initial weights and training pairs; ``resume`` is a checkpoint, ``auto``, or
    empty; ``stop`` ends the run early, after it has saved itself. ``cache`` is a folder for
    features, empty for the default.
    """
    start = time.perf_counter()
    say = print if group.is_main_process else (lambda text: None)
    device = device_of(group, choose_device(cfg.DEVICE, cfg.CUDA))
    with init_process_group(group, device), build.claim_folder(cfg, group):
        logger.info("config \n%s", json.dumps(cfg, indent=4))
        checkpointer = build.build_checkpointer(cfg, group)
        trainer = build.build_trainer(cfg, group, device, seed)
        if origin := build.load_start(cfg, trainer, resume):
            say(origin)
        if trainer.progress.epoch >= cfg.TRAIN.EPOCH:
            say(f"nothing to do: {trainer.progress.epoch} of {cfg.TRAIN.EPOCH} epochs are trained")
            return
        loader = build.build_loader(cfg, trainer)
        build.check_network(cfg, trainer, loader.dataset)
        for line in build.describe_run(cfg, trainer, loader):
            say(line)
        if cache is not None:
            folder = Path(cache or Path(cfg.TRAIN.SNAPSHOT_DIR, "features"))
            loader = cache_features(cfg, trainer, loader, folder, stop, say)
            if stop:
                return
        with contextlib.closing(build.build_monitor(cfg, trainer, loader)) as monitor:
            known = (trainer, monitor, checkpointer.folder, stop)
            validate = partial(validation.after_epoch, *known) if validation else lambda: None
            finished = trainer.fit(
                loader, monitor, checkpointer, stop, cfg.TRAIN.ACCUMULATE, validate
            )
        say(monitor.summary())
        for line in summary(trainer, checkpointer.folder, finished, time.perf_counter() - start):
            say(line)


def summary(trainer: Trainer, folder: Path, finished: bool, seconds: float) -> list[str]:
    """Describe how a run went, and where its result is."""
    lines, budget, progress = [], trainer.error_budget, trainer.progress
    if budget.skipped_steps:
        lines.append(f"{budget.skipped_steps} steps were skipped because of their loss")
    if budget.bad_images:
        lines.append(f"{len(budget.bad_images)} training images could not be read (see the log)")
    lines.append(f"checkpoint: {checkpoint_path(folder, progress.epoch, progress.pairs)}")
    if (folder / BEST).is_file():
        lines.append(f"best of those tested: {folder / BEST}")
    if finished and trainer.average is not None:
        lines.append(f"averaged weights: {average_path(folder, progress.epoch)}")
    state = "trained" if finished else "stopped as asked, --resume auto goes on; trained"
    return [*lines, f"{state} in {seconds / 60:.1f} minutes"]


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"a seed is from 0 to {LARGEST_SEED}")
    return value


def _cache_folder(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9_]*(\.\w+)*", text) and not os.path.exists(text):
        raise argparse.ArgumentTypeError(
            f"{text} is a key of the configuration, no folder; give the option last"
        )
    return text
