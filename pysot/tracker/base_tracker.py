"""What Siamese trackers share: start on a target, take one step per frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.core.settings import TrackParams
from pysot.tracker.geometry import Target, check_box, check_frame, context_side, crop_window


@dataclass(frozen=True)
class TrackState:
    """All that a tracker knows of its target; the only thing that changes between frames."""

    target: Target
    fill: tuple[float, ...]
    """Mean color of the first frame, BGR, for pixels outside of images."""
    kernels: Any
    """What the network computed from the template."""


class BaseTracker(ABC):
    """What protocols and tools need of a tracker; frames are BGR uint8, (H, W, 3)."""

    @abstractmethod
    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target; whatever was tracked before is forgotten.

        Args:
            image: First frame.
            bbox: x, y, w, h in 0-based pixels.

        Raises:
            ValueError: If the frame or the box is unusable.
        """

    @abstractmethod
    def track(self, image: NDArray) -> dict[str, Any]:
        """Find the target in the next frame.

        Returns:
            ``bbox``, [x, y, w, h] in 0-based pixels, and ``best_score`` in [0, 1].

        Raises:
            ValueError: If :meth:`init` was not called, or the frame is unusable.
        """


class SiameseTracker(BaseTracker):
    """Follows one target; several trackers may share one model, and one pass of it.

    Subclasses define ``search_crop(image)``, ``decode(prediction)`` and
    ``update(found, scale, frame_shape)``.

    Args:
        model: Network with ``encode_template(z)`` and ``predict(kernels, x)``.
        params: Settings.
    """

    state_type = TrackState

    def __init__(self, model: Any, params: TrackParams) -> None:
        self.model = model
        self.params = params
        self.state: Any = None

    @torch.inference_mode()
    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """See :meth:`BaseTracker.init`."""
        check_frame(image)
        check_box(bbox, image.shape)
        target, fill = Target.from_xywh(bbox), tuple(image.mean(axis=(0, 1)))
        self.state = self.state_type(target, fill, self.encode(image, [target], fill))

    @torch.inference_mode()
    def track(self, image: NDArray) -> dict[str, Any]:
        """See :meth:`BaseTracker.track`."""
        check_frame(image)
        if self.state is None:
            raise ValueError("call init(image, bbox) before track(image)")
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
        return self.model.encode_template(to_tensor(np.stack(crops), self.model))

    def candidates(self, crop: NDArray) -> Any:
        """Run the network on a search crop (S, S, 3), or on K of them, and decode its output."""
        prediction = self.predict(self.state.kernels, to_tensor(as_batch(crop), self.model))
        return self.decode(prediction)[0]

    def predict(self, kernels: Any, x: Tensor) -> Any:
        """Run the network on search images (B, 3, S, S), those of other targets included."""
        return self.model.predict(kernels, x)

    def update_template(self, image: NDArray) -> None:
        """Adapt to a frame after ``update``; most trackers do not."""


def as_batch(crops: NDArray) -> NDArray:
    """Return a crop (S, S, 3) or several (K, S, S, 3) as several."""
    return crops if crops.ndim == 4 else crops[None]


def to_tensor(crops: NDArray, model: Any) -> Tensor:
    """Move crops (B, S, S, 3) uint8 to the model's device, (B, 3, S, S) float32."""
    first = next(iter(getattr(model, "parameters", tuple)()), None)
    device = torch.device("cpu") if first is None else first.device
    return torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()


def check_scores(scores: NDArray | float) -> None:
    """Refuse scores that are not numbers.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("the network returned NaN scores; are these the weights of this model?")
