"""Aggregates of success over tasks, one number per run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from d2r.statistics.intervals import Estimate, Floats, mean_interval

Aggregate = Callable[[Floats], Floats]


def mean(scores: Floats) -> Floats:
    """Mean over the last axis."""
    return np.asarray(scores.mean(axis=-1))


def median(scores: Floats) -> Floats:
    """Median over the last axis."""
    return np.asarray(np.median(scores, axis=-1))


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half over the last axis (Agarwal et al., NeurIPS 2021).

    As in rliable, a quarter is cut from either end, rounded down.
    """
    return np.asarray(stats.trim_mean(scores, 0.25, axis=-1))


def optimality_gap(scores: Floats) -> Floats:
    """Mean shortfall from a success rate of 1 over the last axis; smaller is better."""
    return np.asarray((1.0 - np.minimum(scores, 1.0)).mean(axis=-1))


AGGREGATES: dict[str, Aggregate] = {
    "mean": mean,
    "iqm": interquartile_mean,
    "median": median,
    "optimality_gap": optimality_gap,
}


def aggregate_over_runs(scores: Floats, aggregate: Aggregate) -> Estimate:
    """Aggregate each run's tasks into one number, then average over runs with an interval.

    Args:
        scores: success rates, [run, task].
        aggregate: a function of the last axis, such as ``interquartile_mean``.
    """
    if scores.size == 0:
        return mean_interval([])
    return mean_interval(aggregate(scores), bounds=(0.0, 1.0))


def probability_of_improvement(first: Floats, second: Floats) -> tuple[float | None, int]:
    """Probability that a run of ``first`` beats a run of ``second`` on a task, ties half, mean over tasks.

    The definition is rliable's (Agarwal et al., NeurIPS 2021), over the tasks on which some run of either had any
    success: each of the others would add a tie, one half, and say nothing.

    Args:
        first: success rates, [run, task].
        second: likewise, of the same tasks.

    Returns:
        The probability, none without a run or such a task, and the number of these tasks.
    """
    if not (first.size and second.size):
        return None, 0
    solved = (first > 0).any(axis=0) | (second > 0).any(axis=0)
    if not solved.any():
        return None, 0
    a, b = first[:, None, solved], second[None, :, solved]
    return float(((a > b) + 0.5 * (a == b)).mean()), int(solved.sum())


def performance_profile(scores: Floats, thresholds: Floats) -> list[Estimate]:
    """Share of tasks with success above each threshold: per run, then averaged over runs.

    Args:
        scores: success rates, [run, task].
        thresholds: success rates at which the profile is read.
    """
    return [mean_interval((scores > level).mean(axis=1), bounds=(0.0, 1.0)) for level in thresholds]


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's rank correlation; None where a side is constant or has fewer than three entries."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(stats.spearmanr(first, second).statistic)
