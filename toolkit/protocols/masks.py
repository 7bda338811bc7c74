"""Tracking of several objects of a video at once, by their masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.io.boxes import vot_corners
from toolkit.io.images import mask_box
from toolkit.protocols.one_pass import OnePass, ProtocolOptions, Tracker, score, size_text, timed
from toolkit.results.trajectory import Trajectory


class Masks(OnePass):
    """Give every object its own tracker and merge their masks (DAVIS, YouTube-VOS).

    A tracker starts where its object is annotated first, on the box around its mask, which is its
    result for that frame; later annotation of the object is ignored. In the frames that follow a
    pixel belongs to the object that is most probable there, to the lower number in a tie, and to
    none if no probability exceeds the threshold. The polygon or box of a tracker without masks
    counts as its mask, as probable as its score.
    """

    def __init__(self, build: Callable[[], Tracker], options: ProtocolOptions) -> None:
        super().__init__(build, options)
        self._trackers: dict[int, Tracker] = {}

    @staticmethod
    def frames(video: Any) -> Iterator[tuple[NDArray, NDArray | None]]:
        """Yield the frames of a `toolkit.datasets.Video`, each with its label image or None."""
        if not any(video.mask_names or ()):
            raise ValueError("the video has no annotation masks, which this protocol starts from")
        for index, (image, _) in enumerate(video):
            yield image, video.read_mask(index)

    def step(self, image: NDArray, truth: NDArray | None) -> None:
        """Take the next frame, BGR uint8 (H, W, 3), and its label image (H, W) if it has one.

        Raises:
            ValueError: If the labels do not fit the frame, or it differs in size from the first.
        """
        self._check_size(image)
        outputs, total = {}, 0.0
        for label, tracker in self._trackers.items():
            outputs[label], seconds = timed(tracker.track, image)
            total += seconds
        merged = merge_masks(outputs, image.shape[:2], self.options.mask_threshold)
        if truth is not None:
            merged = merged.astype(_label_type(truth.max(initial=merged.max())))
            total += self._start_new(image, truth, merged)
        self.trajectory.append(seconds=total)
        self.trajectory.masks.append(merged)

    def finish(self, video: Any) -> Trajectory:
        """Return all masks, named as the images are without folder and suffix.

        Raises:
            ValueError: If there was no object, or if two frames have the same name.
        """
        if not self._trackers:
            raise ValueError("no mask of the video holds an object")
        names = [Path(name).stem for name in video.img_names]
        if len(set(names)) != len(names):
            raise ValueError("two frames have the same file name, as would their masks")
        self.trajectory.frame_names = names
        return super().finish(video)

    def _start_new(self, image: NDArray, truth: NDArray, merged: NDArray) -> float:
        """Start on new objects and enter their masks; return the seconds that it took."""
        if truth.shape != image.shape[:2]:
            raise ValueError(
                f"the mask of frame {len(self.trajectory)} is {size_text(truth.shape)}, the "
                f"frame {size_text(image.shape)}"
            )
        total = 0.0
        for label in sorted(set(np.unique(truth).tolist()) - {0} - self._trackers.keys()):
            tracker, inside = self.build(), truth == label
            total += timed(tracker.init, image, mask_box(inside))[1]
            merged[inside] = label
            self._trackers[label] = tracker
        self._trackers = dict(sorted(self._trackers.items()))
        return total


def merge_masks(
    outputs: Mapping[int, Mapping[str, Any]], shape: tuple[int, int], threshold: float
) -> NDArray:
    """Merge the outputs of trackers into a label image (H, W); see `Masks`.

    Args:
        outputs: Output of a tracker by the number of its object, in rising order.
        shape: (H, W) of the frame.
        threshold: Probability that a pixel of an object exceeds.
    """
    labels = np.zeros(shape, _label_type(max(outputs, default=0)))
    best = np.full(shape, threshold, np.float32)
    for label, output in outputs.items():
        mask = output.get("mask")
        if mask is None:
            mask = _filled(output, shape, threshold)
        nearer = mask > best
        labels[nearer] = label
        best[nearer] = mask[nearer]
    return labels


def _label_type(highest: int) -> type[np.unsignedinteger]:
    """Return the type of a label image; in 8 bits, 255 is no label."""
    return np.uint8 if highest < 255 else np.uint16


def _filled(output: Mapping[str, Any], shape: tuple[int, int], threshold: float) -> NDArray:
    """Draw polygon or box as a mask; its value rises with the score from the threshold to 1."""
    import cv2

    region = np.asarray(output.get("polygon", output["bbox"]), np.float64)
    mask = np.zeros(shape, np.float32)
    if not np.isfinite(region).all():
        return mask
    sure = score(output)
    share = 1.0 if math.isnan(sure) else min(max(sure, 1e-3), 1.0)
    points = np.rint(np.reshape(vot_corners(region), (-1, 2)).clip(-32000, 32000)).astype(np.int32)
    cv2.fillPoly(mask, [points], threshold + (1 - threshold) * share)
    return mask
