"""What all Siamese trackers do: start on a target, and take one step per frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.tracker.geometry import Target, check_frame, first_look, template_crop


@dataclass(frozen=True)
class TrackState:
    """All that a tracker knows of its target; the only thing that changes between frames."""

    target: Target
    fill: tuple[float, ...]
    """Mean colour of the first frame, BGR: stands for pixels outside the image."""
    kernels: Any
    """What the network computed from the template."""


class SiameseTracker:
    """Follows one target; several trackers may share one model.

    Kinds of trackers define ``search_crop(image)``, ``decode(prediction)`` and
    ``update(seen, zoom, frame_shape)``; several targets can share these steps.

    Args:
        model: Network with ``encode_template(z)`` and ``predict(kernels, x)``.
        params: Settings, with ``context_amount`` and ``exemplar_size``.
    """

    state_type = TrackState

    def __init__(self, model: Any, params: Any) -> None:
        self.model = model
        self.params = params
        self.state: Any = None

    @torch.inference_mode()
    def init(self, image: NDArray, bbox: Sequence[float]) -> None:
        """Start on a target; whatever was tracked before is forgotten.

        Args:
            image: First frame, BGR uint8, (H, W, 3).
            bbox: x, y, w, h in 0-based pixels.

        Raises:
            ValueError: If the frame or the box is unusable.
        """
        p = self.params
        target, fill = first_look(image, bbox)
        crop = template_crop(image, target, p.context_amount, p.exemplar_size, fill)
        kernels = self.model.encode_template(to_tensor(crop[None], self.model))
        self.state = self.state_type(target, fill, kernels)

    @torch.inference_mode()
    def track(self, image: NDArray) -> dict[str, Any]:
        """Find the target in the next frame.

        Args:
            image: BGR uint8, (H, W, 3).

        Returns:
            ``bbox``, [x, y, w, h] in 0-based pixels, and ``best_score`` in [0, 1].

        Raises:
            ValueError: If :meth:`init` was not called, or the frame is unusable.
        """
        check_frame(image)
        crop, zoom = self.search_crop(image)
        result = self.update(self.candidates(crop), zoom, image.shape)
        self.learn(image)
        return result

    def candidates(self, crop: NDArray) -> Any:
        """Run the network on a search crop (S, S, 3) or on K of them (K, S, S, 3), and read it."""
        prediction = self.predict(self.state.kernels, to_tensor(as_batch(crop), self.model))
        return self.decode(prediction)[0]

    def predict(self, kernels: Any, x: Tensor) -> Any:
        """Run the network on search images (B, 3, S, S), those of other targets included."""
        return self.model.predict(kernels, x)

    def learn(self, image: NDArray) -> None:
        """Adapt to the frame (H, W, 3) after ``update``; most trackers do not."""


def as_batch(crops: NDArray) -> NDArray:
    """A crop (S, S, 3) or several (K, S, S, 3) as several."""
    return crops if crops.ndim == 4 else crops[None]


def to_tensor(crops: NDArray, model: Any) -> Tensor:
    """Crops (B, S, S, 3) uint8 -> (B, 3, S, S) float32 on the model's device."""
    return torch.from_numpy(crops).to(_device(model)).permute(0, 3, 1, 2).float()


def _device(model: Any) -> torch.device:
    parameters = getattr(model, "parameters", tuple)
    first = next(iter(parameters()), None)
    return torch.device("cpu") if first is None else first.device
