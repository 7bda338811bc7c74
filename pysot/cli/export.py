r"""Write a tracker's networks as ONNX, which run without PyTorch.

Usage:
    pysot export --config CONFIG.yaml --snapshot model.pth --output DIR
    pysot export --model siamrpn_r50_l234_dwxcorr --output DIR

DIR gets template.onnx and search.onnx (and refine.onnx where there are masks to refine) and
model.json, which holds the configuration and describes them; docs/export.md has names and shapes.
What is written computes what PyTorch does, to 1e-4 of full scale: the command checks it on drawn
images, and writes nothing otherwise. ``KEY VALUE`` pairs override the configuration.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from pysot.cli import Parser, find_tracker
from pysot.core.config import load_config
from pysot.export.folder import Source, export
from pysot.models.model_builder import build_model
from pysot.tracker.siammask_tracker import SiamMaskTracker
from pysot.tracker.tracker_builder import TRACKERS
from pysot.utils.model_load import load_weights
from pysot.zoo.download import sha256_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    add = parser.add_argument
    parser.add_tracker()
    parser.add_output(text="folder to write", required=True)
    add("--overwrite", action="store_true", help="replace an exported tracker that is there")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder, and print its files and the largest error of each output."""
    args = parse_args(argv)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    source = read_source(*find_tracker(args), args.opts)
    record = export(source, args.output, args.overwrite)
    for name in record["files"].values():
        print(f"{args.output / name}: {(args.output / name).stat().st_size / 1e6:.1f} MB")
    worst = max(record["parity"], key=record["parity"].get)
    print(f"largest difference from PyTorch: {record['parity'][worst]:.1e} of full scale ({worst})")


def read_source(config: str | Path | None, snapshot: Path, opts: Sequence[str] = ()) -> Source:
    """Load the network of a configuration; ``OSError`` or ``ValueError`` if a file is unusable."""
    if config is None:
        raise ValueError(f"{snapshot} is an exported tracker already")
    cfg = load_config(config, opts)
    model = load_weights(build_model(cfg), snapshot, rename=cfg.TRAIN.PRETRAINED_RENAME)
    with_masks = issubclass(TRACKERS.get(cfg.TRACK.TYPE), SiamMaskTracker)
    sizes = cfg.TRACK.EXEMPLAR_SIZE, cfg.TRACK.INSTANCE_SIZE
    return Source(model.eval(), cfg, sha256_of(snapshot), with_masks, sizes)
