"""Pictures of training pairs: what the network sees, should answer, and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pysot.models.loss import log_softmax_cls

_LABEL, _ANSWER, _POSITIVE = (0, 255, 0), (0, 0, 255), (255, 160, 0)  # BGR
_PAIRS = 8


class PairPainter:
    """Draws pairs of a batch, one below the other.

    Left the template, right the search image with the target's box (green), the cells that are
    labelled positive (blue dots), and the network's best box (red); without boxes, a red cross
    where it is most certain.

    Args:
        anchors: (A, R, R, 4) as cx, cy, w, h in pixels of the search image; only the cells' centres
            count for a network without boxes.
    """

    def __init__(self, anchors: NDArray) -> None:
        self._anchors = anchors

    def __call__(self, model: nn.Module, batch: dict[str, Any]) -> NDArray:
        """Draw up to 8 pairs, (H, W, 3) BGR uint8; the model stays as it is."""
        some = {key: value[:_PAIRS] for key, value in batch.items() if key != "label_counts"}
        with _evaluating(model), torch.no_grad():
            found = model.predict(model.encode_template(some["template"]), some["search"])
        answers = self._answers(*found[:2])
        rows = [
            self._row({key: value[number] for key, value in some.items()}, answers[number])
            for number in range(len(some["search"]))
        ]
        return np.concatenate(rows)

    def _answers(self, cls: Tensor, loc: Tensor | None) -> NDArray:
        """The best box of each sample, (B, 4) cx, cy, w, h; w and h are 0 without boxes."""
        batch, anchors = len(cls), self._anchors[: None if loc is not None else 1].reshape(-1, 4)
        scores = cls if loc is None else log_softmax_cls(cls)[..., 1]
        best = scores.reshape(batch, -1).argmax(dim=1).cpu().numpy()
        chosen = anchors[best]
        if loc is None:
            return np.concatenate([chosen[:, :2], np.zeros((batch, 2))], axis=1)
        deltas = loc.reshape(batch, 4, -1).float().cpu().numpy()[np.arange(batch), :, best]
        centres = deltas[:, :2] * chosen[:, 2:] + chosen[:, :2]
        return np.concatenate([centres, np.exp(deltas[:, 2:].clip(-5, 5)) * chosen[:, 2:]], axis=1)

    def _row(self, sample: dict[str, Tensor], answer: NDArray) -> NDArray:
        template, search = (_image(sample[key]) for key in ("template", "search"))
        positive = (sample["label_cls"] == 1).any(dim=0).cpu().numpy()
        for cx, cy in self._anchors[0][positive][:, :2]:
            cv2.circle(search, (round(float(cx)), round(float(cy))), 1, _POSITIVE, -1)
        if positive.any():
            x1, y1, x2, y2 = sample["bbox"].numpy().round().astype(int).tolist()
            cv2.rectangle(search, (x1, y1), (x2, y2), _LABEL, 1)
        cx, cy, width, height = (float(value) for value in answer)
        corners = [(cx + side * width / 2, cy + side * height / 2) for side in (-1, 1)]
        first, second = ((round(x), round(y)) for x, y in np.clip(corners, -1e4, 1e4).tolist())
        if first == second:
            cv2.drawMarker(search, first, _ANSWER, cv2.MARKER_CROSS, 9)
        else:
            cv2.rectangle(search, first, second, _ANSWER, 1)
        canvas = np.zeros((len(search), template.shape[1] + search.shape[1], 3), np.uint8)
        canvas[: len(template), : template.shape[1]] = template
        canvas[:, template.shape[1] :] = search
        return canvas


def _image(pixels: Tensor) -> NDArray:
    image = pixels.float().clamp(0, 255).byte().cpu().permute(1, 2, 0)
    return np.ascontiguousarray(image.numpy())


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, so that its batch norm learns nothing; then back."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
