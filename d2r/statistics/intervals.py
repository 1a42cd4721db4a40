"""Estimates with confidence intervals over runs; a run is one seed of a multi-task method.

Below ten runs the interval is Student's t, or Welch's for a difference. From ten runs on it is a percentile
bootstrap over whole runs, with its percentiles moved outwards by the factor that makes it as wide as the t
interval for normal data (the expanded percentile interval of Hesterberg, "What Teachers Should Know About
the Bootstrap", The American Statistician 69(4), 2015, section 4.3). Without the expansion it covers about
90 % instead of 95 % at ten runs. ``docs/statistics.md`` holds the simulated coverage of everything here.
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
"""Below this a t-interval is so wide (12.7 standard errors at two runs) that it says nothing: no verdict, no band."""
BOOTSTRAP_FROM = 10
"""Number of runs from which the interval is a bootstrap."""
REPLICATES = 10_000
BOOTSTRAP_SEED = 20231224

Floats = npt.NDArray[np.float64]
IntervalMethod = Literal["t", "Welch", "bootstrap", "Brunner-Munzel", "none"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, or with the reason why it has none."""

    value: float | None
    """None where no run finished."""
    low: float | None
    high: float | None
    n: int
    """Runs behind the value; for a difference of unpaired runs, those of the smaller group."""
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
"""Means of the same counts may differ in their last bits: they are rounded to so many digits before they are ranked or
an effect is made of them."""


def is_constant(values: Floats) -> bool:
    """Whether all runs agree up to rounding, so that their spread says nothing."""
    scale = max(1.0, float(np.abs(values).max(initial=0.0)))
    return len(values) > 0 and float(np.ptp(values)) <= 1e-12 * scale


def mean_interval(values: Iterable[float], bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean over runs with its interval.

    Args:
        values: one number per run.
        bounds: range that the quantity cannot leave, to which a t interval is cut (no coverage is lost by
            that).
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
    if n < BOOTSTRAP_FROM:
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
        return bounded(value, value - half, value + half, n, "t", bounds)
    replicates = _resampled_means(runs, np.random.default_rng(BOOTSTRAP_SEED))
    low, high = expanded_percentiles(replicates, error, n - 1)
    return bounded(value, low, high, n, "bootstrap", bounds)


def difference_interval(
    first: Iterable[float],
    second: Iterable[float],
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Difference of two independent groups' means (first minus second), with unequal variances.

    A group without spread (say, all runs at 0) adds no variance; where neither group has any, there is no
    interval.
    """
    a, b = as_runs(first), as_runs(second)
    n = min(len(a), len(b))
    if n == 0:
        return Estimate(None, None, None, 0, "none", "no finished run on one side")
    value = float(a.mean() - b.mean())
    if n == 1:
        return Estimate(value, None, None, 1, "none", "one run on one side: no interval")
    if is_constant(a) and is_constant(b):
        return Estimate(
            value, None, None, n, "none", "all runs equal on both sides: spread cannot be estimated"
        )
    error, freedom = welch_error(a, b)
    if n < BOOTSTRAP_FROM:
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
        return bounded(value, value - half, value + half, n, "Welch", bounds)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    replicates = _resampled_means(a, rng) - _resampled_means(b, rng)
    low, high = expanded_percentiles(replicates, error, freedom)
    return bounded(value, low, high, n, "bootstrap", bounds)


def paired_difference_interval(
    first: Iterable[float],
    second: Iterable[float],
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Mean of first minus second over pairs of runs that share a seed (and so, on ``fixed``, their goals)."""
    a, b = as_runs(first), as_runs(second)
    if len(a) != len(b):
        raise ValueError("pairs need equally many runs on both sides")
    estimate = mean_interval(a - b, bounds)
    if estimate.note.startswith("all"):
        note = f"all {len(a)} pairs differ alike: spread cannot be estimated"
        return Estimate(estimate.value, None, None, estimate.n, "none", note)
    if not estimate.n:
        return Estimate(None, None, None, 0, "none", "no seed finished on both sides")
    return estimate


def welch_error(a: Floats, b: Floats) -> tuple[float, float]:
    """Standard error of a difference of means and its Welch-Satterthwaite degrees of freedom."""
    va, vb = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return float(np.sqrt(va + vb)), freedom


def _resampled_means(runs: Floats, rng: np.random.Generator) -> Floats:
    picks = rng.integers(len(runs), size=(REPLICATES, len(runs)))
    means: Floats = runs[picks].mean(axis=1)
    return means


def expanded_percentiles(replicates: Floats, error: float, freedom: float) -> tuple[float, float]:
    """Percentiles at Phi(-t * error / bootstrap error) from either end."""
    ratio = error / float(replicates.std())
    tail = float(stats.norm.cdf(-stats.t.ppf(0.5 + CONFIDENCE / 2, freedom) * ratio))
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def bounded(
    value: float, low: float, high: float, n: int, method: IntervalMethod, bounds: tuple[float, float] | None
) -> Estimate:
    """An estimate cut to the range that its quantity cannot leave; the interval always holds the value."""
    if bounds is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(value, min(low, value), max(high, value), n, method)
