"""Comparing two methods by their runs: difference, probability of improvement, p values, effect size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from d2r.statistics.intervals import (
    BOOTSTRAP_FROM,
    BOOTSTRAP_SEED,
    CONFIDENCE,
    REPLICATES,
    TIE_DIGITS,
    Estimate,
    Floats,
    bounded,
    difference_interval,
    expanded_percentiles,
    is_constant,
    paired_difference_interval,
    welch_error,
)

EXACT_SPLITS = 200_000
"""Largest number of ways to split the runs for which the Mann-Whitney p value is counted out: ten against ten, as
the scale ``paper`` has them, are 184,756."""


@dataclass(frozen=True)
class Comparison:
    """First method against second on one benchmark; every number is about whole runs."""

    difference: Estimate
    paired: bool
    """Whether ``difference`` and ``p`` are over pairs of runs that share a seed."""
    improvement: Estimate
    """Probability that a run of the first beats one of the second on a task, averaged over tasks."""
    p: float | None
    """Of the t test that belongs to ``difference``; None where it cannot be computed."""
    p_holm: float | None
    """``p`` corrected for all comparisons of its family."""
    p_rank: float | None
    """Mann-Whitney, exact."""
    smallest_p_rank: float | None
    """The smallest value that ``p_rank`` can take with this many runs."""
    effect: float | None
    """Hedges' g: difference over pooled standard deviation, corrected for small samples."""
    runs: tuple[int, int]

    @property
    def verdict(self) -> str:
        """``higher``, ``lower`` or ``not separated`` by the interval of the difference, or why there is no verdict."""
        if self.difference.no_verdict is not None:
            return self.difference.no_verdict
        return {1: "higher", -1: "lower", 0: "not separated"}[self.difference.separated_from(0.0)]


def compare_scores(first: Floats, second: Floats, paired: bool) -> Comparison:
    """Compare success rates [run, task] of two methods.

    Args:
        first: one row per run.
        second: likewise; with ``paired``, row i shares its seed with row i of ``first``.
        paired: take differences within pairs.
    """
    a, b = (scores.mean(axis=1) if scores.size else np.empty(0) for scores in (first, second))
    interval = paired_difference_interval if paired else difference_interval
    return Comparison(
        difference=interval(a, b, bounds=(-1.0, 1.0)),
        paired=paired,
        improvement=probability_of_improvement(first, second),
        p=paired_p(a, b) if paired else welch_p(a, b),
        p_holm=None,
        p_rank=mann_whitney_p(a, b),
        smallest_p_rank=smallest_rank_p(len(a), len(b)),
        effect=hedges_g(a, b),
        runs=(len(a), len(b)),
    )


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with ``p_holm`` filled in over all of them."""
    adjusted = holm([comparison.p for comparison in comparisons])
    return [replace(comparison, p_holm=p) for comparison, p in zip(comparisons, adjusted, strict=True)]


def probability_of_improvement(first: Floats, second: Floats) -> Estimate:
    """Probability that a run of ``first`` beats a run of ``second`` on a task, ties half, mean over tasks.

    The definition is rliable's (Agarwal et al. 2021). The interval treats whole runs as units: Brunner and
    Munzel's t approximation on the placements below ten runs (Biometrical Journal 42, 2000), the bootstrap
    over runs from ten.

    Args:
        first: success rates, [run, task].
        second: success rates, [run, task].
    """
    n = min(len(first), len(second)) if first.size and second.size else 0
    if n == 0:
        return Estimate(None, None, None, 0, "none", "no finished run on one side")
    wins = (first[:, None, :] > second[None, :, :]) + 0.5 * (first[:, None, :] == second[None, :, :])
    beats: Floats = wins.mean(axis=2)
    value = float(beats.mean())
    if n == 1:
        return Estimate(value, None, None, 1, "none", "one run on one side: no interval")
    rows, columns = beats.mean(axis=1), beats.mean(axis=0)
    if is_constant(rows) and is_constant(columns):
        note = "every pair of runs compares alike: spread cannot be estimated"
        return Estimate(value, None, None, n, "none", note)
    error, freedom = welch_error(rows, columns)
    if n < BOOTSTRAP_FROM:
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
        return bounded(value, value - half, value + half, n, "Brunner-Munzel", (0.0, 1.0))
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    picks = [rng.multinomial(k, np.full(k, 1 / k), REPLICATES) / k for k in beats.shape]
    replicates = ((picks[0] @ beats) * picks[1]).sum(axis=1)
    low, high = expanded_percentiles(replicates, error, freedom)
    return bounded(value, low, high, n, "bootstrap", (0.0, 1.0))


def welch_p(a: Floats, b: Floats) -> float | None:
    """Two-sided p of Welch's t test; 1 where both sides are constant and equal, None where undefined."""
    if min(len(a), len(b)) < 2:
        return None
    if is_constant(a) and is_constant(b):
        return 1.0 if is_constant(np.concatenate([a, b])) else None
    error, freedom = welch_error(a, b)
    return float(2 * stats.t.sf(abs(a.mean() - b.mean()) / error, freedom))


def paired_p(a: Floats, b: Floats) -> float | None:
    """Two-sided p of the paired t test; 1 where all pairs are equal, None where undefined."""
    difference = a - b
    if len(difference) < 2:
        return None
    if is_constant(difference):
        return 1.0 if abs(difference[0]) < 1e-12 else None
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return float(2 * stats.t.sf(abs(difference.mean()) / error, len(difference) - 1))


def mann_whitney_p(a: Floats, b: Floats) -> float | None:
    """Two-sided p of the Mann-Whitney test, counted over all splits of the runs, so ties are no problem.

    Above ``EXACT_SPLITS`` splits the normal approximation with tie correction is used.
    """
    if min(len(a), len(b)) == 0:
        return None
    pooled = np.concatenate([a, b]).round(TIE_DIGITS)
    if is_constant(pooled):
        return 1.0
    if comb(len(pooled), len(a)) > EXACT_SPLITS:
        return float(stats.mannwhitneyu(*np.split(pooled, [len(a)]), method="asymptotic").pvalue)
    ranks = stats.rankdata(pooled)
    expected = len(a) * ranks.mean()
    splits = ranks[_splits(len(pooled), len(a))].sum(axis=1)
    extreme = np.abs(splits - expected) >= abs(ranks[: len(a)].sum() - expected) - 1e-9
    return float(extreme.mean())


@lru_cache(maxsize=8)
def _splits(total: int, chosen: int) -> NDArray[np.intp]:
    """All ways to choose ``chosen`` of ``total`` runs, [split, chosen]."""
    return np.array(list(combinations(range(total), chosen)), dtype=np.intp)


def smallest_rank_p(first: int, second: int) -> float | None:
    """Smallest two-sided Mann-Whitney p that these numbers of runs can give: 0.1 for three against three."""
    return min(1.0, 2 / comb(first + second, first)) if min(first, second) > 0 else None


def hedges_g(a: Floats, b: Floats) -> float | None:
    """Standardised difference with Hedges' small-sample correction; None where both sides are constant."""
    freedom = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2:
        return None
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / freedom
    if is_constant(a) and is_constant(b):
        return 0.0 if is_constant(np.concatenate([a, b])) else None
    difference = (a.mean() - b.mean()).round(TIE_DIGITS)
    return float(difference / np.sqrt(pooled) * (1 - 3 / (4 * freedom - 1)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; an undefined p stays undefined and counts for nothing."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[index] = running
    return adjusted
