"""A plain loader of training pairs, to measure the package's own against.

Written from the description of the pipeline alone, without any care for speed: both crops are
decoded whole, the color offset is subtracted in float64, the blur is one filter with a
two-dimensional kernel, and every anchor is compared with the target. Which pairs are drawn, and
the order of the draws, are the package's, so that both make the same samples.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.config import Config
from pysot.datasets.dataset import Crop, PairDataset

COLOUR_AXES = np.array(
    [
        [-0.55919361, 0.98062831, -0.41940627],
        [1.72091413, 0.19879334, -1.82968581],
        [4.64467907, 4.73710203, 4.88324118],
    ]
)


def sample_generator(dataset: PairDataset, item: int) -> np.random.Generator:
    """The source of randomness of a sample, see ``pysot.datasets.dataset``."""
    words = [dataset.seed, 0, *divmod(item, dataset.epoch_length), 0]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


class PlainLoader:
    """Makes the samples of a ``PairDataset`` from single files.

    Args:
        dataset: Tells which pairs to show.
        cfg: The configuration that it was built from.
    """

    def __init__(self, dataset: PairDataset, cfg: Config) -> None:
        self.dataset, self.cfg = dataset, cfg
        self.anchors = self.all_anchors()

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Make one sample; see ``PairDataset``, but with float32 images."""
        cfg = self.cfg
        rng = sample_generator(self.dataset, item)
        gray = rng.random() < cfg.DATASET.GRAY
        template, search, neg = self.dataset.draw_pair(*self.dataset.pick(item), rng)
        z, _ = self.image(template, cfg.DATASET.TEMPLATE, cfg.TRAIN.EXEMPLAR_SIZE, gray, rng)
        x, box = self.image(search, cfg.DATASET.SEARCH, cfg.TRAIN.SEARCH_SIZE, gray, rng)
        cls, delta, weight = self.labels(box, neg, rng)
        return {
            "template": z.transpose(2, 0, 1).astype(np.float32),
            "search": x.transpose(2, 0, 1).astype(np.float32),
            "label_cls": cls,
            "label_loc": delta,
            "label_loc_weight": weight,
            "bbox": np.array(box),
        }

    def image(
        self, crop: Crop, change: Config, size: int, gray: bool, rng: np.random.Generator
    ) -> tuple[NDArray, list[float]]:
        """Read a crop and change it at random; float64 pixels, and the target as x1, y1, x2, y2."""
        path = crop.crops.root / crop.video / f"{crop.frame:06d}.{crop.track}.x.jpg"
        image = cv2.imread(str(path))
        if gray:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        x1, y1, x2, y2 = self.window(image, change, size, rng)
        zoom_x, zoom_y = (size - 1) / (x2 - x1), (size - 1) / (y2 - y1)
        matrix = np.array([[zoom_x, 0, -zoom_x * x1], [0, zoom_y, -zoom_y * y1]])
        image = cv2.warpAffine(image, matrix, (size, size))
        box = self.target(crop, 511 // 2, 511 // 2)
        box = [
            (box[0] - x1) * zoom_x,
            (box[1] - y1) * zoom_y,
            (box[2] - x1) * zoom_x,
            (box[3] - y1) * zoom_y,
        ]
        if rng.random() < change.COLOR:
            image = image - (COLOUR_AXES @ rng.standard_normal(3))[::-1]
        if rng.random() < change.BLUR:
            image = self.blur(image, rng)
        if change.FLIP and rng.random() < change.FLIP:
            image = image[:, ::-1]
            box = [size - 1 - box[2], box[1], size - 1 - box[0], box[3]]
        return image, box

    def window(
        self, image: NDArray, change: Config, size: int, rng: np.random.Generator
    ) -> list[float]:
        """Draw the part of a crop that is shown, as x1, y1, x2, y2."""
        limits = np.array([image.shape[1], image.shape[0]], float)
        center, sides = limits // 2, np.array([size - 1.0, size - 1.0])
        if change.SCALE:
            scales = [1 + (rng.random() * 2 - 1) * change.SCALE for _ in range(2)]
            sides = sides * np.minimum(scales, limits / sides)
        low, high = center - sides / 2, center + sides / 2
        if change.SHIFT:
            moves = np.array([(rng.random() * 2 - 1) * change.SHIFT for _ in range(2)])
            moves = np.maximum(-low, np.minimum(limits - 1 - high, moves))
            low, high = low + moves, high + moves
        return [low[0], low[1], high[0], high[1]]

    def target(self, crop: Crop, cx: float, cy: float) -> list[float]:
        """Box of the object in its crop, as x1, y1, x2, y2."""
        w, h = crop.size
        context = 0.5 * (w + h)
        zoom = self.cfg.TRAIN.EXEMPLAR_SIZE / math.sqrt((w + context) * (h + context))
        return [cx - w * zoom / 2, cy - h * zoom / 2, cx + w * zoom / 2, cy + h * zoom / 2]

    def blur(self, image: NDArray, rng: np.random.Generator) -> NDArray:
        """Filter with a cross of a random size and weight."""
        size = int(rng.choice(np.arange(5, 46, 2)))
        weight = rng.random()
        kernel = np.zeros((size, size))
        kernel[:, size // 2] += weight / size
        kernel[size // 2, :] += (1 - weight) / size
        return cv2.filter2D(image, -1, kernel)

    def labels(
        self, box: list[float], neg: bool, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray, NDArray]:
        """Classes (A, R, R), box deltas (4, A, R, R) and their weights of all anchors."""
        x1, y1, x2, y2 = box
        cx, cy, w, h = self.anchors
        cls, weight = np.full(cx.shape, -1, np.int64), np.zeros(cx.shape, np.float32)
        if neg:
            return self.negative_labels(box, cls, weight, rng)
        tcx, tcy, tw, th = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        delta = np.stack([(tcx - cx) / w, (tcy - cy) / h, np.log(tw / w), np.log(th / h)])
        wide = np.minimum(x2, cx + w / 2) - np.maximum(x1, cx - w / 2)
        high = np.minimum(y2, cy + h / 2) - np.maximum(y1, cy - h / 2)
        inter = np.maximum(0, wide) * np.maximum(0, high)
        overlap = inter / (w * h + tw * th - inter)
        p = self.cfg.TRAIN
        positive = self.some(np.where(overlap > p.THR_HIGH), p.POS_NUM, rng)
        negative = self.some(np.where(overlap < p.THR_LOW), p.TOTAL_NUM - p.POS_NUM, rng)
        cls[positive], cls[negative] = 1, 0
        weight[positive] = 1 / (len(positive[0]) + 1e-6)
        return cls, delta.astype(np.float32), weight

    def negative_labels(
        self, box: list[float], cls: NDArray, weight: NDArray, rng: np.random.Generator
    ) -> tuple[NDArray, NDArray, NDArray]:
        """Background around another object than the template's."""
        size, cells = cls.shape[-1], []
        for center in ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2):
            offset = (center - self.cfg.TRAIN.SEARCH_SIZE // 2) / self.cfg.ANCHOR.STRIDE + 0.5
            cell = size // 2 + math.ceil(offset)
            cells.append(slice(max(0, cell - 3), max(0, min(size, cell + 4))))
        near = np.zeros(cls.shape)
        near[:, cells[0], cells[1]] = 1
        cls[self.some(np.where(near == 1), self.cfg.TRAIN.NEG_NUM, rng)] = 0
        return cls, np.zeros((4, *cls.shape), np.float32), weight

    def some(
        self, where: tuple[NDArray, ...], count: int, rng: np.random.Generator
    ) -> tuple[NDArray, ...]:
        """Keep at most ``count`` of the places that ``np.where`` found."""
        if len(where[0]) <= count:
            return where
        order = np.arange(len(where[0]))
        rng.shuffle(order)
        return tuple(axis[order[:count]] for axis in where)

    def all_anchors(self) -> NDArray:
        """All anchors as cx, cy, w, h: (4, A, R, R) float32."""
        stride, size = self.cfg.ANCHOR.STRIDE, self.cfg.TRAIN.OUTPUT_SIZE
        shapes = []
        for ratio in self.cfg.ANCHOR.RATIOS:
            width = int(math.sqrt(stride * stride / ratio))
            shapes += [(width * s, int(width * ratio) * s) for s in self.cfg.ANCHOR.SCALES]
        grid = self.cfg.TRAIN.SEARCH_SIZE // 2 - size // 2 * stride + np.arange(size) * stride
        ones = np.ones((len(shapes), size, size), np.float32)
        w, h = (
            np.array(side, np.float32)[:, None, None] * ones for side in zip(*shapes, strict=True)
        )
        return np.stack([grid[None, None, :] * ones, grid[None, :, None] * ones, w, h])
