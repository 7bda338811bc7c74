"""PyTorch modules behind the interface that trackers use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from pysot.inference import probabilities
from pysot.tracker.network import Network


class TorchNetwork(Network):
    """Runs a model that has ``encode_template``, ``predict`` and, for masks, two methods more.

    These are ``predict_with_mask`` and ``refine``; see ``pysot.models.model_builder``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def device(self) -> str:
        """See :meth:`Network.device`."""
        device = self._device()
        name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        return f"{device}{name}"

    def inference(self) -> AbstractContextManager:
        """See :meth:`Network.inference`."""
        return torch.inference_mode()

    @torch.inference_mode()
    def encode(self, crops: NDArray) -> Any:
        """See :meth:`Network.encode`."""
        return self.model.encode_template(self.images(crops))

    @torch.inference_mode()
    def search(self, kernels: Any, crops: NDArray, masks: bool = False) -> Any:
        """See :meth:`Network.search`."""
        predict = self.model.predict_with_mask if masks else self.model.predict
        return predict(kernels, self.images(crops))

    @torch.inference_mode()
    def outputs(self, prediction: Any) -> tuple[NDArray, NDArray | None]:
        """See :meth:`Network.outputs`."""
        scores, deltas = probabilities(*prediction[:2])
        if deltas is None:
            return scores.cpu().numpy(), None
        parts = [scores.reshape(len(scores), 1, -1), deltas.reshape(len(deltas), 4, -1)]
        both = torch.cat(parts, dim=1).cpu().numpy()  # one copy from the device
        return both[:, 0], both[:, 1:]

    @torch.inference_mode()
    def refine(self, prediction: Any, position: tuple[int, int]) -> NDArray:
        """See :meth:`Network.refine`."""
        logits = self.model.refine(prediction, position)
        return torch.sigmoid(logits.float()).cpu().numpy()

    def repeated(self, arrays: Sequence[Any], repeats: int) -> Any:
        """See :meth:`Network.repeated`."""
        batch = torch.cat(list(arrays))
        return batch if repeats == 1 else batch.repeat_interleave(repeats, dim=0)

    def images(self, crops: NDArray) -> Tensor:
        """Move crops to the model's device, (B, 3, S, S) float32."""
        return torch.from_numpy(crops).to(self._device()).permute(0, 3, 1, 2).float()

    def _device(self) -> torch.device:
        first = next(iter(getattr(self.model, "parameters", tuple)()), None)
        return torch.device("cpu") if first is None else first.device
