"""Statistics of multi-task results: the unit of replication is the run, and no answer is ever NaN."""

from d2r.statistics.aggregate import (
    AGGREGATES,
    aggregate_over_runs,
    interquartile_mean,
    performance_profile,
    spearman,
    stratified_bootstrap,
)
from d2r.statistics.intervals import (
    CONFIDENCE,
    FEWEST_RUNS,
    Estimate,
    difference_interval,
    mean_interval,
    paired_difference_interval,
)

__all__ = [
    "AGGREGATES",
    "CONFIDENCE",
    "FEWEST_RUNS",
    "Estimate",
    "aggregate_over_runs",
    "difference_interval",
    "interquartile_mean",
    "mean_interval",
    "paired_difference_interval",
    "performance_profile",
    "spearman",
    "stratified_bootstrap",
]
