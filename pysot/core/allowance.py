"""A limit on what networks may weigh."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MOST_WEIGHTS = 200_000_000  # drawn at random in about 2 s; a ResNet-50 tracker has 54 million


class Allowance(TorchFunctionMode):
    """Refuses to build more than 200 million weights, before there is memory for them."""

    allocated = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is torch.empty and args and isinstance(args[0], (tuple, int)):
            self.allocated += math.prod(args[0] if isinstance(args[0], tuple) else args)
            if self.allocated > _MOST_WEIGHTS:
                raise OverflowError(f"more than {_MOST_WEIGHTS} weights")
        return func(*args, **(kwargs or {}))
