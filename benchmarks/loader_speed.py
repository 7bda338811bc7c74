"""Training pairs per second that one loader worker makes, against a plain implementation.

Usage:
    python benchmarks/loader_speed.py [--root CROPS --anno train.json] [--config CONFIG.yaml]

The same pairs are made, in turn in one process, by the loader of plain_loader.py from single files
as PySOT's scripts write them, and by ours: from files with restart markers, as the scripts in
training_dataset write them ("crops"), and from the plain loader's own. Each gathers a batch, as a
worker does. Before, it is checked
that all make the same pairs; ours rounds blurred images to whole gray levels. "On the device" is
what is left to be done with a pair in the training process.

Without --root, crops are made of the photographs in the folder that PYSOT_SHARED names, and of
drawn scenes where there is none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from plain_loader import PlainLoader
from torch.utils.data import default_collate

from pysot.cli import run
from pysot.core.config import load_config
from pysot.datasets.annotation import read_annotations
from pysot.datasets.build import build_train_dataset
from pysot.datasets.crop import CropForm, write_annotation, write_crops, write_image
from pysot.datasets.dataset import PairDataset, as_floats, collate

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "experiments" / "siamrpn_r50_l234_dwxcorr_8gpu" / "config.yaml"
SHARED = Path(os.environ.get("PYSOT_SHARED", ROOT.parent / "shared"))
PHOTOS = SHARED / "data" / "sequences" / "davis2016_val"
TILES = CropForm(template=False, tiles=True)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--root", type=Path, help="crops, as PySOT's scripts write them")
    parser.add_argument("--anno", type=Path, help="their annotations")
    parser.add_argument("--pairs", type=int, default=56, help="in the batch that is made")
    parser.add_argument("--rounds", type=int, default=8, help="how often each loader makes it")
    return parser.parse_args(argv)


def make_crops(folder: Path) -> tuple[Path, Path]:
    """Write plain crops of photographs, or of drawn scenes; returns them and their annotations."""
    notes: dict = {}
    for video, number, image, (x, y, w, h) in photographs() if PHOTOS.is_dir() else drawings():
        box = [x, y, x + w, y + h]
        write_crops(
            folder / "plain" / video, image, {0: box}, number, form=CropForm(template=False)
        )
        notes.setdefault(video, {}).setdefault("00", {})[f"{number:06d}"] = box
    write_annotation(folder / "train.json", notes)
    return folder / "plain", folder / "train.json"


def photographs() -> Any:
    for video in sorted((PHOTOS / "rect").glob("*.txt")):
        boxes = np.loadtxt(video, delimiter=",", ndmin=2)
        for number in range(0, len(boxes), 10):
            image = PHOTOS / "JPEGImages" / "480p" / video.stem / f"{number:05d}.jpg"
            if boxes[number, 2:].min() > 0 and image.is_file():
                yield video.stem, number, cv2.imread(str(image)), boxes[number].tolist()


def drawings() -> Any:
    sys.path.insert(0, str(ROOT))  # demo/ is not installed
    from demo.synthetic.scenes import Effects, build_stage

    for index in range(8):
        stage = build_stage(np.random.default_rng(index), Effects(), (320, 240), 8)
        for number, shot in enumerate(map(stage.shoot, range(8))):
            if np.isfinite(shot.boxes).all():
                yield f"scene{index}", number, shot.image, shot.boxes[0].tolist()


def with_markers(source: Path, target: Path) -> None:
    """Write the crops of a folder again, of the same pixels, with restart markers.

    The crops themselves would not do: encoding a decoded JPEG again changes it. So both folders
    get what was decoded.
    """
    for path in sorted(source.rglob("*.x.jpg")):
        image = cv2.imread(str(path))
        for root, options in ((source, ()), (target, TILES.jpeg_options)):
            out = root / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            write_image(out, image, options)


def build(args: argparse.Namespace, root: Path, anno: Path) -> tuple[PairDataset, Any]:
    opts = ["DATASET.NAMES", "[COCO]", "DATASET.COCO.ROOT", str(root), "DATASET.COCO.NUM_USE", "-1"]
    cfg = load_config(args.config, [*opts, "DATASET.COCO.ANNO", str(anno)])
    return build_train_dataset(cfg, 0), cfg


def check_same(plain: PlainLoader, others: Sequence[PairDataset], items: int = 60) -> None:
    """Raise ValueError unless all make the same pairs."""
    for item in range(items):
        expected = plain[item]
        for dataset in others:
            sample = dataset[item]
            sample.pop("bad_images")
            found = as_floats(
                {k: torch.as_tensor(np.ascontiguousarray(v))[None] for k, v in sample.items()}
            )
            for key, value in expected.items():
                # a blur is rounded; a warp may round the other way where its origin is another one
                limit = 2 if key in ("template", "search") else 1e-3
                difference = np.abs(found[key][0].numpy() - value).max()
                if difference > limit:
                    raise ValueError(f"pair {item}: {key} differs by {difference:g}")


def plain_batch(loader: PlainLoader, items: Sequence[int]) -> dict[str, Any]:
    return default_collate([loader[item] for item in items])


def our_batch(dataset: PairDataset, items: Sequence[int]) -> dict[str, Any]:
    return collate([dataset[item] for item in items])


def milliseconds(call: Callable[[], Any], pairs: int) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start) / pairs


def compare(loaders: dict[str, Callable], args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds per pair of each loader: its fastest round, all rounds make the same pairs.

    A slow round is one in which something else had the processor.
    """
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(args.rounds + 1):
        for name, loader in loaders.items():
            times[name].append(
                milliseconds(lambda load=loader: load(range(args.pairs)), args.pairs)
            )
    return {name: min(found[1:]) for name, found in times.items()}


def measure(args: argparse.Namespace, folder: Path) -> None:
    root, anno = (args.root, args.anno) if args.root else make_crops(folder)
    shutil.copytree(root, folder / "files", dirs_exist_ok=True)
    with_markers(folder / "files", folder / "crops")
    names = ("files", "crops")
    sets = {name: build(args, folder / name, anno) for name in names}
    plain = PlainLoader(*sets["files"])
    ours = {name: dataset for name, (dataset, _) in sets.items()}
    check_same(plain, list(ours.values()))
    loaders = {"plain": partial(plain_batch, plain)}
    loaders |= {name: partial(our_batch, dataset) for name, dataset in ours.items()}
    times = compare(loaders, args)
    report(times, folder, anno)
    batch = our_batch(ours["crops"], range(args.pairs))
    rest = min(milliseconds(lambda: as_floats(batch), args.pairs) for _ in range(10))
    print(f"on the device (here the CPU)  {rest:6.3f} ms per pair")


def report(times: dict[str, float], folder: Path, anno: Path) -> None:
    notes = read_annotations(anno)
    for kind in ("files", "crops"):
        sizes = [path.stat().st_size for path in (folder / kind).rglob("*.x.jpg")]
        print(f"{len(notes.frames)} {kind} of {np.mean(sizes) / 1024:.1f} KB each")
    for name, found in times.items():
        speed = f"{found:6.2f} ms per pair, {1000 / found:5.0f} pairs/s"
        print(f"{name:12s} {speed}, {times['plain'] / found:.2f} x plain")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if (args.root is None) != (args.anno is None):
        raise ValueError("--root and --anno belong together")
    cv2.setNumThreads(0)  # as in a worker
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure(args, Path(folder))


if __name__ == "__main__":
    run(main)
