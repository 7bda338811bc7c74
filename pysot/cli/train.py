r"""Train a tracker.

Usage:
    python tools/train.py --cfg experiments/siamrpn_alex_tiny/config.yaml
    python tools/train.py --cfg CONFIG.yaml TRAIN.EPOCH 4 TRAIN.NUM_WORKERS 2
    python tools/train.py --cfg CONFIG.yaml --resume auto
    python tools/train.py --cfg CONFIG.yaml --val OTB100 --val-every 5
    torchrun --nproc-per-node 8 tools/train.py --cfg CONFIG.yaml --resume auto

``KEY VALUE`` pairs override the configuration. A checkpoint is written after every epoch, to
TRAIN.SNAPSHOT_DIR/checkpoint_e<epoch>.pth, every TRAIN.SAVE_MINUTES minutes, and on SIGTERM and
Ctrl-C, after the step in work; --resume goes on from one as if nothing had happened. Log lines,
TensorBoard files and log.jsonl go to TRAIN.LOG_DIR. No launcher is needed for one process; torchrun
starts several, on one machine or many. --val tests the tracker while it learns, with tools/test.py
and tools/eval.py, and keeps the best as checkpoint_best.pth.

Exit codes: 0 trained to the end, 143 stopped by SIGTERM, 130 by Ctrl-C, 1 the run failed, 2 wrong
input.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pysot.cli.validation import BEST, Validation
from pysot.core.config import Config, load_config
from pysot.engine.build import build_run, describe_run
from pysot.engine.checkpoint import average_path, checkpoint_path
from pysot.engine.distributed import Ranks, device_of, find_rank, joined
from pysot.engine.monitor import log_to
from pysot.engine.run import Run
from pysot.engine.signals import StopRequest, stop_requests
from pysot.utils.device import choose_device
from toolkit.datasets import find_root

TESTING_DATASET = Path(__file__).resolve().parents[2] / "testing_dataset"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cfg", default="config.yaml", help="configuration (default: %(default)s)")
    add("--seed", type=_seed, default=123456, help="of weights and pairs")
    add(
        "--resume",
        metavar="auto|PATH",
        help="go on from a checkpoint; auto: the newest in TRAIN.SNAPSHOT_DIR, if there is one",
    )
    add("--local_rank", "--local-rank", type=int, default=0, help="set by old launchers")
    add("--val", metavar="DATASET", help="benchmark to test on after epochs")
    add("--val-every", type=_positive, default=1, metavar="N", help="test after every N epochs")
    add("--val-root", type=Path, help="its folder (default: testing_dataset/DATASET)")
    add("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says."""
    args = parse_args(argv)
    cfg = load_config(args.cfg, args.opts)
    ranks = find_rank(args.local_rank)
    resume = args.resume or cfg.TRAIN.RESUME
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0):
        resume = "auto"  # torchrun has started the processes again, after one was lost
    tests = build_validation(args, cfg) if args.val else None
    with stop_requests() as stop, log_to(cfg.TRAIN.LOG_DIR, ranks.rank):
        train(cfg, ranks, stop, args.seed, resume, tests)
    if stop:
        sys.exit(stop.exit_code)


def build_validation(args: argparse.Namespace, cfg: Config) -> Validation:
    """Prepare the tests between epochs.

    Raises:
        OSError: If the benchmark is not there.
    """
    root = args.val_root or find_root(args.val, TESTING_DATASET)
    if not (root / f"{args.val}.json").is_file():
        raise FileNotFoundError(f"--val: there is no {root / args.val}.json")
    folder = Path(cfg.TRAIN.LOG_DIR or cfg.TRAIN.SNAPSHOT_DIR) / "val"
    return Validation(args.val, args.val_every, args.cfg, args.opts, folder, root)


def train(
    cfg: Config,
    ranks: Ranks,
    stop: StopRequest,
    seed: int,
    resume: str = "",
    tests: Validation | None = None,
) -> None:
    """Train a model from its first epoch, or from a checkpoint, to its last.

    Args:
        cfg: The experiment.
        ranks: The processes that train together.
        stop: Ends the run early, after it has saved itself.
        seed: Of initial weights and training pairs.
        resume: A checkpoint, ``auto``, or empty.
        tests: Between epochs.
    """
    start = time.perf_counter()
    device = device_of(ranks, choose_device(cfg.DEVICE, cfg.CUDA))
    with joined(ranks, device):
        job = build_run(cfg, ranks, device, stop, seed, resume)
        say = print if ranks.is_first else (lambda text: None)
        if job.origin:
            say(job.origin)
        if job.epoch >= cfg.TRAIN.EPOCH:
            say(f"nothing to do: {job.epoch} of {cfg.TRAIN.EPOCH} epochs are trained")
            return
        for line in describe_run(cfg, job):
            say(line)
        if tests:
            job.after_epoch = functools.partial(tests.after_epoch, job)
        with contextlib.closing(job.monitor):
            finished = job.go()
        for line in summary(job, finished, time.perf_counter() - start):
            say(line)


def summary(job: Run, finished: bool, seconds: float) -> list[str]:
    """Say how a run went, and where its result is."""
    faults, folder = job.faults, job.snapshots.folder
    lines = [job.monitor.summary()]
    if faults.skipped_steps:
        lines.append(f"{faults.skipped_steps} steps were skipped because of their loss")
    if faults.bad_images:
        lines.append(f"{len(faults.bad_images)} training images could not be read (see the log)")
    lines.append(f"checkpoint: {checkpoint_path(folder, job.epoch, job.pairs)}")
    if (folder / BEST).is_file():
        lines.append(f"best of those tested: {folder / BEST}")
    if finished and job.trainer.average is not None:
        lines.append(f"averaged weights: {average_path(folder, job.epoch)}")
    state = "trained" if finished else "stopped as asked, --resume auto goes on; trained"
    return [*lines, f"{state} in {seconds / 60:.1f} minutes"]


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a seed is 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return value
