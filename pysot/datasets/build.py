"""From a configuration to training data."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

import pysot.models.head  # noqa: F401 - the import registers what a configuration may name
from pysot.core.config import Config, read_sections, resolve_path
from pysot.core.registry import AUGMENTATIONS, LABELS, RPN_HEADS
from pysot.datasets.anchor_target import AnchorTarget, CenterTarget
from pysot.datasets.annotation import read_annotations, thinned
from pysot.datasets.augmentation import Augmentation
from pysot.datasets.composites import Backgrounds, Composites, Look
from pysot.datasets.crop_store import CropFolder, UnreadableImage
from pysot.datasets.dataset import (
    Labeler,
    PairDataset,
    RunBatches,
    TrainingSet,
    Views,
    collate,
)
from pysot.utils.anchor import Grid, anchor_shapes, training_anchors

logger = logging.getLogger(__name__)

_LAST_SECONDS = 2.0  # of a worker after the signal to end
_PROBES = 50  # tracks of a set that are looked at for masks
_CROP_PROBES = 1000  # boxes of a set whose crops are looked for


def build_train_dataset(cfg: Config, seed: int, grid: Grid | None = None) -> PairDataset:
    """Build the training pairs that ``DATASET`` describes.

    Labels are for the cells of ``grid``, the network's response; by default, those that ``TRAIN``
    and ``ANCHOR.STRIDE`` state.

    Raises:
        FileNotFoundError: If annotations or a folder of crops are missing.
        ValueError: If annotations are malformed, a set is unknown, or sizes do not fit each other.
    """
    grid = grid or Grid(cfg.TRAIN.OUTPUT_SIZE, cfg.ANCHOR.STRIDE, cfg.TRAIN.SEARCH_SIZE)
    logger.info("build train dataset")
    if not cfg.DATASET.NAMES:
        raise ValueError("DATASET.NAMES lists no training set")
    sets = [build_training_set(cfg, name) for name in cfg.DATASET.NAMES]
    _check_negatives(sets, cfg.DATASET.NEG, cfg.DATASET.NEG_SAME_CATEGORY)
    if cfg.MASK.MASK and cfg.TRAIN.MASK_WEIGHT:
        _check_masks(sets)
    videos = cfg.DATASET.VIDEOS_PER_EPOCH
    epoch_length = videos if videos > 0 else sum(subset.num_use for subset in sets)
    if epoch_length < cfg.TRAIN.BATCH_SIZE:
        raise ValueError(
            f"an epoch of {epoch_length} pairs (DATASET.VIDEOS_PER_EPOCH) is smaller than one "
            f"batch of {cfg.TRAIN.BATCH_SIZE} (TRAIN.BATCH_SIZE)"
        )
    logger.info("dataset length %d", epoch_length * cfg.TRAIN.EPOCH)
    return PairDataset(
        sets,
        template=_augmentation(cfg, "TEMPLATE"),
        search=_augmentation(cfg, "SEARCH"),
        labels=LABELS.get(labels_name(cfg))(cfg, grid),
        epoch_length=epoch_length,
        seed=seed,
        neg=cfg.DATASET.NEG,
        gray=cfg.DATASET.GRAY,
        exemplar_size=cfg.TRAIN.EXEMPLAR_SIZE,
        search_size=cfg.TRAIN.SEARCH_SIZE,
        max_attempts=cfg.TRAIN.MAX_BAD_IMAGES,
        neg_same_category=cfg.DATASET.NEG_SAME_CATEGORY,
        masks=cfg.MASK.MASK,
    )


def build_training_set(cfg: Config, name: str, key: str = "DATASET.NAMES") -> TrainingSet:
    """Build a row of ``DATASET`` that ``key`` names; see :func:`build_train_dataset`."""
    known = [name for name, node in cfg.DATASET.items() if "NUM_USE" in _as_section(node)]
    if name not in known:
        raise ValueError(f"{key}: unknown training set {name!r}; known: {', '.join(known)}")
    node = cfg.DATASET[name]
    if not node.NUM_USE:
        raise ValueError(f"DATASET.{name}.NUM_USE is 0: remove {name} from DATASET.NAMES instead")
    logger.info("loading %s", name)
    subset = (_composites if "CUTOUTS" in node else _crop_folder)(cfg, name, node)
    found = subset.num_use, len(subset.annotations), subset.annotations.left_out
    logger.info("%s loaded: %d of %d videos per pass, %d entries left out", name, *found)
    _check_crops(subset, cfg.TRAIN.SEARCH_SIZE)
    return subset


def _as_section(node: object) -> dict:
    return node if isinstance(node, dict) else {}


def _crop_folder(cfg: Config, name: str, node: Config) -> TrainingSet:
    root = resolve_path(node.ROOT)
    annotations = thinned(read_annotations(resolve_path(node.ANNO)), node.EVERY)
    if not Path(root).is_dir():
        raise FileNotFoundError(f"DATASET.{name}.ROOT: folder of training crops not found: {root}")
    num_use = node.NUM_USE if node.NUM_USE > 0 else len(annotations)
    reach = -(-node.FRAME_RANGE // node.EVERY)
    views = _views(cfg, node)
    return TrainingSet(name, CropFolder(root), annotations, reach, num_use, views=views)


def _composites(cfg: Config, name: str, node: Config) -> TrainingSet:
    if not node.CUTOUTS:
        raise ValueError(f"DATASET.{name}.CUTOUTS names no training set to cut objects out of")
    if node.SMALLEST > node.LARGEST:
        raise ValueError(
            f"DATASET.{name}.SMALLEST {node.SMALLEST:g} must not exceed LARGEST {node.LARGEST:g}"
        )
    names = {key: list(node[key] or node.CUTOUTS) for key in ("CUTOUTS", "BACKGROUNDS")}
    sources: dict[str, TrainingSet | Path] = {}
    for key in names:
        for source in dict.fromkeys(names[key]):
            sources[source] = sources.get(source) or _source(cfg, source, f"DATASET.{name}.{key}")
    drawn = Composites(
        name,
        [sources[source] for source in names["CUTOUTS"]],
        Backgrounds([sources[source] for source in names["BACKGROUNDS"]]),
        node.SCENES,
        node.FRAMES,
        node.TEMPLATES,
        node.SEED,
        read_sections(Look, node),
    )
    num_use = node.NUM_USE if node.NUM_USE > 0 else node.SCENES
    known, views = drawn.annotations(), _views(cfg, node)
    return TrainingSet(name, drawn, known, node.FRAME_RANGE, num_use, node.TEMPLATES, views)


def _views(cfg: Config, node: Config) -> Views:
    """Return the views that a row asks for, and where it does not, those of all rows."""
    common = cfg.DATASET.VIEWS
    template, search = node.TEMPLATE_VIEWS, node.SEARCH_VIEWS
    return Views(template or common.TEMPLATE, search or common.SEARCH, common.SEED)


def _source(cfg: Config, name: str, key: str) -> TrainingSet | Path:
    """Return the training set, or for backgrounds the folder, that a row of composites names."""
    node = _as_section(cfg.DATASET.get(name))
    if "CUTOUTS" in node:
        raise ValueError(f"{key}: {name} is made of composites itself")
    folder = resolve_path(name)
    if "NUM_USE" in node or not key.endswith("BACKGROUNDS"):
        return build_training_set(cfg, name, key)
    if not folder.is_dir():
        raise ValueError(f"{key}: {name!r} is neither a training set nor a folder of images")
    return folder


def _places(subset: TrainingSet, rows: NDArray) -> list[tuple[str, int, str]]:
    """Return video, frame and track of some boxes of a set."""
    known = subset.annotations
    tracks = np.searchsorted(known.first_row, rows, side="right") - 1
    return [
        (known.videos[known.video_of(track)], frame, known.tracks[track])
        for track, frame in zip(tracks, known.frames[rows].tolist(), strict=True)
    ]


def _check_crops(subset: TrainingSet, search_size: int) -> None:
    """Look for the crops of some boxes, and warn of what is odd; OSError if none is there."""
    rows = np.unique(np.linspace(0, len(subset.annotations.frames) - 1, _CROP_PROBES).astype(int))
    found: dict[bool, list[tuple[str, int, str]]] = {True: [], False: []}
    for place in _places(subset, rows):
        found[subset.crops.has(*place)].append(place)
    if missing := found[False]:
        text = f"{len(missing)} of {len(rows)} crops looked for are missing, the first:"
        text = f"DATASET.{subset.name}.ROOT: {text} {subset.crops.path(*missing[0])}"
        if not found[True]:
            raise FileNotFoundError(text)
        logger.warning(text)
    with contextlib.suppress(UnreadableImage):  # counted when it is needed
        height, width, _ = subset.crops.open(*found[True][0]).shape
        if height != width or height < search_size:
            logger.warning(
                "%s has %d x %d pixels; expected a square crop of at least TRAIN.SEARCH_SIZE %d",
                *(subset.crops.path(*found[True][0]), width, height, search_size),
            )


def _check_negatives(sets: Sequence[TrainingSet], neg: float, same_category: float) -> None:
    """Warn if pairs of two different objects cannot be made as asked."""
    if not neg:
        return
    objects = {
        (subset.crops.root, subset.annotations.videos[0], track, number)
        for subset in sets
        for number, track in enumerate(subset.annotations.tracks[:2])
    }
    if len(objects) < 2:
        logger.warning("DATASET.NEG: the training sets hold one object; no pair shows two of them")
    names = {name for subset in sets for name in subset.annotations.category_names}
    if same_category >= 0 and len(names) < (1 if same_category == 1 else 2):
        logger.warning(
            "DATASET.NEG_SAME_CATEGORY: the training sets name %d categories; where there are too "
            "few to choose from, the second object of a pair is any other",
            len(names),
        )


def _check_masks(sets: Sequence[TrainingSet]) -> None:
    """Look for masks beside some crops of each set; ValueError if there are none in any set."""
    total = 0
    for subset in sets:
        known = subset.annotations
        tracks = np.unique(np.linspace(0, len(known.tracks) - 1, _PROBES).astype(int))
        crops = _places(subset, known.first_row[tracks])
        found = sum(subset.crops.has(*crop, "m") for crop in crops)
        logger.info("%s: %d of %d crops looked at have masks", subset.name, found, len(crops))
        total += found
    if not total:
        raise ValueError(
            "MASK.MASK: no training set has masks (<frame>.<track>.m.png beside the crops); "
            "prepare one that has, or set MASK.MASK to false"
        )


def labels_name(cfg: Config) -> str:
    """Return the name of the labels: ``RPN.LABELS``, or else what the head states."""
    return cfg.RPN.LABELS or getattr(RPN_HEADS.get(cfg.RPN.TYPE), "labels", "anchors")


@LABELS.register("centers")
def _center_labels(cfg: Config, grid: Grid) -> Labeler:
    return CenterTarget(grid).labels


@LABELS.register("anchors")
def _anchor_labels(cfg: Config, grid: Grid) -> Labeler:
    train = cfg.TRAIN
    if train.THR_LOW > train.THR_HIGH or train.POS_NUM > train.TOTAL_NUM:
        raise ValueError(
            f"TRAIN.THR_LOW {train.THR_LOW:g} must not exceed THR_HIGH {train.THR_HIGH:g}, nor "
            f"POS_NUM {train.POS_NUM} TOTAL_NUM {train.TOTAL_NUM}"
        )
    shapes = anchor_shapes(grid.stride, cfg.ANCHOR.RATIOS, cfg.ANCHOR.SCALES)
    limits = ("THR_HIGH", "THR_LOW", "POS_NUM", "TOTAL_NUM", "NEG_NUM", "NEG_REACH")
    return AnchorTarget(
        training_anchors(shapes, grid),
        grid.stride,
        grid.search_size,
        **{name.lower(): train[name] for name in limits},
    ).labels


def build_train_loader(
    cfg: Config,
    dataset: PairDataset,
    first_epoch: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
    done: int = 0,
) -> DataLoader:
    """Build the loader of a whole run.

    Its batches run through all epochs from ``first_epoch`` (counted from 0) to the last without a
    pause; ``loader.batch_sampler`` has their number. See :class:`PairDataset` for their keys, and
    :class:`RunBatches` for ``rank``, ``world_size`` and ``done``.

    Raises:
        ValueError: If an epoch is smaller than a step.
    """
    batches = RunBatches(
        dataset.epoch_length,
        cfg.TRAIN.BATCH_SIZE,
        first_epoch,
        cfg.TRAIN.EPOCH,
        rank,
        world_size,
        cfg.TRAIN.ACCUMULATE,
        done,
    )
    if not batches.steps_per_epoch:
        raise ValueError(
            f"an epoch of {dataset.epoch_length} pairs (DATASET.VIDEOS_PER_EPOCH) is smaller than "
            f"one step of {batches.pairs_per_step} (TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE}, times "
            "processes and TRAIN.ACCUMULATE)"
        )
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else it would draw from the run's random numbers
        **loader_workers(cfg),
    )


def loader_workers(cfg: Config) -> dict[str, Any]:
    """Return the arguments of a loader that are about its processes."""
    workers = cfg.TRAIN.NUM_WORKERS
    return {
        "num_workers": workers,
        "worker_init_fn": _begin_worker,
        "prefetch_factor": 4 if workers else None,
    }


def _begin_worker(worker: int) -> None:
    """Prepare a loader's process.

    Ctrl-C, and the SIGTERM of many job schedulers, reach every process of a run. The main one
    saves its work first, and may wait for a batch meanwhile: a worker that ended in the middle of
    sending one would leave it waiting for ever, so workers go on for a little.

    OpenCV must not compete with the other workers for the cores. 0 runs everything in the calling
    thread. 1 would wait for ever: it stops OpenCV's own threads, and in a forked worker those of
    the parent do not exist.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(_LAST_SECONDS, os._exit, [0]).start())
    cv2.setNumThreads(0)


def _augmentation(cfg: Config, image: str) -> Augmentation:
    kind = AUGMENTATIONS.get(cfg.DATASET.AUGMENTATION)
    return read_sections(kind, cfg.DATASET[image])
