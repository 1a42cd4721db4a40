"""One measure on one benchmark: method plus run, with one spread for all methods, not paired by seed.

Differences to a control carry intervals with Dunnett's adjustment, which hold together in 95 % of experiments ("A
Multiple Comparison Procedure for Comparing Several Treatments with a Control", Journal of the American Statistical
Association 50, 1955).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from scipy import stats

from d2r.statistics.intervals import CONFIDENCE, Bounds, Estimate, Floats, as_runs, bounded, is_constant
from d2r.statistics.verdicts import Direction

POWER = 0.8
"""How surely the number of runs that is named would settle a question, if what was seen is the truth."""
TRIES = 5
MOST_RUNS = 1000
"""More runs than anybody will make: no number is named above it."""


@dataclass(frozen=True)
class Model:
    """Runs of several methods, as their means and one spread.

    Attributes:
        runs: one number per finished run, by method; methods without a finished run may be named.
        control: the method that the others are compared with.
        bounds: range of the measure.
    """

    runs: Mapping[str, Floats]
    control: str
    bounds: Bounds | None = None

    @classmethod
    def of(cls, runs: Mapping[str, Iterable[float]], control: str, bounds: Bounds | None = None) -> Model:
        """The model of these runs.

        Raises:
            ValueError: if a number is not finite.
        """
        return cls({name: as_runs(values) for name, values in runs.items()}, control, bounds)

    @cached_property
    def measured(self) -> dict[str, Floats]:
        """Methods with a finished run."""
        return {name: values for name, values in self.runs.items() if len(values)}

    @cached_property
    def freedom(self) -> int:
        """Degrees of freedom of the spread."""
        return sum(len(values) - 1 for values in self.measured.values())

    @cached_property
    def spread(self) -> float | None:
        """Standard deviation between runs of one method, pooled over methods; none where no two runs differ."""
        if not self.freedom or all(is_constant(values) for values in self.measured.values()):
            return None
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in self.measured.values())
        return float(np.sqrt(squares / self.freedom))

    @cached_property
    def comparisons(self) -> int:
        """Number of methods that the control is compared with."""
        return len(self.measured.keys() - {self.control})

    def to_control(self, method: str) -> Estimate:
        """Mean of a method minus the control's, with Dunnett's interval over all methods."""
        if self.spread is None or self.control not in self.measured or method not in self.measured:
            return self._without_interval(method, self.control)
        others = tuple(sorted(len(values) for name, values in self.measured.items() if name != self.control))
        critical = dunnett_critical_value(others, len(self.measured[self.control]))
        return self._difference(method, self.control, critical, "Dunnett")

    def between(self, first: str, second: str) -> Estimate:
        """Mean of the first method minus the second's, with the spread of all methods and nothing adjusted."""
        if self.spread is None or not {first, second} <= self.measured.keys():
            return self._without_interval(first, second)
        return self._difference(first, second, float(stats.t.ppf(0.5 + CONFIDENCE / 2, self.freedom)), "t")

    def _difference(
        self, first: str, second: str, critical: float, method: Literal["Dunnett", "t"]
    ) -> Estimate:
        assert self.spread is not None
        a, b = self.measured[first], self.measured[second]
        half = critical * self.spread * np.sqrt(1 / len(a) + 1 / len(b))
        limits = (
            None
            if self.bounds is None
            else (self.bounds[0] - self.bounds[1], self.bounds[1] - self.bounds[0])
        )
        return bounded(float(a.mean() - b.mean()), half, min(len(a), len(b)), method, limits)

    def _without_interval(self, first: str, second: str) -> Estimate:
        if not {first, second} <= self.measured.keys():
            return Estimate(None, None, None, 0, "none", "no finished run on one side")
        a, b = self.measured[first], self.measured[second]
        alike = "equal" if self.freedom else "alone"
        note = f"all runs of each method {alike}: spread cannot be estimated"
        return Estimate(float(a.mean() - b.mean()), None, None, min(len(a), len(b)), "none", note)


@lru_cache(maxsize=256)
def dunnett_critical_value(others: tuple[int, ...], control: int) -> float:
    """Half-width, in standard errors of a difference, of the 95 % intervals that hold together.

    It depends on the numbers of runs alone, so SciPy is asked about stand-ins of a known spread, once for all measures.
    SciPy searches for it by random sampling, with fixed seeds here: the first with which it finds it, since it says
    when it did not. It is sure of about three digits, and rounded to as many decimals, so that every processor gives
    the same bytes.

    Args:
        others: number of runs of each method that is compared with the control.
        control: number of the control's runs.
    """
    samples = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (*others, control)]
    for seed in range(TRIES):
        result = stats.dunnett(*samples[:-1], control=samples[-1], rng=np.random.default_rng(seed))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            interval = result.confidence_interval(CONFIDENCE)
        if not said:
            break
    freedom = sum(len(values) - 1 for values in samples)
    spread = np.sqrt(sum(float((values**2).sum()) for values in samples) / freedom)
    error = spread * np.sqrt(1 / others[0] + 1 / control)
    half_width = float(interval.high[0] - interval.low[0]) / 2
    return round(half_width / float(error), 3)


def runs_to_settle(
    spread: float,
    difference: float,
    smallest: float | None,
    methods: int = 2,
    direction: Direction = "higher",
) -> int | None:
    """Runs of each method that would settle an open question with a probability of 80 %, if what was seen is true.

    It is settled when the interval supports or refutes (``verdicts.py``), whichever is nearer. Bonferroni's critical
    value stands for Dunnett's, which is a little smaller.

    Args:
        spread: standard deviation between runs of one method.
        difference: as found.
        smallest: effect worth having; none: any.
        methods: in the model, the control among them; 1 for a mean that is compared with zero.
        direction: that is claimed of the difference.

    Returns:
        None if more than ``MOST_RUNS`` would be needed.
    """
    claimed = {"higher": difference, "lower": -difference, "equal": abs(difference)}[direction]
    distance = claimed if smallest is None else max(claimed, smallest - claimed)
    if distance <= 0:
        return None
    n = np.arange(2, MOST_RUNS + 1)
    freedom = methods * (n - 1)
    comparisons = max(1, methods - 1)
    critical = stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / comparisons, freedom)
    error = spread * np.sqrt(min(methods, 2) / n)
    enough = (critical + stats.t.ppf(POWER, freedom)) * error <= distance
    return int(n[enough.argmax()]) if enough.any() else None
