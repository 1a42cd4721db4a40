"""Estimates with 95 % confidence intervals over runs; a run is one seed of a multi-task method.

``docs/statistics.md`` states the rules, and ``docs/appendix/coverage.md`` how often they are right, simulated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
FEWEST_RUNS = 3
"""With fewer runs a t interval is so wide (12.7 standard errors at two) that it says nothing: no verdict, no band."""

Floats = npt.NDArray[np.float64]
Bounds = tuple[float, float]
IntervalMethod = Literal["t", "Dunnett", "bootstrap", "none"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, or with the reason why it has none."""

    value: float | None
    """None where no run finished."""
    low: float | None
    high: float | None
    n: int
    """Runs behind the value; for a difference, those of the smaller side."""
    method: IntervalMethod
    note: str = ""
    """Why there is no interval; empty where there is one."""

    @property
    def has_interval(self) -> bool:
        """Whether ``low`` and ``high`` are given."""
        return self.low is not None

    @property
    def no_verdict(self) -> str | None:
        """Why nothing may be concluded from this, if so."""
        if not self.has_interval:
            return "no interval"
        return f"fewer than {FEWEST_RUNS} runs" if self.n < FEWEST_RUNS else None

    def separated_from(self, reference: float) -> Literal[-1, 0, 1]:
        """1 or -1 if the interval lies above or below ``reference``; 0 if not, or without an interval."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > reference else -1 if self.high < reference else 0

    def __neg__(self) -> Estimate:
        """The same of the quantity with the other sign."""
        value, low, high = (None if x is None else -x for x in (self.value, self.high, self.low))
        return Estimate(value, low, high, self.n, self.method, self.note)


def as_runs(values: Iterable[float]) -> Floats:
    """One finite float per run.

    Raises:
        ValueError: if a value is not finite; a missing run has to be left out, not passed as NaN.
    """
    array = np.asarray(list(values), dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("expected one finite value per run")
    return array


TIE_DIGITS = 12
"""Means of the same counts may differ in their last bits: they are rounded to so many digits before they are ranked."""


def is_constant(values: Floats) -> bool:
    """Whether all runs agree up to rounding, so that their spread says nothing."""
    scale = max(1.0, float(np.abs(values).max(initial=0.0)))
    return len(values) > 0 and float(np.ptp(values)) <= 1e-12 * scale


def mean_interval(values: Iterable[float], bounds: Bounds | None = None) -> Estimate:
    """Mean over runs with Student's t interval.

    Args:
        values: one number per run.
        bounds: range that the quantity cannot leave, to which the interval is cut (no coverage is lost by that).
    """
    runs = as_runs(values)
    n = len(runs)
    if n == 0:
        return Estimate(None, None, None, 0, "none", "no finished run")
    value = float(runs.mean())
    if n == 1:
        return Estimate(value, None, None, 1, "none", "one run: no interval")
    if is_constant(runs):
        return Estimate(value, None, None, n, "none", f"all {n} runs equal: spread cannot be estimated")
    error = float(runs.std(ddof=1)) / np.sqrt(n)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    return bounded(value, half, n, "t", bounds)


def bounded(value: float, half: float, n: int, method: IntervalMethod, bounds: Bounds | None) -> Estimate:
    """Value plus and minus ``half``, cut to the range that its quantity cannot leave; it always holds the value."""
    low, high = value - half, value + half
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(value, min(low, value), max(high, value), n, method)
