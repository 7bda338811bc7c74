"""Pairs per CPU-second of head training: on cached features, and on images through the backbone.

Usage:
    python benchmarks/cached_training.py                   # crops of tools/make_synthetic.py
    python benchmarks/cached_training.py --config siamfc_lite0 --steps 10 TRAIN.BATCH_SIZE 32

Both runs train the same pairs with a frozen backbone in one thread, step by step in turn, and make
their batches in the same process; the ratio is of the CPU time of whole steps, data included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run
from pysot.core import StopRequest
from pysot.core.config import Config, load_config
from pysot.engine import build
from pysot.engine.cache_builder import cache_features
from pysot.engine.distributed import ProcessGroup
from pysot.engine.trainer import batches_on

CROPS = Path(__file__).resolve().parents[1] / "training_dataset" / "synthetic"
FIXED = (
    *("DATASET.NAMES", "[SYNTHETIC]", "DATASET.SYNTHETIC.ROOT", f"{CROPS}/crop511"),
    *("DATASET.SYNTHETIC.ANNO", f"{CROPS}/train.json", "DATASET.SYNTHETIC.EVERY", "10"),
    *("BACKBONE.PRETRAINED", "", "BACKBONE.TRAIN_LAYERS", "[]", "TRAIN.NUM_WORKERS", "0"),
    *("DATASET.VIEWS.TEMPLATE", "1", "DATASET.VIEWS.SEARCH", "2", "DEVICE", "cpu"),
)


def step_of(cfg: Config, folder: Path | None) -> Callable[[], float]:
    """Return what takes a step, on features in ``folder`` if given, and tells its CPU time."""
    trainer = build.build_trainer(cfg, ProcessGroup(), torch.device("cpu"), seed=0)
    loader = build.build_loader(cfg, trainer)
    if folder is not None:
        loader = cache_features(cfg, trainer, loader, folder, StopRequest())
    trainer.begin_epoch(0)
    batches = batches_on(trainer.device, loader)

    def step() -> float:
        start = time.process_time()
        batch = next(batches)
        batch.pop("bad_images")
        trainer.step([batch])
        return time.process_time() - start

    step()
    return step


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="siamrpn_lite0")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cfg = load_config(args.config, [*FIXED, *args.opts])
    with tempfile.TemporaryDirectory() as folder:
        steps = [step_of(cfg, None), step_of(cfg, Path(folder))]
        images, cached = (sum(times) for times in zip(*(
            [step() for step in steps] for _ in range(args.steps)), strict=True))  # fmt: skip
    pairs = args.steps * cfg.TRAIN.BATCH_SIZE
    print(f"{cfg.META_ARC}: {pairs / images:.1f} pairs per CPU-second on images, "
          f"{pairs / cached:.1f} on cached features: {images / cached:.2f} times")  # fmt: skip


if __name__ == "__main__":
    run(main)
