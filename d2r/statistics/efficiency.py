"""Sample efficiency: steps until a success rate is reached, runs that never reach it, and area under the curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from d2r.statistics.intervals import Estimate, Floats, mean_interval


@dataclass(frozen=True)
class Reach:
    """When runs reach a threshold. A run that never does is censored at its last step, not dropped."""

    reached: int
    n: int
    median: float | None
    """Kaplan-Meier median of the steps needed; None where fewer than half of the runs get there."""
    restricted_mean: Estimate
    """Mean of min(steps needed, budget): steps spent below the threshold within the budget."""


def steps_to_threshold(steps: Floats, curves: Floats, threshold: float) -> tuple[Floats, list[bool]]:
    """First evaluation at which each run's success is at least ``threshold``.

    Args:
        steps: evaluation steps, [step], ascending.
        curves: success, [run, step].
        threshold: success rate.

    Returns:
        Steps (the last one for a run that does not get there) and whether each run got there.
    """
    above = np.greater_equal(curves, threshold)
    reached = [bool(run.any()) for run in above]
    first = [int(run.argmax()) if run.any() else len(steps) - 1 for run in above]
    return np.asarray(steps[first], dtype=np.float64), reached


def reach(steps: Floats, curves: Floats, threshold: float) -> Reach:
    """Summary of ``steps_to_threshold`` over runs that were all observed to the same last step."""
    if curves.size == 0:
        return Reach(0, 0, None, mean_interval([]))
    times, reached = steps_to_threshold(steps, curves, threshold)
    span = (0.0, float(steps[-1]))
    return Reach(sum(reached), len(reached), kaplan_meier_median(times, reached), mean_interval(times, span))


def kaplan_meier_median(times: Floats, observed: list[bool]) -> float | None:
    """Time at which the Kaplan-Meier estimate of still being below the threshold falls to one half."""
    censored = ~np.asarray(observed, dtype=bool)
    below = stats.ecdf(stats.CensoredData.right_censored(times, censored)).sf
    fallen = below.quantiles[below.probabilities <= 0.5 + 1e-12]
    return float(fallen[0]) if len(fallen) else None


def area_under_curve(steps: Floats, curves: Floats) -> Floats:
    """Mean height of each run's curve between its first and last evaluation (trapezoid rule), [run].

    With a single evaluation it is that evaluation's value.
    """
    if len(steps) < 2:
        return np.asarray(curves[:, -1], dtype=np.float64) if curves.size else np.empty(0)
    return np.asarray(np.trapezoid(curves, steps, axis=1) / (steps[-1] - steps[0]), dtype=np.float64)
