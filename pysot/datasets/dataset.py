"""Training pairs: which two crops a sample shows, its labels, and which samples make a batch.

A sample is a pure function of (seed, epoch, index): the number of workers, their order and an
interruption change nothing. Every draw comes from
``Generator(PCG64(SeedSequence([seed, domain, a, b, c])))``; domain 0 draws a sample
(epoch, index, attempt), domain 1 the order of the videos (pass, training set, 0).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler, default_collate

from pysot.datasets.anchor_target import mask_labels
from pysot.datasets.annotation import Annotations, Negatives
from pysot.datasets.augmentation import Augmentation
from pysot.datasets.crop_store import CropFolder, EncodedCrop, UnreadableImage
from pysot.utils.bbox import Center, Corner, center2corner

Labeler = Callable[[Corner, np.random.Generator, bool], dict[str, NDArray]]
"""Makes labels, by name: from the target's box in the search image, a source of randomness, and
whether the template shows another object."""

IMAGES = ("template", "search")
_SAMPLE, _ORDER = 0, 1
_CONTEXT = 0.5


class TrainingDataError(ValueError):
    """Training images could not be read, and too many of them to go on."""


@dataclass(frozen=True)
class TrainingSet:
    """One entry of ``DATASET.NAMES``.

    Attributes:
        name: Key below ``DATASET``.
        crops: Its images.
        annotations: Its usable boxes.
        frame_range: Largest distance of the two frames of a pair, counted in annotated frames.
        num_use: Videos per pass over all sets; fewer than there are are drawn at random, more
            repeat them.
    """

    name: str
    crops: CropFolder
    annotations: Annotations
    frame_range: int
    num_use: int


@dataclass(frozen=True)
class Crop:
    """One annotated crop: its name, and the target's (w, h) in pixels of the original frame."""

    crops: CropFolder
    video: str
    frame: int
    track: str
    size: NDArray

    def open(self) -> EncodedCrop:
        """Read the image without decoding it."""
        return self.crops.open(self.video, self.frame, self.track)

    def mask(self) -> NDArray | None:
        """Read the mask, (H, W) uint8, 0 outside of the target; None where there is none."""
        place = self.video, self.frame, self.track, "m"
        return self.crops.read(*place) if self.crops.has(*place) else None


class PairDataset(Dataset):
    """Pairs of crops with labels; item n is sample n % L of epoch n // L, L = ``epoch_length``.

    Args:
        sets: Where pairs come from.
        template: Augmentation of template images.
        search: Augmentation of search images.
        labels: Makes the labels of a search image.
        epoch_length: Samples per epoch.
        seed: Not negative.
        neg: Probability that the two images show different targets.
        gray: Probability that both images lose their colors.
        exemplar_size: Side of template images in pixels.
        search_size: Side of search images in pixels.
        max_attempts: Samples that may take the place of one with an unreadable image.
        neg_same_category: Share of negative pairs whose two objects are of one category, see
            :class:`~pysot.datasets.annotation.Negatives`; below 0 the second is any object.
        masks: Whether samples have masks.
    """

    def __init__(
        self,
        sets: Sequence[TrainingSet],
        template: Augmentation,
        search: Augmentation,
        labels: Labeler,
        epoch_length: int,
        seed: int,
        neg: float = 0.2,
        gray: float = 0.0,
        exemplar_size: int = 127,
        search_size: int = 255,
        max_attempts: int = 100,
        neg_same_category: float = -1.0,
        masks: bool = False,
    ) -> None:
        self.sets = tuple(sets)
        self.epoch_length, self.seed = epoch_length, seed
        self._template, self._search, self._labels = template, search, labels
        self._neg, self._gray = neg, gray
        self._exemplar_size, self._search_size = exemplar_size, search_size
        self._max_attempts = max_attempts
        self._negatives = None
        if neg_same_category >= 0:
            self._negatives = Negatives([s.annotations for s in self.sets], neg_same_category)
        self._masks = masks

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Make one sample.

        Returns:
            ``template`` (3, 127, 127) and ``search`` (3, S, S) uint8 BGR; ``template_offset`` and
            ``search_offset`` (3,) float32, to be subtracted from them; the labels,
            see ``AnchorTarget.labels`` and ``CenterTarget.labels``, and with masks
            :func:`~pysot.datasets.anchor_target.mask_labels`; ``bbox`` (4,) float64, the target in
            the search image as x1, y1, x2, y2; ``bad_images``: paths and reasons of the images
            that could not be read. If no replacement could be read either, ``bad_images`` alone.
        """
        epoch, index = divmod(item, self.epoch_length)
        bad: list[str] = []
        for attempt in range(self._max_attempts + 1):
            rng = _generator(self.seed, _SAMPLE, epoch, index, attempt)
            place = item if attempt == 0 else int(rng.integers(self.pass_length))
            try:
                return self._sample(self.pick(place), rng) | {"bad_images": bad}
            except UnreadableImage as error:
                bad.append(str(error))
        return {"bad_images": bad}

    @property
    def pass_length(self) -> int:
        """Videos in one pass: the sum of every set's ``num_use``."""
        return sum(subset.num_use for subset in self.sets)

    def pick(self, item: int) -> tuple[TrainingSet, int]:
        """Return the set and the number of the video that item ``item`` shows.

        Items run through whole passes; a pass holds ``num_use`` videos of each set, shuffled.
        """
        number, offset = divmod(item, self.pass_length)
        order = _pass_order(
            self.seed, number, tuple((len(s.annotations), s.num_use) for s in self.sets)
        )
        subset, video = order[:, offset]
        return self.sets[subset], int(video)

    def draw_pair(
        self, subset: TrainingSet, video: int, rng: np.random.Generator
    ) -> tuple[Crop, Crop, bool]:
        """Draw template and search image of a video, and whether they show different targets."""
        if self._neg > rng.random():
            return *self._draw_negative(subset, video, rng), True
        return *_near_crops(subset, video, rng), False

    def _draw_negative(
        self, subset: TrainingSet, video: int, rng: np.random.Generator
    ) -> tuple[Crop, Crop]:
        if self._negatives is None:
            other = self.sets[rng.integers(len(self.sets))]
            other_video = int(rng.integers(len(other.annotations)))
            return _any_crop(subset, video, rng), _any_crop(other, other_video, rng)
        track, first, end = _any_track(subset, video, rng)
        template = _crop(subset, video, track, int(rng.integers(first, end)))
        place = next(number for number, other in enumerate(self.sets) if other is subset)
        number, track = self._negatives.draw(place, track, rng)
        annotations = self.sets[number].annotations
        row = int(rng.integers(*annotations.first_row[track : track + 2]))
        return template, _crop(self.sets[number], annotations.video_of(track), track, row)

    def _sample(
        self, picked: tuple[TrainingSet, int], rng: np.random.Generator
    ) -> dict[str, NDArray]:
        gray = self._gray > rng.random()
        template_crop, search_crop, neg = self.draw_pair(*picked, rng)
        image, box = self._read(template_crop)
        size = self._exemplar_size
        template, template_offset, *_ = self._template.in_bytes(image, box, None, size, rng, gray)
        image, box = self._read(search_crop)
        mask = search_crop.mask() if self._masks and not neg else None
        size = self._search_size
        search, offset, box, mask = self._search.in_bytes(image, box, mask, size, rng, gray)
        labels = self._labels(box, rng, neg)
        if self._masks:
            labels |= mask_labels(mask, labels["label_cls"], size)
        return {
            "template": template.transpose(2, 0, 1),
            "search": search.transpose(2, 0, 1),
            "template_offset": template_offset,
            "search_offset": offset,
            **labels,
            "bbox": np.array(box, dtype=np.float64),
        }

    def _read(self, crop: Crop) -> tuple[EncodedCrop, Corner]:
        image = crop.open()
        return image, box_in_crop(image.shape[:2], crop.size, self._exemplar_size)


class RunBatches(Sampler):
    """Items of every batch of a run, epoch after epoch, so that workers never pause between them.

    A step takes the next pairs of an epoch, in their order: as many as all processes and
    accumulated batches take together. Each ``batch_size`` of them are one micro-batch of one
    process, so the pairs of a step do not depend on the number of processes.

    Args:
        epoch_length: Samples per epoch.
        batch_size: Samples per batch; the rest of an epoch that fills no step is left out.
        first_epoch: Epoch to begin with, counted from 0.
        epochs: Epoch to stop before.
        rank: Number of this process, which gets every ``world_size``-th micro-batch.
        world_size: Number of processes.
        accumulate: Micro-batches that each of them takes per step.
        done: Samples of the first epoch that were used before.
    """

    def __init__(
        self,
        epoch_length: int,
        batch_size: int,
        first_epoch: int,
        epochs: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        done: int = 0,
    ) -> None:
        self._rank, self._world_size, self._accumulate = rank, world_size, accumulate
        self._epoch_length, self._batch_size = epoch_length, batch_size
        self._epochs, self._done = range(first_epoch, epochs), done

    @property
    def pairs_per_step(self) -> int:
        """Samples that all processes together take per step."""
        return self._batch_size * self._world_size * self._accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch from its beginning."""
        return self._epoch_length // self.pairs_per_step

    def steps_in(self, epoch: int) -> int:
        """Return the steps of an epoch that are yet to do."""
        return (self._epoch_length - self._done_in(epoch)) // self.pairs_per_step

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in self._epochs:
            first = epoch * self._epoch_length + self._done_in(epoch)
            for step in range(self.steps_in(epoch)):
                for turn in range(self._accumulate):
                    number = turn * self._world_size + self._rank  # of the step's micro-batches
                    start = first + step * self.pairs_per_step + number * self._batch_size
                    yield list(range(start, start + self._batch_size))

    def __len__(self) -> int:
        return sum(map(self.steps_in, self._epochs)) * self._accumulate

    def _done_in(self, epoch: int) -> int:
        return self._done if epoch == self._epochs.start else 0


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch; ``bad_images`` of all are joined.

    The images of the batch lie in memory with the channels last. :func:`as_floats` finishes them.

    If one of the samples could not be made, ``bad_images`` is all there is.
    """
    bad = [message for sample in samples for message in sample.pop("bad_images")]
    if not all(samples):
        return {"bad_images": bad}
    for sample in samples:
        sample |= {key: sample[key].transpose(1, 2, 0) for key in IMAGES}
    batch = default_collate(samples)
    batch |= {key: batch[key].permute(0, 3, 1, 2) for key in IMAGES}
    return batch | {"bad_images": bad}


def as_floats(batch: dict[str, Any]) -> dict[str, Any]:
    """Finish the images of a batch, where it lies: ``template`` and ``search`` become float32.

    Args:
        batch: Of :func:`collate`, perhaps on another device. Its images keep their memory format.

    Returns:
        The same without ``template_offset`` and ``search_offset``, which are subtracted.
    """
    batch = dict(batch)
    for key in IMAGES:
        offset = batch.pop(f"{key}_offset", None)
        if offset is not None:
            batch[key] = batch[key].float().sub_(offset[:, :, None, None])
    return batch


def box_in_crop(shape: tuple[int, int], size: NDArray, exemplar_size: int = 127) -> Corner:
    """Find the target in a crop.

    Args:
        shape: Height and width of the crop.
        size: Width and height of the target in the original frame. Target and context (half of
            width plus height) fill ``exemplar_size`` pixels of the crop.
        exemplar_size: In pixels.

    Returns:
        x1, y1, x2, y2 in pixels of the crop, centered at (width // 2, height // 2).
    """
    width, height = size
    context = _CONTEXT * (width + height)
    zoom = exemplar_size / np.sqrt((width + context) * (height + context))
    return center2corner(Center(shape[1] // 2, shape[0] // 2, width * zoom, height * zoom))


def _generator(seed: int, *words: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


@functools.lru_cache(maxsize=2)
def _pass_order(seed: int, number: int, sizes: tuple[tuple[int, int], ...]) -> NDArray:
    """Order of the videos in one pass: (2, pass length) int32 set and video numbers.

    ``sizes`` are the number of videos and ``num_use`` of each set.
    """
    columns = []
    for subset, (videos, num_use) in enumerate(sizes):
        rng = _generator(seed, _ORDER, number, subset, 0)
        rounds = [rng.permutation(videos) for _ in range(-(-num_use // videos))]
        picked = np.concatenate(rounds)[:num_use]
        columns.append(np.stack([np.full(num_use, subset), picked]).astype(np.int32))
    rng = _generator(seed, _ORDER, number, len(sizes), 0)
    return rng.permutation(np.concatenate(columns, axis=1), axis=1)


def _crop(subset: TrainingSet, video: int, track: int, row: int) -> Crop:
    known = subset.annotations
    frame, size = int(known.frames[row]), known.sizes[row]
    return Crop(subset.crops, known.videos[video], frame, known.tracks[track], size)


def _any_track(subset: TrainingSet, video: int, rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw a track; returns its number, first row and end row."""
    known = subset.annotations
    track = int(rng.integers(known.first_track[video], known.first_track[video + 1]))
    return track, int(known.first_row[track]), int(known.first_row[track + 1])


def _any_crop(subset: TrainingSet, video: int, rng: np.random.Generator) -> Crop:
    track, first, end = _any_track(subset, video, rng)
    return _crop(subset, video, track, int(rng.integers(first, end)))


def _near_crops(subset: TrainingSet, video: int, rng: np.random.Generator) -> tuple[Crop, Crop]:
    track, first, end = _any_track(subset, video, rng)
    template = int(rng.integers(first, end))
    near = max(first, template - subset.frame_range), min(end, template + subset.frame_range + 1)
    search = int(rng.integers(*near))
    return _crop(subset, video, track, template), _crop(subset, video, track, search)
