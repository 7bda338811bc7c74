"""PySOT's running averages, for scripts written against it; nothing inside uses them."""

from __future__ import annotations

from collections import deque


class Meter:
    """Mean of the last ``num`` values."""

    def __init__(self, num: int = 100) -> None:
        self._values: deque[float] = deque(maxlen=num)

    def update(self, val: float, num: int = 1) -> None:
        """Take a value, ``num`` times."""
        self._values.extend([float(val)] * num)

    @property
    def val(self) -> float:
        """The last value; NaN if there is none."""
        return self._values[-1] if self._values else float("nan")

    @property
    def avg(self) -> float:
        """The mean; NaN of no value."""
        return sum(self._values) / len(self._values) if self._values else float("nan")

    def __repr__(self) -> str:
        return f"{self.val:.6f} ({self.avg:.6f})"


class AverageMeter:
    """Meters by name, which the first value of a name makes; they are attributes."""

    def __init__(self, num: int = 100) -> None:
        self.num = num
        self._meters: dict[str, Meter] = {}

    def update(self, **values: float) -> None:
        """Take a value for each name."""
        for name, value in values.items():
            self._meters.setdefault(name, Meter(self.num)).update(value)

    def __getattr__(self, name: str) -> Meter:
        try:
            return self.__dict__["_meters"][name]
        except KeyError:
            raise AttributeError(f"there is no meter {name!r}") from None

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {meter}" for name, meter in self._meters.items())
