"""The steps of a Siamese tracker, and the geometry that trackers share.

Boxes and centers are in 0-based pixels of the frame; ``size`` is (w, h), ``shape`` is (h, w).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pysot.core.settings import TrackParams
from pysot.tracker.network import Network, as_network

MIN_SIDE = 10
"""Smallest reported side in pixels."""

_LARGEST_WINDOW = 2**16


@dataclass(frozen=True)
class Target:
    """Center and size of the tracked object."""

    cx: float
    cy: float
    w: float
    h: float

    @classmethod
    def from_xywh(cls, bbox: Sequence[float]) -> Target:
        """Convert a first box, whose center counts whole pixels: x + (w - 1) / 2."""
        x, y, w, h = bbox
        return cls(float(x + (w - 1) / 2), float(y + (h - 1) / 2), float(w), float(h))

    def to_xywh(self) -> list[float]:
        """Return [x, y, w, h] of a result, with x = cx - w / 2."""
        return [self.cx - self.w / 2, self.cy - self.h / 2, self.w, self.h]

    def moved(self, offset: Sequence[float], size: Sequence[float], rate: float) -> Target:
        """Move the center by ``offset`` and the size a share ``rate`` of the way to ``size``.

        Raises:
            ValueError: If a number of the result is NaN or infinite.
        """
        numbers = (
            float(self.cx + offset[0]),
            float(self.cy + offset[1]),
            float(self.w * (1 - rate) + size[0] * rate),
            float(self.h * (1 - rate) + size[1] * rate),
        )
        if not all(map(math.isfinite, numbers)):
            raise ValueError(
                "the next box is not finite; are weights, TRACK.PENALTY_K and LR right?"
            )
        return Target(*numbers)

    def clipped(self, frame_shape: tuple[int, ...]) -> Target:
        """Keep the center inside a frame (H, W, ...) and the sides between 10 and the frame's.

        A limited value is an integer: result files show ``10``, not ``10.0``.
        """
        height, width = frame_shape[:2]
        return Target(
            max(0, min(self.cx, width)),
            max(0, min(self.cy, height)),
            max(MIN_SIDE, min(self.w, width)),
            max(MIN_SIDE, min(self.h, height)),
        )


@dataclass(frozen=True)
class TrackState:
    """All that changes between frames."""

    target: Target
    fill: tuple[float, ...]
    """Mean BGR color of the first frame, for pixels outside of images."""
    kernels: Any
    """The network's encoding of the template."""
    lost_frames: int = 0
    """Frames for which the target is lost, in trackers that notice it."""


class BaseTracker(ABC):
    """The interface that protocols and tools use; frames are BGR uint8, (H, W, 3).

    Both methods raise ``ValueError`` for what they cannot use.
    """

    @abstractmethod
    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start anew on a target, x, y, w, h in 0-based pixels of its first frame."""

    @abstractmethod
    def track(self, image: NDArray) -> dict[str, Any]:
        """Return ``bbox``, [x, y, w, h] in 0-based pixels, and ``best_score`` in [0, 1]."""


class SiameseTracker(BaseTracker):
    """Follows one target; several trackers may share one model, and one pass of it.

    Subclasses define ``search_crop(image)``, ``decode(prediction)`` and
    ``update(found, scale, frame_shape)``. A model is a PyTorch module that has
    ``encode_template(z)`` and ``predict(kernels, x)``, or a :class:`Network`. Trackers written for
    PySOT set the model themselves, and have no parameters.
    """

    state_type = TrackState
    tuned: ClassVar[tuple[str, ...]] = ()
    """Keys of ``TRACK`` that are searched by default. Neither ``encode`` nor ``candidates`` of the
    class that declares them may read them."""
    reads: ClassVar[tuple[str, ...]] = ("INSTANCE_SIZE", "EXEMPLAR_SIZE", "CONTEXT_AMOUNT")
    """Other keys of ``TRACK`` that have an effect, searched on request."""
    inside_only = True
    """Whether a first box that lies outside of the frame is an error."""

    def __init__(self, model: Any = None, params: TrackParams | Any = None) -> None:
        self.model = model
        self.params = params
        self.state: Any = None

    @property
    def network(self) -> Network:
        """What runs the model."""
        return as_network(self.model)

    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """See :meth:`BaseTracker.init`."""
        check_frame(image)
        check_box(bbox, image.shape if self.inside_only else None)
        target, fill = Target.from_xywh(as_box(bbox)), tuple(image.mean(axis=(0, 1)))
        with self.network.inference():
            self.state = self.state_type(target, fill, self.encode(image, [target], fill))

    def track(self, image: NDArray) -> dict[str, Any]:
        """See :meth:`BaseTracker.track`."""
        check_frame(image)
        if self.state is None:
            raise ValueError("call init(image, bbox) before track(image)")
        with self.network.inference():
            crop, scale = self.search_crop(image)
            result = self.update(self.candidates(crop), scale, image.shape)
            self.update_template(image)
        return result

    def encode(self, image: NDArray, targets: list[Target], fill: tuple[float, ...]) -> Any:
        """Compute the kernels of targets in a frame, one batch."""
        p, crops = self.params, []
        for target in targets:
            side = max(1, round(context_side((target.w, target.h), p.context_amount)))
            center = target.cx, target.cy
            crops.append(crop_window(image, center, side, p.exemplar_size, fill))
        with _images_large_enough("EXEMPLAR_SIZE", p.exemplar_size):
            return self.network.encode(np.stack(crops))

    def candidates(self, crop: NDArray) -> Any:
        """Return what the network finds in a search crop (S, S, 3), or in K of them."""
        with _images_large_enough("INSTANCE_SIZE", crop.shape[-2]):
            prediction = self.predict(self.state.kernels, as_batch(crop))
        return self.decode(prediction)[0]

    def predict(self, kernels: Any, crops: NDArray) -> Any:
        """Run the network on search crops (B, S, S, 3), of other targets too."""
        return self.network.search(kernels, crops)

    def update_template(self, image: NDArray) -> None:
        """Adapt to a frame after ``update``; most trackers do not."""

    def get_subwindow(
        self,
        im: NDArray,
        pos: Sequence[float],
        model_sz: int,
        original_sz: float,
        avg_chans: Sequence[float],
    ) -> Any:
        """Cut a square of a frame (PySOT's interface): a tensor (1, 3, S, S) for the model.

        ``pos`` is its center, ``original_sz`` its side in the frame, ``model_sz`` S; pixels outside
        of the frame become ``avg_chans``.
        """
        from pysot.tracker.torch_network import TorchNetwork  # PyTorch may be missing

        crop = crop_window(im, pos, round(original_sz), model_sz, avg_chans)
        return TorchNetwork(self.model).images(crop[None])


@contextmanager
def _images_large_enough(key: str, side: int) -> Iterator[None]:
    """Raise ``ValueError`` where a network cannot take images of a side."""
    try:
        yield
    except RuntimeError as error:
        if "greater than actual input size" not in str(error):
            raise
        raise ValueError(
            f"TRACK.{key}: images of {side} x {side} pixels are too small for the network, or "
            "EXEMPLAR_SIZE is above INSTANCE_SIZE"
        ) from error


def as_batch(crops: NDArray) -> NDArray:
    """Return a crop (S, S, 3) or several (K, S, S, 3) as several."""
    return crops if crops.ndim == 4 else crops[None]


def check_scores(scores: NDArray | float) -> None:
    """Raise ``ValueError`` if a score is NaN or infinite."""
    if not np.isfinite(scores).all():
        raise ValueError("the network returned NaN scores; are these the weights of this model?")


def context_side(size: Sequence[float], context_amount: float) -> float:
    """Return the side sqrt((w + p)(h + p)) of a crop, p = amount * (w + h) (SiamFC, 2.2)."""
    pad = context_amount * (size[0] + size[1])
    return math.sqrt((size[0] + pad) * (size[1] + pad))


def window_corner(center: Sequence[float], side: int) -> tuple[int, int]:
    """Return the upper left pixel x, y of a square window of the frame around a center."""
    return (
        math.floor(center[0] - (side + 1) / 2 + 0.5),
        math.floor(center[1] - (side + 1) / 2 + 0.5),
    )


def crop_window(
    image: NDArray, center: Sequence[float], side: int, out_size: int, fill: Sequence[float]
) -> NDArray:
    """Cut a square window and scale it, pixel for pixel as published weights expect.

    The window may lie outside of the image, (H, W, 3) uint8; ``fill`` is truncated to integers.

    Raises:
        ValueError: If the window is beyond all bounds.
    """
    if side > _LARGEST_WINDOW:
        raise ValueError(
            f"a region of {side} x {side} pixels is too large; are TRACK.CONTEXT_AMOUNT, "
            "INSTANCE_SIZE, EXEMPLAR_SIZE and SCALE_STEP right?"
        )
    height, width = image.shape[:2]
    left, top = window_corner(center, side)
    x1, x2 = max(left, 0), min(left + side, width)
    y1, y2 = max(top, 0), min(top + side, height)
    if (x1, y1, x2, y2) == (left, top, left + side, top + side):
        window = image[y1:y2, x1:x2]
    else:
        window = np.empty((side, side, 3), dtype=np.uint8)
        window[:] = np.asarray(fill).astype(np.uint8)
        if x1 < x2 and y1 < y2:
            window[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
    if side != out_size:
        return cv2.resize(window, (out_size, out_size))
    return np.ascontiguousarray(window)


def change_penalty(sizes: NDArray, reference: Sequence[float], penalty_k: float) -> NDArray:
    """Return factors (N,) on scores for changes of scale and aspect ratio (SiamRPN, section 4.3).

    ``sizes`` (N, 2) and ``reference``, the last box's, are widths and heights in one unit.
    """
    sizes = np.asarray(sizes, dtype=np.float64)
    scale = _change(_padded_side(*sizes.T) / _padded_side(*reference))
    ratio = _change((reference[0] / reference[1]) / (sizes[:, 0] / sizes[:, 1]))
    return np.exp(-(ratio * scale - 1) * penalty_k)


def _change(r: NDArray) -> NDArray:
    return np.maximum(r, 1.0 / r)


def _padded_side(w: NDArray | float, h: NDArray | float) -> NDArray | float:
    pad = (w + h) * 0.5
    return np.sqrt((w + pad) * (h + pad))


def cosine_window(size: int, anchors: int) -> NDArray:
    """Return a Hanning window per anchor, (anchors * size * size,)."""
    row = np.hanning(size)
    return np.tile(np.outer(row, row).ravel(), anchors)


def check_frame(image: NDArray) -> None:
    """Raise ``ValueError`` for anything but a BGR uint8 frame (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"a frame must be a NumPy array (H, W, 3), not {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            "a frame must be BGR uint8 of shape (H, W, 3), found "
            f"{image.dtype} of shape {image.shape}; toolkit.io.images.read_image reads any file so"
        )


def as_box(bbox: Any) -> NDArray:
    """Return four finite numbers, also of an array of shape (1, 4) or a tensor, as (4,).

    Raises:
        ValueError: If they are anything else, such as text.
    """
    try:
        box = np.asarray(bbox.detach().cpu() if hasattr(bbox, "detach") else bbox)
    except (TypeError, ValueError):  # of lists of lists, or of numbers that NumPy lacks
        box = np.array(None)
    known = box.shape in ((4,), (1, 4)) and box.dtype.kind in "iuf"
    if not known or not np.isfinite(box).all():
        raise ValueError(f"the first box must be four finite numbers x, y, w, h; found {bbox!r}")
    return box.ravel()


def check_box(bbox: Sequence[float], frame_shape: tuple[int, ...] | None) -> None:
    """Raise ``ValueError`` for a first box without area, or outside of the frame if given."""
    x, y, w, h = as_box(bbox).tolist()
    if w <= 0 or h <= 0:
        raise ValueError(f"the first box has no area: width {w:g}, height {h:g}")
    if frame_shape is None:
        return
    height, width = frame_shape[:2]
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise ValueError(
            f"the first box ({x:g}, {y:g}, {w:g}, {h:g}) lies outside the {width} x {height} frame"
        )
