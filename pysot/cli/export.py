r"""Write a tracker's networks as ONNX, which run without PyTorch, or as programs of torch.export.

DIR gets template.onnx and search.onnx (and refine.onnx where there are masks to refine) and
model.json, which holds the configuration and describes them; docs/export.md has names and shapes.
What is written computes what PyTorch does, to 1e-4 of full scale: the command checks it on drawn
images, and writes nothing otherwise. With --int8 the search network has integers of 8 bits, in
ranges that frames of the videos and data sets of --calibrate give, and is faster. --score runs
both trackers over a data set, and model.json keeps their scores. --format torch writes programs of
torch.export, .pt2, in place of ONNX. ``KEY VALUE`` pairs override the configuration.

Examples:
    pysot export --config CONFIG.yaml --snapshot model.pth --output DIR
    pysot export --model siamrpn_r50_l234_dwxcorr --output DIR
    pysot export --config CONFIG.yaml --snapshot model.pth --output DIR --int8 \
        --calibrate Synthetic --score Synthetic
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pysot.cli import Parser, find_dataset_root, find_tracker
from pysot.core.config import Config, load_config
from pysot.core.registry import TRACKERS
from pysot.export.calibration import read_pairs, search_inputs
from pysot.export.folder import KINDS, Source, export
from pysot.export.quantize import Inputs
from pysot.export.score import score_trackers
from pysot.models.model_builder import build_model
from pysot.tracker.exported import ExportedNetwork, read_record
from pysot.tracker.siammask_tracker import SiamMaskTracker
from pysot.tracker.tracker_builder import build_tracker, prepare_model
from pysot.utils.model_load import load_weights
from toolkit.datasets import DatasetFactory
from toolkit.io.files import sha256_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    parser.add_output(text="folder to write", required=True)
    add("--overwrite", action="store_true", help="replace an exported tracker that is there")
    text = "files for ONNX's runtimes, or programs of torch.export"
    add("--format", choices=KINDS, default="onnx", help=text)
    add("--int8", action="store_true", help="search network of 8-bit integers")
    text = "video, folder of images or data set for --int8; may be repeated"
    add("--calibrate", action="append", metavar="NAME", help=text)
    add("--score", metavar="DATASET", help="score PyTorch's tracker and the exported one")
    parser.add_dataset_root(text="folder of the data sets that are named")
    parser.add_overrides()
    args = parser.parse_intermixed_args(argv)
    if args.int8 != bool(args.calibrate):
        parser.error("--int8 and --calibrate go together")
    if args.format != "onnx" and (args.int8 or args.score):
        parser.error("--int8 and --score need --format onnx")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder, and print its files, the errors of its outputs and the scores."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    source, cfg = read_source(*find_tracker(args), args.opts)
    samples, score = _samples(args, source.model, cfg), _score(args, source.model, cfg)
    record = export(source, args.output, args.overwrite, args.format, samples, score)
    for name in record["files"].values():
        print(f"{args.output / name}: {(args.output / name).stat().st_size / 1e6:.1f} MB")
    for kind in ("parity", "int8_errors"):
        if errors := record.get(kind):
            worst = max(errors, key=errors.get)
            print(f"{kind}: at most {errors[worst]:.1e} of full scale ({worst})")
    for name, scores in record.get("scores", {}).items():
        for kind, metrics in scores.items():
            values = (f"{key} {value:.3f}" for key, value in metrics.items() if value is not None)
            print(f"{name}, {kind}: {', '.join(values)}")


def read_source(
    config: str | Path | None, snapshot: Path, opts: Sequence[str] = ()
) -> tuple[Source, Config]:
    """Load the network of a configuration; ``OSError`` or ``ValueError`` if a file is unusable."""
    if config is None:
        raise ValueError(f"{snapshot} is an exported tracker already")
    cfg = load_config(config, opts)
    model = load_weights(build_model(cfg), snapshot, rename=cfg.TRAIN.PRETRAINED_RENAME)
    tracker = TRACKERS.get(cfg.TRACK.TYPE)
    with_masks = isinstance(tracker, type) and issubclass(tracker, SiamMaskTracker)
    sizes = cfg.TRACK.EXEMPLAR_SIZE, cfg.TRACK.INSTANCE_SIZE
    return Source(model.eval(), cfg, sha256_of(snapshot), with_masks, sizes), cfg


def _samples(
    args: argparse.Namespace, model: Any, cfg: Config
) -> Callable[[Any], list[Inputs]] | None:
    """Return what makes inputs of the search network for its scales, with ``--int8``."""
    if not args.int8:
        return None
    pairs = read_pairs(args.calibrate, partial(find_dataset_root, root=args.dataset_root))
    return lambda kernels: list(search_inputs(build_tracker(model, cfg), kernels, pairs))


def _score(args: argparse.Namespace, model: Any, cfg: Config) -> Callable[[Path], dict] | None:
    """Return what scores an exported folder, with ``--score``."""
    if not args.score:
        return None
    root = find_dataset_root(args.score, args.dataset_root)
    data = DatasetFactory.create_dataset(name=args.score, dataset_root=root)

    def score(folder: Path) -> dict[str, Any]:
        exported = ExportedNetwork(folder, read_record(folder), "onnxruntime")
        torch.set_num_threads(1)  # as when testing
        networks = {"pytorch": prepare_model(model, cfg), "exported": exported}
        builds = {key: partial(build_tracker, net, cfg) for key, net in networks.items()}
        return {args.score: score_trackers(builds, data)}

    return score
