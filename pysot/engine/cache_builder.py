"""From a configuration to a cache of features (``pysot train --cache-features``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from pysot.core import StopRequest
from pysot.core.config import Config
from pysot.datasets.build import build_train_loader, loader_workers
from pysot.datasets.dataset import PairDataset, RunBatches, TrainingSet
from pysot.datasets.row_store import RowStore, differences, read_identity
from pysot.engine.distributed import Poll, Stopped
from pysot.engine.feature_cache import (
    CachedLoader,
    Crops,
    FeatureCache,
    Layout,
    digest_of,
    fill,
    find_levels,
)
from pysot.engine.trainer import Trainer
from pysot.inference import prepare_for_tracking
from toolkit.io.files import acquire

MapsOf = Callable[[str, Tensor], Sequence[Tensor]]
Say = Callable[[str], None]
_WAIT_SECONDS = 1.0  # between looks at another process's lock
_SAY_SECONDS = 30  # between lines on progress where there is no terminal
_FORMAT = 2  # one more whenever equal settings would make other features


def cache_features(
    cfg: Config,
    trainer: Trainer,
    loader: DataLoader,
    folder: Path,
    stop: StopRequest,
    say: Say = print,
) -> DataLoader | CachedLoader:
    """Compute the features that the frozen backbone gives, unless they are in the folder already.

    Several processes call this together; the main one computes. A ``stop`` ends that, and what is
    there is kept; the loader that is returned is then of no use.

    Args:
        cfg: The configuration.
        trainer: Ready to train.
        loader: Of images.
        folder: Holds caches, each in a folder of its own, named by a digest of what it depends on.
        stop: Whether the run is to stop.
        say: Prints a line.

    Returns:
        A loader of the same pairs: of features in the epochs whose backbone is frozen.

    Raises:
        ValueError: If there are no fixed views, the backbone is never frozen, the disk has too
            little space.
        OSError: If the cache cannot be written.
    """
    plan, batches = trainer.plan, loader.batch_sampler
    border = min(plan.train_epoch, plan.epochs) if plan.train_layers else plan.epochs
    _check(cfg, loader.dataset.sets, border)
    if border <= batches.first_epoch:
        say(
            f"--cache-features: none are needed, from BACKBONE.TRAIN_EPOCH {plan.train_epoch} on "
            "the backbone learns"
        )
        return loader
    maps_of = _network(trainer)
    dataset = loader.dataset
    layout = _layout(dataset, maps_of, trainer.device)
    identity = _identity(cfg, trainer, layout)
    digest = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    store = RowStore(Path(folder) / digest[:16], layout.arrays(), identity)
    poll = Poll(trainer.group, stop)
    if trainer.group.is_main_process:
        try:
            _complete(cfg, dataset, layout, store, maps_of, poll, say)
        except Stopped:
            say(f"stopped as asked; the same command goes on with {store.folder}")
            return loader
        poll.finish()
    else:
        poll.wait()
    if trainer.group.any([bool(stop)])[0]:
        return loader
    store.open()
    frozen = RunBatches(**{**vars(batches), "epochs": border})
    images = _images_after(cfg, trainer, dataset, border)
    return CachedLoader(FeatureCache(dataset, layout, store), frozen, images, dataset, batches)


def _network(trainer: Trainer) -> MapsOf:
    """Prepare the backbone: batch norm folded, without gradients."""
    network = prepare_for_tracking(trainer.model.eval())

    @torch.inference_mode()
    def maps_of(role: str, images: Tensor) -> Sequence[Tensor]:
        return network.backbone_maps(images.to(trainer.device))[network.maps_for(role)]

    return maps_of


def _check(cfg: Config, sets: Sequence[TrainingSet], border: int) -> None:
    for subset in sets:
        views = subset.views
        if not (views.template and views.search):
            raise ValueError(
                f"--cache-features: {subset.name} has {views.template} views as template and "
                f"{views.search} as search image; features are kept of fixed views, set "
                "DATASET.VIEWS.TEMPLATE and SEARCH above 0, as 2 and 5"
            )
    if border <= 0:
        raise ValueError(
            f"--cache-features: the backbone is never frozen, BACKBONE.TRAIN_EPOCH is "
            f"{cfg.BACKBONE.TRAIN_EPOCH}; set it above 0, or BACKBONE.TRAIN_LAYERS []"
        )


def _images_after(
    cfg: Config, trainer: Trainer, dataset: PairDataset, border: int
) -> DataLoader | None:
    if border == trainer.plan.epochs:
        return None
    group = trainer.group
    pinned = trainer.device.type == "cuda"
    return build_train_loader(cfg, dataset, border, pinned, group.rank, group.world_size)


def _layout(dataset: PairDataset, maps_of: MapsOf, device: torch.device) -> Layout:
    sizes = {"template": dataset.exemplar_size, "search": dataset.search_size}
    levels = find_levels(maps_of, sizes, device)
    crops = Crops(dataset.sets)
    return Layout(crops, levels, dataset.search_size, dataset.masks)


def _identity(cfg: Config, trainer: Trainer, layout: Layout) -> dict[str, Any]:
    """Return what features depend on, but for the images."""
    data = cfg.DATASET
    return {
        "format": _FORMAT,
        "weights of the backbone": digest_of(trainer.model.backbone),
        "BACKBONE": {"TYPE": cfg.BACKBONE.TYPE, "KWARGS": cfg.BACKBONE.KWARGS},
        "maps": {role: [[*level] for level in levels] for role, levels in layout.levels.items()},
        "views": {subset.name: vars(subset.views) for subset in layout.crops.sets},
        "augmentation": {k: data[k] for k in ("AUGMENTATION", "TEMPLATE", "SEARCH", "GRAY")},
        "sizes": [cfg.TRAIN.EXEMPLAR_SIZE, cfg.TRAIN.SEARCH_SIZE],
        "masks": layout.masks,
        "sets": {subset.name: _digest_of_set(subset) for subset in layout.crops.sets},
    }


def _digest_of_set(subset: TrainingSet) -> str:
    """Return a digest of the names of a set's crops, in their order."""
    known = subset.annotations
    parts = [known.videos, known.tracks]
    parts += [array.tolist() for array in (known.first_track, known.first_row, known.frames)]
    return sha256(json.dumps(parts).encode()).hexdigest()


def _complete(
    cfg: Config,
    dataset: PairDataset,
    layout: Layout,
    store: RowStore,
    maps_of: MapsOf,
    poll: Poll,
    say: Say,
) -> None:
    """Write what a store lacks; see :func:`cache_features`."""
    with _in_turn(store, poll, say):
        if other := store.open():
            say(f"{store.folder} is a cache of something else ({other}): all is computed anew")
        inputs = []
        for block in layout.blocks:
            inputs.append(layout.inputs(block))
            poll()
        missing = {block: inputs[block] for block in store.missing(inputs)}
        _describe(layout, store, missing, say)
        if not missing:
            return
        store.begin()
        todo = sum(layout.views_in(layout.blocks[block]) for block in missing)
        total = sum(map(layout.views_in, layout.blocks))
        with tqdm(total=total, initial=total - todo, desc="features",
                  unit="view", dynamic_ncols=True, disable=None) as bar:  # fmt: skip
            said = monotonic()

            def on_views(number: int) -> None:
                nonlocal todo, said
                bar.update(number)
                todo -= number
                if bar.disable and monotonic() > said + _SAY_SECONDS:
                    said = monotonic()
                    say(f"features of {total - todo} of {total} views")
                poll()

            fill(dataset, layout, store, maps_of, missing, loader_workers(cfg), on_views)


@contextmanager
def _in_turn(store: RowStore, poll: Poll, say: Say) -> Iterator[None]:
    """Lock a store, after any other process that computes it."""
    told = False
    while True:
        with acquire(store.folder / ".lock") as free:
            if free:
                yield
                return
        if not told:
            say(f"{store.folder}: waiting for another process that computes it")
            told = True
        poll()
        sleep(_WAIT_SECONDS)


def _describe(layout: Layout, store: RowStore, missing: dict[int, str], say: Say) -> None:
    """Say what is there and what it will take; ValueError if the disk has too little space."""
    folder, views = store.folder, sum(map(layout.views_in, layout.blocks))
    others = _others(store)
    if others:
        say(others)
    total = f"features of {views} views in {folder}: {_gigabytes(store.total_bytes)}"
    if not missing:
        say(f"{total}, complete")
        return
    again, need, free = store.changed(list(missing)), store.bytes_to_write, store.free_bytes
    if again:
        say(f"{again} of {len(layout.blocks)} blocks are computed anew: their images have changed")
    known = len(layout.blocks) - len(missing)
    going_on = f", {known} of {len(layout.blocks)} blocks are there" if known else ""
    say(f"{total}{going_on}; {_gigabytes(free)} of the disk are free")
    if need > free:
        raise ValueError(
            f"--cache-features: {folder} needs {_gigabytes(need)} more, the disk has "
            f"{_gigabytes(free)} free; take fewer views (DATASET.VIEWS), every n-th box of a set "
            "(EVERY), or another folder"
        )


def _others(store: RowStore) -> str:
    """Describe the other caches beside a new one, which may be waste."""
    if store.folder.exists() and any(store.folder.glob("*.npy")):
        return ""
    found = [path.parent for path in sorted(store.folder.parent.glob("*/record.jsonl"))]
    if not found:
        return ""
    size = sum(file.stat().st_size for folder in found for file in folder.glob("*.npy"))
    differs = differences(read_identity(found[-1]), store.identity)
    return (
        f"{store.folder.parent} holds {len(found)} cache{'s' * (len(found) > 1)} of something else "
        f"({_gigabytes(size)}; {found[-1].name} differs in {differs or 'its version'}), not used"
    )


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
