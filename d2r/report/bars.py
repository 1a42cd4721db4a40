"""Interval bars: where on a row of a table an estimate, its interval and the ticks lie, in percent of its width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, log10

from d2r.statistics import Estimate

MARGIN = 0.04
"""Room at each end, as a share of the range."""


@dataclass(frozen=True)
class Axis:
    """The range that all bars of a column share."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """A place on the bar, such as ``37.50%``; what is beyond an end is at the end."""
        return f"{100 * self._share(value):.2f}%"

    def width(self, low: float, high: float) -> str:
        """How much of the bar lies between two values."""
        return f"{100 * (self._share(high) - self._share(low)):.2f}%"

    def _share(self, value: float) -> float:
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @property
    def ticks(self) -> list[float]:
        """Three to six round numbers inside."""
        rough = (self.high - self.low) / 5
        power = 10 ** floor(log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough)
        first, last = -floor(-self.low / step + 1e-9), floor(self.high / step + 1e-9)
        return [round(place * step, 12) for place in range(first, last + 1)]


def axis_of(estimates: Iterable[Estimate], *others: float) -> Axis:
    """An axis that holds all estimates, their intervals and these other values."""
    ends = [end for e in estimates for end in (e.value, e.low, e.high) if end is not None]
    low, high = min([*ends, *others]), max([*ends, *others])
    if low == high:
        low, high = low - 1, high + 1
    room = MARGIN * (high - low)
    return Axis(low - room, high + room)


def balanced(axis: Axis) -> Axis:
    """The same with zero in the middle."""
    size = max(abs(axis.low), abs(axis.high))
    return Axis(-size, size)
