"""Aggregates of success over tasks, one number per run; and rliable's stratified bootstrap beside them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from d2r.statistics.intervals import BOOTSTRAP_SEED, CONFIDENCE, Estimate, Floats, mean_interval

Aggregate = Callable[[Floats], Floats]


def mean(scores: Floats) -> Floats:
    """Mean over the last axis."""
    return np.asarray(scores.mean(axis=-1))


def median(scores: Floats) -> Floats:
    """Median over the last axis."""
    return np.asarray(np.median(scores, axis=-1))


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of the middle half over the last axis (Agarwal et al., NeurIPS 2021).

    As in rliable and ``scipy.stats.trim_mean``, a quarter is cut from either end, rounded down.
    """
    cut = int(0.25 * scores.shape[-1])
    ordered = np.sort(scores, axis=-1)
    return np.asarray(ordered[..., cut : scores.shape[-1] - cut].mean(axis=-1))


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


def stratified_bootstrap(scores: Floats, aggregate: Aggregate, replicates: int = 2000) -> Estimate:
    """Rliable's interval: runs resampled independently for each task, aggregate over all runs and tasks, percentiles.

    For comparison only. It takes the tasks of one run for independent, which they are not: one seed of a
    multi-task method succeeds or fails on many of them together, and so the interval is too narrow (see
    ``docs/statistics.md``).

    Args:
        scores: success rates, [run, task].
        aggregate: a function of the last axis; runs and tasks are flattened into it.
        replicates: bootstrap samples.
    """
    runs, tasks = scores.shape if scores.ndim == 2 else (0, 0)
    if runs == 0:
        return Estimate(None, None, None, 0, "none", "no finished run")
    value = float(aggregate(scores.reshape(-1)))
    if runs == 1:
        return Estimate(value, None, None, 1, "none", "one run: no interval")
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    picks = rng.integers(runs, size=(replicates, runs, tasks))
    samples = np.take_along_axis(scores[None], picks, axis=1).reshape(replicates, runs * tasks)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(aggregate(samples), [tail, 1 - tail])
    return Estimate(value, float(low), float(high), runs, "bootstrap")


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
