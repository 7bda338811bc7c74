"""Draw a sheet of training pairs, as a network would see them.

Each pair is a template beside its search image: the target's box is green, cells that are labeled
as target are blue dots, as background red ones, a mask is tinted. A pair of two different objects
has a red frame; its box shows the other object. All augmentations of the configuration are applied.

Examples:
    pysot visualize --config siamrpn_alex_tiny
    pysot visualize --config CONFIG.yaml --pairs 40 --epoch 3 --output pairs.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.cli import Parser, positive
from pysot.core import RunFailed
from pysot.core.config import Config, load_config
from pysot.datasets.anchor_target import NEGATIVE, POSITIVE, draw_pair
from pysot.datasets.build import build_train_dataset
from pysot.datasets.crop import write_image
from pysot.engine.build import response_grid
from pysot.models.model_builder import build_model
from toolkit.visualization.overlay import blend_mask, draw_text

_COLUMNS = 4
_BORDER = 2


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__)
    parser.add_config("config.yaml")
    parser.add_output(text="the sheet to write", default=Path("pairs.png"))
    parser.add_argument("--pairs", type=positive, default=24, help="to draw")
    parser.add_argument("--epoch", type=positive, default=1, help="whose pairs to show, from 1")
    parser.add_argument("--seed", type=int, default=123456, help="as given to tools/train.py")
    parser.add_overrides()
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the sheet and print a summary."""
    args = parse_args(argv)
    if args.output.suffix.lower() not in (".png", ".jpg"):
        raise ValueError(f"--output {args.output}: expected a name that ends in .png or .jpg")
    cfg = load_config(args.config, args.opts)
    dataset = build_train_dataset(cfg, args.seed, response_grid(cfg, build_model(cfg)))
    first = (args.epoch - 1) * dataset.epoch_length
    cells, bad, negative = [], [], 0
    for item in range(first, first + args.pairs):
        sample = dataset[item]
        bad += sample.pop("bad_images")
        if not sample:
            raise RunFailed(f"no pair could be read; the last image: {bad[-1]}")
        cells.append(_draw_sample(sample, cfg))
        negative += "label_cls" in sample and not (sample["label_cls"] == 1).any()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_image(args.output, _sheet(cells))
    print(f"{args.output}: {len(cells)} pairs of epoch {args.epoch}, {negative} without a target")
    for message in bad:
        print(f"unreadable, another pair took its place: {message}")


def _draw_sample(sample: dict[str, NDArray], cfg: Config) -> NDArray:
    """Draw one sample of a ``PairDataset`` as (S + 4, 127 + S + 4, 3) uint8 BGR."""
    template, search = (_pixels(sample, key) for key in ("template", "search"))
    labels = sample.get("label_cls")
    if (mask := sample.get("label_mask")) is not None and sample["label_mask_weight"].any():
        blend_mask(search, mask > 0, weight=0.35)
    colors = {0: NEGATIVE, 1: POSITIVE}
    canvas = draw_pair(template, search, labels, sample["bbox"], cfg.ANCHOR.STRIDE, colors)
    color = (90, 90, 90)
    if labels is not None:
        counts = f"{(labels == 1).sum()} pos {(labels == 0).sum()} neg"
        draw_text(canvas, counts, (4, len(template) + 20), scale=0.4)
        color = color if (labels == 1).any() else NEGATIVE
    edge = (_BORDER,) * 4
    return cv2.copyMakeBorder(canvas, *edge, cv2.BORDER_CONSTANT, value=color)


def _sheet(cells: Sequence[NDArray]) -> NDArray:
    """Lay equal pictures out in rows."""
    columns = min(_COLUMNS, len(cells))
    blank = np.zeros_like(cells[0])
    padded = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows)


def _pixels(sample: dict[str, NDArray], key: str) -> NDArray:
    image = sample[key].transpose(1, 2, 0) - sample[f"{key}_offset"]
    return np.ascontiguousarray(image.round().clip(0, 255).astype(np.uint8))
