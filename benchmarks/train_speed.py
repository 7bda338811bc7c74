"""Pairs per second of training, and the share of the time in which it waits for data.

Usage:
    python benchmarks/train_speed.py
    python benchmarks/train_speed.py --config CONFIG.yaml --steps 20 TRAIN.BATCH_SIZE 32
    python benchmarks/train_speed.py --precision fp32 bf16 --compile
    python benchmarks/train_speed.py --against plain

Each configuration takes a few steps on drawn batches, which are there at once: the speed of the
network alone. With ``--data`` it also trains from the crops of ``make_synthetic.py`` through the
real loader, whose waiting is then part of the time. Several precisions, and with ``--compile`` the
compiled network, take their steps in turn, and the last column is how many times as fast each is
as the first.

``--against plain`` takes our step and that of plain.py in turn, from the same weights on the same
pairs, on the CPU: AlexNet whose first stages are frozen, SiamFC, and heads that learn from cached
features of a frozen backbone, where the plain step passes the images through it. The first losses
of both must be the same. Seconds are medians of the processor's time, which other programs change
little; OMP_NUM_THREADS=1 makes it that of the clock.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain import make_plain, plain_correlations

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pysot.cli import run
from pysot.core.config import Config, load_config
from pysot.core.registry import RPN_HEADS
from pysot.datasets.build import build_train_dataset, build_train_loader
from pysot.engine.build import build_trainer
from pysot.engine.distributed import ProcessGroup
from pysot.engine.trainer import Trainer, batches_on
from pysot.utils.model_load import choose_device

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = (
    "siamrpn_alex_tiny",
    "siamrpn_alex_dwxcorr_16gpu",
    "siamrpn_r50_l234_dwxcorr_8gpu",
    "siamrpn_mobilev2_l234_dwxcorr_8gpu",
    "siammask_r50_l3_base",
)
CROPS = ROOT / "training_dataset" / "synthetic"
AGAINST = (  # configurations, pairs of a step, and whether features are cached
    ("siamrpn_alex_dwxcorr_16gpu", 8, False),
    ("siamfc_alex", 8, False),
    ("siamfc_lite0", 8, False),
    ("siamfc_lite0", 32, True),
    ("siamrpn_lite0", 32, True),
)
SAME = 1e-3  # relative difference of losses
ON_CPU = 2  # pairs; enough to see what a pair costs
WARM_UP = 1


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, nargs="+", help="default: one of each kind of network")
    add("--steps", type=int, default=3, help="timed steps (default: %(default)s)")
    add("--precision", nargs="+", default=["fp32"], choices=("fp32", "bf16", "fp16"))
    add("--compile", action="store_true", help="also with torch.compile")
    add("--against", choices=["plain"], help="compare with another way to train")
    add("--data", action="store_true", help="also from the built-in crops")
    add("opts", nargs="*", metavar="KEY VALUE", help="override the configuration")
    return parser.parse_intermixed_args(argv)


def configured(path: Path, opts: Sequence[str]) -> Config:
    """The configuration, on CPUs with small batches, and trained as after the unfreezing."""
    cfg = load_config(path, opts)
    small = [] if choose_device(cfg.DEVICE, cfg.CUDA).type == "cuda" else [ON_CPU]
    pairs = [str(x) for size in small for x in ("TRAIN.BATCH_SIZE", size)]
    crops = {"ROOT": str(CROPS / "crop511"), "ANNO": str(CROPS / "train.json"), "FRAME_RANGE": 100}
    data = ["DATASET.NAMES", "[SYNTHETIC]", "DATASET.SYNTHETIC", str(crops)]
    return load_config(path, [*pairs, *data, *opts])


def drawn_batch(cfg: Config, has_masks: bool) -> dict[str, Any]:
    """Noise with labels of about the usual shares."""
    train = cfg.TRAIN
    batch, response = train.BATCH_SIZE, train.OUTPUT_SIZE
    boxless = getattr(RPN_HEADS.get(cfg.RPN.TYPE), "anchor_num", 1) is None
    shape = (batch, 1 if boxless else cfg.ANCHOR.ANCHOR_NUM, response, response)
    draw = torch.Generator().manual_seed(0)
    labels = torch.full(shape, -1).flatten(1)
    labels[:, :: labels.shape[1] // 48] = 0
    labels[:, :: labels.shape[1] // 12] = 1
    images = {
        key: torch.rand((batch, 3, side, side), generator=draw) * 255
        for key, side in (("template", train.EXEMPLAR_SIZE), ("search", train.SEARCH_SIZE))
    }
    weights = (labels == 1).float().reshape(shape)
    drawn = {
        **images,
        "label_cls": labels.reshape(shape),
        "label_loc": torch.randn((batch, 4, *shape[1:]), generator=draw),
        "label_loc_weight": weights / 16,
    }
    if has_masks:
        drawn["label_mask"] = torch.ones(batch, train.SEARCH_SIZE, train.SEARCH_SIZE)
        drawn["label_mask_weight"] = weights.amax(dim=1)
    return drawn


def timed_steps(
    trainer: Trainer, batches: Iterator[dict[str, Any]], steps: int
) -> Iterator[tuple[float, float]]:
    """Take steps; yields seconds of each: all, and waiting for its batch."""
    for _ in range(steps):
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        batch.pop("bad_images", None)
        trainer.step([batch])  # ends with numbers on the CPU
        yield time.perf_counter() - start, waited


def variants(cfg: Config, args: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Names, and what each overrides."""
    compiled = (False, True) if args.compile else (False,)
    return [
        (
            precision + (" compiled" if compiled else ""),
            ["TRAIN.PRECISION", precision, "TRAIN.COMPILE", str(compiled).lower()],
        )
        for precision, compiled in itertools.product(args.precision, compiled)
    ]


def measure(path: Path, args: argparse.Namespace, source: Callable[..., Any], kind: str) -> None:
    """Time all variants of a configuration in turn, step by step, and print their rows."""
    runs = []
    for name, changes in variants(path, args):
        cfg = configured(path, [*args.opts, *changes])
        device = choose_device(cfg.DEVICE, cfg.CUDA)
        trainer = build_trainer(cfg, ProcessGroup(), device, seed=0)
        trainer.begin_epoch(cfg.TRAIN.EPOCH - 1)
        batches = batches_on(device, source(cfg, trainer))
        runs.append((name, cfg, timed_steps(trainer, batches, WARM_UP + args.steps)))
    times = [list(step) for step in zip(*(steps for *_, steps in runs), strict=True)][WARM_UP:]
    first = sum(step[0][0] for step in times)
    for number, (name, cfg, _) in enumerate(runs):
        seconds = sum(step[number][0] for step in times)
        waited = sum(step[number][1] for step in times)
        print(
            f"{path.parent.name:36} {kind:6} {name:14} {cfg.TRAIN.BATCH_SIZE:5} "
            f"{len(times) * cfg.TRAIN.BATCH_SIZE / seconds:9.2f} {waited / seconds:9.1%} "
            f"{first / seconds:6.2f}",
            flush=True,
        )


def compare(args: argparse.Namespace) -> None:
    """Print pairs per second of the plain step and ours, and their ratio, of several networks."""
    columns = ("features", "batch", "plain", "ours", "ratio", "apart")
    print(f"{'configuration':36}" + "".join(f"{column:>10}" for column in columns))
    wanted = [path.parent.name for path in args.config or ()]
    for name, batch, cached in AGAINST:
        if wanted and name not in wanted:
            continue
        path = ROOT / "experiments" / name / "config.yaml"
        opts = ["DEVICE", "cpu", "BACKBONE.PRETRAINED", "", "TRAIN.BATCH_SIZE", str(batch)]
        cfg = configured(path, [*opts, *args.opts])
        seconds, apart = in_turn(cfg, cached, args.steps)
        number, source = cfg.TRAIN.BATCH_SIZE, "cached" if cached else "computed"
        plain, ours = number / np.median(seconds, axis=0)
        print(
            f"{name:36}{source:>10}{number:10}{plain:10.2f}{ours:10.2f}{ours / plain:10.2f}"
            f"{apart:10.1e}",
            flush=True,
        )
        if not apart <= SAME:
            raise ValueError(f"{name}: losses differ by {apart:g}, more than {SAME:g}")


def in_turn(cfg: Config, cached: bool, steps: int) -> tuple[list[tuple[float, ...]], float]:
    """Take the plain step and ours in turn.

    Returns:
        Their seconds, and the relative difference of the losses of the first step.
    """
    trainers = [build_trainer(cfg, ProcessGroup(), torch.device("cpu"), seed=0) for _ in range(2)]
    for trainer in trainers:
        trainer.begin_epoch(cfg.TRAIN.EPOCH - 1)
    plain, ours = trainers
    make_plain(plain.model)
    batch = drawn_batch(cfg, ours.model.has_masks)
    (quick,) = batches_on(ours.device, [dict(batch)])
    if cached:
        with torch.no_grad():
            for role in ("template", "search"):
                quick[f"{role}_maps"] = ours.model.backbone_maps(quick.pop(role))
    seconds, losses = [], []
    for _ in range(WARM_UP + steps):
        marks = [time.process_time()]
        with plain_correlations():
            found = [plain.step([dict(batch)])]
        marks.append(time.process_time())
        found.append(ours.step([dict(quick)]))
        marks.append(time.process_time())
        seconds.append(tuple(np.diff(marks)))
        losses.append([numbers["total_loss"] for numbers in found])
    return seconds[WARM_UP:], abs(losses[0][1] / losses[0][0] - 1)


def drawn(cfg: Config, trainer: Trainer) -> Iterator[dict[str, Any]]:
    batch = drawn_batch(cfg, trainer.model.has_masks)
    return (dict(batch) for _ in itertools.count())


def loaded(cfg: Config, trainer: Trainer) -> Iterator[dict[str, Any]]:
    pinned = trainer.device.type == "cuda"
    return iter(build_train_loader(cfg, build_train_dataset(cfg, 0), pin_memory=pinned))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    known = {name for name, *_ in AGAINST}
    if args.against and (unknown := [p for p in args.config or () if p.parent.name not in known]):
        raise ValueError(f"{unknown[0]}: --against plain knows {', '.join(sorted(known))}")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    if args.against:
        compare(args)
        return
    if args.data and not CROPS.is_dir():
        raise FileNotFoundError(f"{CROPS} is missing; run tools/make_synthetic.py")
    paths = args.config or [ROOT / "experiments" / name / "config.yaml" for name in CONFIGS]
    columns = f"{'configuration':36} {'data':6} {'numbers':14} {'batch':>5}"
    print(f"{columns} {'pairs/s':>9} {'data wait':>9} {'ratio':>6}")
    for path in paths:
        measure(path, args, drawn, "drawn")
        if args.data:
            measure(path, args, loaded, "crops")


if __name__ == "__main__":
    run(main)
