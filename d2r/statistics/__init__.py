"""Statistics of multi-task results: the unit of replication is the run, and no answer is ever NaN."""

from d2r.statistics.aggregate import (
    AGGREGATES,
    aggregate_over_runs,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    spearman,
)
from d2r.statistics.intervals import CONFIDENCE, FEWEST_RUNS, Bounds, Estimate, Floats, mean_interval
from d2r.statistics.model import Model, runs_to_settle
from d2r.statistics.verdicts import OTHER_SIDE, Direction, Verdict, verdict

__all__ = [
    "AGGREGATES",
    "CONFIDENCE",
    "FEWEST_RUNS",
    "OTHER_SIDE",
    "Bounds",
    "Direction",
    "Estimate",
    "Floats",
    "Model",
    "Verdict",
    "aggregate_over_runs",
    "interquartile_mean",
    "mean_interval",
    "performance_profile",
    "probability_of_improvement",
    "runs_to_settle",
    "spearman",
    "verdict",
]
