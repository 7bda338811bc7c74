"""Features of fixed views: what a frozen backbone gives, computed once and kept on disk in fp16.

Every view of every crop (``DATASET.VIEWS``) goes through the backbone; pairs are then made of rows
of memory maps, with the same draws and labels as pairs of images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from pysot.core import RunFailed
from pysot.datasets.crop_store import UnreadableImage
from pysot.datasets.dataset import (
    IMAGES,
    Crop,
    Pair,
    PairDataset,
    RunBatches,
    Seen,
    TrainingSet,
    crop_at,
    rows_of,
)
from pysot.datasets.row_store import Rows, RowStore
from pysot.utils.bbox import Corner

_BLOCK_BYTES = 1 << 26  # of rows that are written at once, of at least one crop
_MOST_CROPS = 256  # in a block
_BATCHES = {"template": 32, "search": 8}  # images through the backbone at once
_BAD, _FINE, _MASKED = range(3)  # states of a view


class Crops:
    """All crops that pairs can show, numbered from 0 through all sets."""

    def __init__(self, sets: Iterable[TrainingSet]) -> None:
        self.sets = list({subset.name: subset for subset in sets}.values())
        self._first = np.cumsum([0, *(len(subset.annotations.frames) for subset in self.sets)])
        self._offsets = {s.name: int(n) for s, n in zip(self.sets, self._first, strict=False)}

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, number: int) -> Crop:
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        subset, row = self.sets[place], number - int(self._first[place])
        track = int(np.searchsorted(subset.annotations.first_row, row, side="right")) - 1
        return crop_at(subset, track, row)

    def number(self, crop: Crop) -> int:
        """Return the number of a crop."""
        return self._offsets[crop.set_name] + crop.row

    def views(self, role: str) -> NDArray:
        """Return how many views each crop has: none where it does not play that role."""
        counts = np.zeros(len(self), np.int64)
        for subset, first in zip(self.sets, self._first, strict=False):
            for track in range(len(subset.annotations.tracks)):
                begin, end = rows_of(subset, track, role)
                counts[first + begin : first + end] = getattr(subset.views, role)
        return counts


class Level(NamedTuple):
    """A map that is kept of every view of a role."""

    shape: tuple[int, ...]  # (C, H, W), or (H, W, C) with channels last
    channels_last: bool


Levels = dict[str, list[Level]]  # by role


@dataclass(frozen=True, eq=False)
class Layout:
    """Which rows of which arrays belong to which views."""

    crops: Crops
    levels: Levels
    search_size: int
    masks: bool

    @cached_property
    def firsts(self) -> dict[str, NDArray]:
        """By role, the first row of every crop's views, and the number of all rows."""
        return {role: np.append(0, np.cumsum(self.crops.views(role))) for role in self.levels}

    @cached_property
    def blocks(self) -> list[range]:
        """The numbers of the crops of every block, equally many but in the last."""
        sizes = 0
        for role, levels in self.levels.items():
            one = sum(Rows(level.shape, "<f2", np.zeros(1)).row_bytes for level in levels)
            sizes = sizes + one * np.diff(self.firsts[role])
        count = int(max(1, min(_MOST_CROPS, _BLOCK_BYTES // sizes.max())))
        firsts = range(0, len(self.crops), count)
        return [range(first, min(first + count, len(self.crops))) for first in firsts]

    def views_in(self, block: range) -> int:
        """Return how many views the crops of a block have in all."""
        return sum(int(first[block.stop] - first[block.start]) for first in self.firsts.values())

    def row(self, role: str, crop: Crop, number: int) -> int:
        """Return the row of a view."""
        return int(self.firsts[role][self.crops.number(crop)]) + number

    def arrays(self) -> dict[str, Rows]:
        """Return all arrays by name; see :class:`FeatureCache`."""
        ends = [0, *(block.stop for block in self.blocks)]
        found = {}
        for role, levels in self.levels.items():
            rows = self.firsts[role][ends]
            maps = [Rows(level.shape, "<f2", rows) for level in levels]
            found |= {f"{role}.{number}": array for number, array in enumerate(maps)}
            found[f"{role}.state"] = Rows((), "|u1", rows)
        found["search.box"] = Rows((4,), "<f8", rows)
        if self.masks:
            found["search.mask"] = Rows((-(-(self.search_size**2) // 8),), "|u1", rows)
        return found

    def inputs(self, block: range) -> str:
        """Return a digest of the images, masks and boxes of a block."""
        stamps = "\0\0".join(self.crops[number].stamp() for number in block)
        return sha256(stamps.encode()).hexdigest()


class FeatureCache:
    """Makes batches of kept features: memory maps of fp16, boxes, masks of one bit per pixel.

    Raises:
        ValueError: If a file is not what it should be.
    """

    def __init__(self, dataset: PairDataset, layout: Layout, store: RowStore) -> None:
        self._dataset, self._layout, self._bad = dataset, layout, store.bad
        self._maps = {
            role: [_as_maps(store.rows(f"{role}.{n}"), level) for n, level in enumerate(levels)]
            for role, levels in layout.levels.items()
        }
        self._states = {role: np.array(store.rows(f"{role}.state")) for role in IMAGES}
        self._boxes = np.array(store.rows("search.box"))
        self._masks = store.rows("search.mask") if layout.masks else None

    def batch(self, items: Sequence[int]) -> dict[str, Any]:
        """Make the batch of some items of the dataset.

        Returns:
            ``template_maps`` and ``search_maps``, tuples of (B, C, H, W) fp16 tensors, and the keys
            of ``collate`` without images.
        """
        samples = [self._dataset.sample(item, self._find) for item in items]
        bad = [message for sample in samples for message in sample.pop("bad_images")]
        if not all(samples):
            return {"bad_images": bad}
        rows = zip(*(sample.pop("rows") for sample in samples), strict=True)
        chosen = {role: torch.tensor(some) for role, some in zip(IMAGES, rows, strict=True)}
        batch = default_collate(samples)
        for role, some in chosen.items():
            batch[f"{role}_maps"] = tuple(level(some) for level in self._maps[role])
        return batch | {"bad_images": bad}

    def _find(self, pair: Pair, rng: np.random.Generator) -> dict[str, Any]:
        rows = []
        for role, crop, number in zip(IMAGES, pair[:2], pair.views, strict=True):
            row = self._layout.row(role, crop, number)
            if self._states[role][row] == _BAD:
                raise UnreadableImage(self._bad[f"{role} {row}"])
            rows.append(row)
        row = rows[1]
        seen = Seen(None, None, Corner(*self._boxes[row]), self._mask(row))
        return {"rows": rows, **self._dataset.label(seen, pair.differ, rng)}

    def _mask(self, row: int) -> NDArray | None:
        if self._masks is None or self._states["search"][row] != _MASKED:
            return None
        side = self._layout.search_size
        return np.unpackbits(self._masks[row], count=side * side).reshape(side, side)


def _as_maps(rows: NDArray, level: Level) -> Callable[[Tensor], Tensor]:
    kept = torch.from_numpy(rows)

    def gather(some: Tensor) -> Tensor:
        found = kept[some]
        return found.permute(0, 3, 1, 2) if level.channels_last else found

    return gather


class CachedLoader:
    """Batches of a run, for :meth:`Trainer.fit`: of features, and then of images.

    Args:
        cache: Makes the batches of the epochs in which the backbone is frozen.
        frozen: Their items.
        images: The loader of the epochs that follow, if there are any.
        batch_sampler: The items of all batches.
    """

    def __init__(
        self,
        cache: FeatureCache,
        frozen: RunBatches,
        images: DataLoader | None,
        dataset: PairDataset,
        batch_sampler: RunBatches,
    ) -> None:
        self._cache, self._frozen, self._images = cache, frozen, images
        self.dataset, self.batch_sampler = dataset, batch_sampler

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # workers begin at once, where the trainer expects it, and have their first batches ready
        images = iter(self._images) if self._images is not None else ()
        return itertools.chain(map(self._cache.batch, self._frozen), images)


# ------------------------------------------------------------------------------------- filling


class _ViewImages(Dataset):
    """The views as images; an item is (number of a crop, role, number of a view)."""

    def __init__(self, dataset: PairDataset, crops: Crops) -> None:
        self._dataset, self._crops = dataset, crops

    def __getitem__(self, item: tuple[int, str, int]) -> Seen | str:
        crop, role, number = item
        try:
            return self._dataset.view(self._crops[crop], role, number)
        except UnreadableImage as error:
            return str(error)


def _keep(samples: list[Seen | str]) -> list[Seen | str]:
    return samples


def fill(
    dataset: PairDataset,
    layout: Layout,
    store: RowStore,
    maps_of: Callable[[str, Tensor], Sequence[Tensor]],
    missing: Mapping[int, str],
    workers: Mapping[str, Any],
    on_views: Callable[[int], None],
) -> None:
    """Compute and write the missing blocks.

    Args:
        dataset: Makes the views.
        layout: Of the store.
        store: To be written to.
        maps_of: Computes the maps of a role's images, (B, 3, S, S) float32.
        missing: The numbers of the blocks, and digests of their inputs.
        workers: Arguments of ``DataLoader`` on its processes.
        on_views: Called with the number of views that are done since the last call; it may raise.

    Raises:
        OSError: If the disk is full.
        RunFailed: If features exceed what fp16 holds.
    """
    blocks = layout.blocks
    batches = [list(_batches(layout, blocks[number])) for number in missing]
    loader = iter(
        DataLoader(
            _ViewImages(dataset, layout.crops),
            batch_sampler=list(itertools.chain(*batches)),
            collate_fn=_keep,
            generator=torch.Generator(),  # else it would draw from the run's random numbers
            **workers,
        )
    )
    for number, items in zip(missing, batches, strict=True):
        parts = {name: [np.zeros((0, *rows.shape))] for name, rows in layout.arrays().items()}
        bad: dict[str, str] = {}
        for views in items:
            role = views[0][1]
            found = _content(layout, role, next(loader), maps_of)
            for name, array in found[0].items():
                parts[name].append(array)
            first = int(layout.firsts[role][views[0][0]]) + views[0][2]
            bad |= {f"{role} {first + place}": text for place, text in found[1].items()}
            on_views(len(views))
        content = {name: np.concatenate(arrays[1:] or arrays) for name, arrays in parts.items()}
        store.write(number, missing[number], content, bad)


def _batches(layout: Layout, block: range) -> Iterator[list[tuple[int, str, int]]]:
    """Yield the views of a block: those of one role after the other, each in the order of rows."""
    for role in IMAGES:
        firsts = layout.firsts[role]
        views = [(crop, role, n) for crop in block for n in range(firsts[crop + 1] - firsts[crop])]
        size = _BATCHES[role]
        yield from (views[first : first + size] for first in range(0, len(views), size))


def _content(
    layout: Layout,
    role: str,
    seen: list[Seen | str],
    maps_of: Callable[[str, Tensor], Sequence[Tensor]],
) -> tuple[dict[str, NDArray], dict[int, str]]:
    """Return the rows of some views in every array, and what was said of unreadable ones."""
    bad = {place: view for place, view in enumerate(seen) if isinstance(view, str)}
    good = [view for view in seen if not isinstance(view, str)]
    at = [place for place in range(len(seen)) if place not in bad]

    def spread(rows: Any, shape: tuple[int, ...], dtype: str) -> NDArray:
        whole = np.zeros((len(seen), *shape), dtype)
        if good:
            whole[at] = rows
        return whole

    found = {}
    maps = maps_of(role, _images(good)) if good else layout.levels[role]
    for number, (level, values) in enumerate(zip(layout.levels[role], maps, strict=True)):
        rows = _half(values, level) if good else None
        found[f"{role}.{number}"] = spread(rows, level.shape, "<f2")
    states = [_FINE if view.mask is None else _MASKED for view in good]
    found[f"{role}.state"] = spread(states, (), "|u1")
    if role == "search":
        found["search.box"] = spread([tuple(view.box) for view in good], (4,), "<f8")
    if role == "search" and layout.masks:
        side = layout.search_size
        blank = np.zeros((side, side), np.uint8)
        masks = [(blank if view.mask is None else view.mask).ravel() > 0 for view in good]
        packed = np.packbits(np.reshape(masks, (len(good), -1)), axis=1) if good else None
        found["search.mask"] = spread(packed, (-(-(side**2) // 8),), "|u1")
    return found, bad


def _images(seen: Sequence[Seen]) -> Tensor:
    images = torch.from_numpy(np.stack([view.image for view in seen])).permute(0, 3, 1, 2)
    offsets = torch.from_numpy(np.stack([view.offset for view in seen]))
    return images.float().sub_(offsets[:, :, None, None])


def _half(values: Tensor, level: Level) -> NDArray:
    if level.channels_last:
        values = values.permute(0, 2, 3, 1)
    rows = values.half()
    if not torch.isfinite(rows).all():
        raise RunFailed(
            "--cache-features: features of this backbone exceed 65504, the largest number of fp16"
        )
    return rows.cpu().numpy()


def find_levels(maps_of: Callable[[str, Tensor], Sequence[Tensor]], sizes: Mapping[str, int],
                device: torch.device) -> Levels:  # fmt: skip
    """Find shapes and memory layouts of the maps by blank images of the given sides."""
    levels: Levels = {}
    for role, side in sizes.items():
        blank = torch.zeros(1, 3, side, side, device=device)
        blank = blank.to(memory_format=torch.channels_last)
        levels[role] = []
        for values in maps_of(role, blank):
            plain = values.is_contiguous()
            shape = values.shape if plain else values.permute(0, 2, 3, 1).shape
            levels[role].append(Level(tuple(shape[1:]), not plain))
    return levels


def digest_of(module: nn.Module) -> str:
    """Return the SHA-256 of a module's parameters and buffers with their names, in hexadecimal."""
    digest = sha256()
    for name, value in module.state_dict().items():
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
