"""Training pairs: which two crops a sample shows, its labels, and which samples make a batch.

A sample is a pure function of (seed, epoch, index): the number of workers, their order and an
interruption change nothing. Every draw comes from
``Generator(PCG64(SeedSequence([seed, domain, a, b, c])))``; domain 0 draws a sample
(epoch, index, attempt), domain 1 the order of the videos (pass, training set, 0). A fixed view is a
pure function of (seed of the views, crop, role, number), in domain 2.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler, default_collate

from pysot.datasets.anchor_target import mask_labels
from pysot.datasets.annotation import TRIES, Annotations, Negatives
from pysot.datasets.augmentation import Augmentation
from pysot.datasets.crop import CONTEXT_AMOUNT, TEMPLATE_SIZE
from pysot.datasets.crop_store import CropFolder, EncodedCrop, UnreadableImage
from pysot.utils.bbox import Center, Corner, center2corner

if TYPE_CHECKING:
    from pysot.datasets.composites import Composites

Labeler = Callable[[Corner, np.random.Generator, bool], dict[str, NDArray]]
"""Makes labels, by name: from the target's box in the search image, a source of randomness, and
whether the template shows another object."""

IMAGES = ("template", "search")  # the roles of a pair's images
MAPS = tuple(f"{role}_maps" for role in IMAGES)  # in their place, what the backbone gives
_SAMPLE, _ORDER, _VIEW = 0, 1, 2
_Sample = TypeVar("_Sample", bound=dict[str, Any])


class TrainingDataError(ValueError):
    """Training images could not be read, and too many of them to go on."""


@dataclass(frozen=True)
class Views:
    """Fixed augmented views of every crop, by role; 0: a fresh augmentation for every pair."""

    template: int = 0
    search: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """One entry of ``DATASET.NAMES``.

    ``frame_range`` is the largest distance of a pair's frames, counted in annotated frames;
    ``num_use`` the videos per pass over all sets, drawn at random if there are more, repeated if
    there are fewer. Templates show the first ``templates`` frames of a track, and search images the
    others; if that is 0, or there are no others, both show any.
    """

    name: str
    crops: CropFolder | Composites
    annotations: Annotations
    frame_range: int
    num_use: int
    templates: int = 0
    views: Views = Views()


@dataclass(frozen=True)
class Crop:
    """One annotated crop: its name, and the target's (w, h) in pixels of the original frame."""

    crops: CropFolder | Composites
    video: str
    frame: int
    track: str
    size: NDArray
    set_name: str
    row: int  # of its box in the set's annotations

    @property
    def target(self) -> tuple[Path, str, str]:
        """What is equal for crops of one object alone."""
        return self.crops.target(self.video, self.track)

    def open(self) -> EncodedCrop:
        """Read the image without decoding it."""
        return self.crops.open(self.video, self.frame, self.track)

    def mask(self, shape: tuple[int, int]) -> NDArray | None:
        """Read the mask, (H, W) uint8, 0 outside of the target; None where there is none.

        Raises:
            UnreadableImage: If it cannot be read, or its shape is not the crop's.
        """
        place = self.video, self.frame, self.track, "m"
        mask = self.crops.read(*place) if self.crops.has(*place) else None
        if mask is not None and mask.shape != shape:
            raise UnreadableImage(
                f"{self.crops.path(*place)}: {mask.shape[1]} x {mask.shape[0]} pixels, its crop "
                f"has {shape[1]} x {shape[0]}"
            )
        return mask

    def stamp(self) -> str:
        """Return a text that is another one as soon as image, mask or box have changed."""
        place = self.video, self.frame, self.track
        files = [self.crops.stamp(*place, kind) for kind in "xm"]
        return "\0".join([self.set_name, *map(str, place), repr(self.size.tolist()), *files])

    def digest(self) -> tuple[int, ...]:
        """Return numbers of 32 bits that no other crop has."""
        text = "\0".join([self.set_name, self.video, str(self.frame), self.track])
        return tuple(np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], "<u4").tolist())


class Pair(NamedTuple):
    """What a sample shows."""

    template: Crop
    search: Crop
    differ: bool  # whether they show different targets
    gray: bool  # whether fresh images lose their colors
    views: tuple[int | None, int | None]  # numbers of the fixed views; None: a fresh one


class Seen(NamedTuple):
    """A crop as the network gets it; see :meth:`Augmentation.in_bytes`."""

    image: NDArray
    offset: NDArray
    box: Corner
    mask: NDArray | None


@dataclass(eq=False, repr=False)
class PairDataset(Dataset):
    """Pairs of crops with labels; item n is sample n % L of epoch n // L, L = ``epoch_length``."""

    sets: Sequence[TrainingSet]
    template: Augmentation
    search: Augmentation
    labels: Labeler  # of a search image
    epoch_length: int  # in samples
    seed: int  # not negative
    neg: float  # probability that the two images show different targets
    gray: float  # probability that both images lose their colors
    exemplar_size: int  # side of template images in pixels
    search_size: int  # side of search images in pixels
    max_attempts: int  # samples that may take the place of one with an unreadable image
    # share of negative pairs of one category, see Negatives; below 0 the second is any object
    neg_same_category: float
    masks: bool  # whether samples have masks

    def __post_init__(self) -> None:
        known = [subset.annotations for subset in self.sets]
        same = self.neg_same_category
        self._views = {subset.name: subset.views for subset in self.sets}
        self._negatives = Negatives(known, same) if same >= 0 else None

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Make one sample.

        Returns:
            ``template`` (3, 127, 127) and ``search`` (3, S, S) uint8 BGR; ``template_offset`` and
            ``search_offset`` (3,) float32, to be subtracted from them; what ``labels`` made, and
            with masks ``mask_labels``; ``bbox`` (4,) float64, the target in the search image as x1,
            y1, x2, y2; ``bad_images``: paths and reasons of the images that could not be read. If
            no replacement could be read either, ``bad_images`` alone.
        """
        return self.sample(item, self._see_pair)

    def sample(self, item: int, make: Callable[[Pair, np.random.Generator], _Sample]) -> _Sample:
        """Make something of an item's pair, or of one that takes its place; see `__getitem__`.

        ``make`` gets the pair and what is left of its randomness, and may raise UnreadableImage.
        """
        epoch, index = divmod(item, self.epoch_length)
        bad: list[str] = []
        for attempt in range(self.max_attempts + 1):
            rng = generator(self.seed, _SAMPLE, epoch, index, attempt)
            place = item if attempt == 0 else int(rng.integers(self.pass_length))
            try:
                return make(self._draw(self.pick(place), rng), rng) | {"bad_images": bad}
            except UnreadableImage as error:
                bad.append(str(error))
        return {"bad_images": bad}

    @property
    def pass_length(self) -> int:
        """Videos in one pass: the sum of every set's ``num_use``."""
        return sum(subset.num_use for subset in self.sets)

    def pick(self, item: int) -> tuple[TrainingSet, int]:
        """Return the set and the number of the video that an item shows.

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
        """Draw template and search image of a video, and whether they show different targets.

        They show one where the sets hold no other.
        """
        if self.neg > rng.random():
            pair = self._draw_negative(subset, video, rng)
            if pair[0].target != pair[1].target:
                return *pair, True
        return *_near_crops(subset, video, rng), False

    def _draw_negative(
        self, subset: TrainingSet, video: int, rng: np.random.Generator
    ) -> tuple[Crop, Crop]:
        if self._negatives is None:
            other = self._any_video(rng)
            template = _draw_crop(subset, _draw_track(subset, video, rng), rng, "template")
            for _ in range(TRIES):
                search = _draw_crop(other[0], _draw_track(*other, rng), rng)
                if search.target != template.target:
                    break
                other = self._any_video(rng)
            return template, search
        track = _draw_track(subset, video, rng)
        template = _draw_crop(subset, track, rng, "template")
        number, track = self._negatives.draw(self.sets.index(subset), track, rng)
        return template, _draw_crop(self.sets[number], track, rng)

    def _any_video(self, rng: np.random.Generator) -> tuple[TrainingSet, int]:
        other = self.sets[rng.integers(len(self.sets))]
        return other, int(rng.integers(len(other.annotations)))

    def _draw(self, picked: tuple[TrainingSet, int], rng: np.random.Generator) -> Pair:
        gray = self.gray > rng.random()
        template, search, differ = self.draw_pair(*picked, rng)
        counts = self._views[template.set_name].template, self._views[search.set_name].search
        numbers = [int(rng.integers(count)) if count else None for count in counts]
        return Pair(template, search, differ, gray, tuple(numbers))

    def view(self, crop: Crop, role: str, number: int) -> Seen:
        """Make a fixed view of a crop, as ``template`` or ``search``; it draws its own gray.

        Raises:
            UnreadableImage: If crop or mask cannot be read.
        """
        words = *crop.digest(), IMAGES.index(role), number
        rng = generator(self._views[crop.set_name].seed, _VIEW, *words)
        return self._see(crop, role, rng, self.gray > rng.random())

    def label(self, seen: Seen, differ: bool, rng: np.random.Generator) -> dict[str, NDArray]:
        """Make the labels of a search image, and ``bbox``; of ``seen``, the image is not needed."""
        labels = self.labels(seen.box, rng, differ)
        if self.masks:
            mask = None if differ else seen.mask
            labels |= mask_labels(mask, labels["label_cls"], self.search_size)
        return {**labels, "bbox": np.array(seen.box, dtype=np.float64)}

    def _see_pair(self, pair: Pair, rng: np.random.Generator) -> dict[str, NDArray]:
        template, search = (
            self._see(crop, role, rng, pair.gray, masked=not pair.differ)
            if number is None
            else self.view(crop, role, number)
            for crop, role, number in zip(pair[:2], IMAGES, pair.views, strict=True)
        )
        return {
            "template": template.image.transpose(2, 0, 1),
            "search": search.image.transpose(2, 0, 1),
            "template_offset": template.offset,
            "search_offset": search.offset,
            **self.label(search, pair.differ, rng),
        }

    def _see(
        self, crop: Crop, role: str, rng: np.random.Generator, gray: bool, masked: bool = True
    ) -> Seen:
        image = crop.open()
        box, mask = box_in_crop(image.shape[:2], crop.size), None
        if role == "template":
            return Seen(*self.template.in_bytes(image, box, mask, self.exemplar_size, rng, gray))
        if self.masks and masked:
            mask = crop.mask(image.shape[:2])
        return Seen(*self.search.in_bytes(image, box, mask, self.search_size, rng, gray))


@dataclass(eq=False)
class RunBatches(Sampler):
    """Items of every batch of a run, epoch after epoch, so that workers never pause between them.

    A step takes the next pairs of an epoch, in their order: as many as all processes and
    accumulated batches take together. Each ``batch_size`` of them are one micro-batch of one
    process, so the pairs of a step do not depend on the number of processes. The rest of an epoch
    that fills no step is left out.
    """

    epoch_length: int  # in samples
    batch_size: int
    first_epoch: int  # counted from 0
    epochs: int  # the epoch to stop before
    rank: int = 0  # of this process, which gets every ``world_size``-th micro-batch
    world_size: int = 1
    accumulate: int = 1  # micro-batches that each process takes per step
    done: int = 0  # samples of the first epoch that were used before

    @property
    def pairs_per_step(self) -> int:
        """Samples that all processes together take per step."""
        return self.batch_size * self.world_size * self.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch from its beginning."""
        return self.epoch_length // self.pairs_per_step

    def steps_in(self, epoch: int) -> int:
        """Return the steps of an epoch that are yet to do."""
        return (self.epoch_length - self._done_in(epoch)) // self.pairs_per_step

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in range(self.first_epoch, self.epochs):
            first = epoch * self.epoch_length + self._done_in(epoch)
            for step in range(self.steps_in(epoch)):
                for turn in range(self.accumulate):
                    number = turn * self.world_size + self.rank  # of the step's micro-batches
                    start = first + step * self.pairs_per_step + number * self.batch_size
                    yield list(range(start, start + self.batch_size))

    def __len__(self) -> int:
        return sum(map(self.steps_in, range(self.first_epoch, self.epochs))) * self.accumulate

    def _done_in(self, epoch: int) -> int:
        return self.done if epoch == self.first_epoch else 0


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples into a batch, images with channels last in memory; see :func:`as_floats`.

    ``bad_images`` of all are joined, and are all there is if a sample could not be made.
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
    """Finish a batch of :func:`collate`, perhaps on another device: its images become float32.

    Their offsets are subtracted and removed; the memory format stays. So do maps of a backbone.
    """
    batch = dict(batch)
    for key in IMAGES:
        offset = batch.pop(f"{key}_offset", None)
        if offset is not None:
            batch[key] = batch[key].float().sub_(offset[:, :, None, None])
    batch |= {key: tuple(level.float() for level in batch[key]) for key in MAPS if key in batch}
    return batch


def box_in_crop(shape: tuple[int, int], size: NDArray, exemplar_size: int | None = None) -> Corner:
    """Find the target, x1, y1, x2, y2 in pixels of a crop, around (width // 2, height // 2).

    ``shape`` is the crop's (height, width), ``size`` the target's (width, height) in the original
    frame. Target and context (half of width plus height) fill 127 pixels in crops of any size;
    PySOT's argument ``exemplar_size``, the side of a training's templates, does not change that.
    """
    width, height = size
    context = CONTEXT_AMOUNT * (width + height)
    zoom = TEMPLATE_SIZE / np.sqrt((width + context) * (height + context))
    return center2corner(Center(shape[1] // 2, shape[0] // 2, width * zoom, height * zoom))


def generator(seed: int, *words: int) -> np.random.Generator:
    """Make the source of the draws that some whole numbers name."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


@functools.lru_cache(maxsize=2)
def _pass_order(seed: int, number: int, sizes: tuple[tuple[int, int], ...]) -> NDArray:
    """Order of the videos in one pass: (2, pass length) int32 set and video numbers.

    ``sizes`` are the number of videos and ``num_use`` of each set.
    """
    columns = []
    for subset, (videos, num_use) in enumerate(sizes):
        rng = generator(seed, _ORDER, number, subset, 0)
        rounds = [rng.permutation(videos) for _ in range(-(-num_use // videos))]
        picked = np.concatenate(rounds)[:num_use]
        columns.append(np.stack([np.full(num_use, subset), picked]).astype(np.int32))
    rng = generator(seed, _ORDER, number, len(sizes), 0)
    return rng.permutation(np.concatenate(columns, axis=1), axis=1)


def crop_at(subset: TrainingSet, track: int, row: int) -> Crop:
    """Return the crop of a row of a set's boxes, which is one of the track's."""
    known = subset.annotations
    place = known.videos[known.video_of(track)], int(known.frames[row]), known.tracks[track]
    return Crop(subset.crops, *place, known.sizes[row], subset.name, row)


def _draw_track(subset: TrainingSet, video: int, rng: np.random.Generator) -> int:
    return int(rng.integers(*subset.annotations.first_track[video : video + 2]))


def rows_of(subset: TrainingSet, track: int, role: str) -> tuple[int, int]:
    """Return the first row of a track that may be a template or search image, and the end."""
    first, end = subset.annotations.first_row[track : track + 2].tolist()
    border = first + subset.templates
    if not first < border < end:
        return first, end
    return (first, border) if role == "template" else (border, end)


def _draw_crop(
    subset: TrainingSet, track: int, rng: np.random.Generator, role: str = "search"
) -> Crop:
    return crop_at(subset, track, int(rng.integers(*rows_of(subset, track, role))))


def _near_crops(subset: TrainingSet, video: int, rng: np.random.Generator) -> tuple[Crop, Crop]:
    track = _draw_track(subset, video, rng)
    template = _draw_crop(subset, track, rng, "template")
    first, end = rows_of(subset, track, "search")
    low = max(first, template.row - subset.frame_range)
    high = min(end, template.row + subset.frame_range + 1)
    return template, crop_at(subset, track, int(rng.integers(low, max(high, low + 1))))
