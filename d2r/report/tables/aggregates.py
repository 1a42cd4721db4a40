"""Mean, interquartile mean, median and optimality gap; and how fast methods learn."""

from __future__ import annotations

import numpy as np

from d2r.findings.measures import AREA
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, estimate, tabulate
from d2r.report.tables.main import mean_of
from d2r.report.tables.notes import INTERVAL, LATE, LOST
from d2r.report.tables.rows import BENCHMARK, METHOD, RUNS, SCALE, Entry, entries
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent_interval, steps
from d2r.statistics import AGGREGATES, Estimate, aggregate_over_runs
from d2r.statistics.efficiency import Reach, reach

THRESHOLDS = (0.25, 0.5, 0.75)


def aggregates_table(results: Results) -> Table:
    """The four aggregates over tasks."""
    notes = (
        LATE,
        (
            "Each aggregate is taken over the tasks of a run and then averaged over runs; IQM is the mean of the "
            "middle half of the tasks, the optimality gap the mean shortfall from 100 % (smaller is better)."
        ),
        INTERVAL,
        LOST,
    )
    title = "Aggregates of success over tasks, in percent"
    return tabulate("aggregates", title, AGGREGATE_COLUMNS, entries(results), notes, results.label)


def _aggregate(name: str, title: str) -> Column[Entry]:
    def value(row: Entry) -> Estimate:
        late = row.results.late_by_task("success", row.benchmark, row.id)
        return aggregate_over_runs(late.to_numpy(dtype=float), AGGREGATES[name])

    return estimate(title, name, value, percent_interval, lambda row: row.folder)


AGGREGATE_COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    _aggregate("mean", "mean"),
    _aggregate("iqm", "IQM"),
    _aggregate("median", "median"),
    _aggregate("optimality_gap", "optimality gap"),
    RUNS,
)


def efficiency_table(results: Results) -> Table:
    """Area under the learning curve and steps until success rates are reached."""
    rows = [row for row in entries(results) if not results.curves("success", row.benchmark, row.id).empty]
    notes = (
        (
            "Area under curve: mean success in percent over training. Steps to a level: Kaplan-Meier median of "
            "the steps per task until the mean over tasks first reaches it; runs that never do are censored at "
            "their last step, and '>' means that fewer than half of the runs got there. The CSV also has the mean "
            "steps spent below the level."
        ),
        INTERVAL,
        LOST,
    )
    return tabulate("efficiency", "Sample efficiency", EFFICIENCY_COLUMNS, rows, notes, results.label)


def _reach(row: Entry, level: float) -> Reach:
    curves = row.results.curves("success", row.benchmark, row.id)
    return reach(curves.columns.to_numpy(dtype=float), curves.to_numpy(dtype=float), level)


def _steps_to(level: float) -> Column[Entry]:
    title = f"{100 * level:.0f}"

    def cell(row: Entry) -> Cell:
        found = _reach(row, level)
        last = float(row.results.curves("success", row.benchmark, row.id).columns[-1])
        median = steps(found.median) if found.median is not None else f">{steps(last)}"
        sort = found.median if found.median is not None else np.inf
        return Cell(f"{median} ({found.reached}/{found.n} runs)", sort=sort, runs=row.folder)

    def values(row: Entry) -> tuple[object, ...]:
        found = _reach(row, level)
        return found.median, found.reached, found.restricted_mean.value

    names = (f"median_steps_to_{title}", f"runs_reached_{title}", f"mean_steps_below_{title}")
    return Column(f"steps to {title} %", names, values, cell)


EFFICIENCY_COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    estimate(
        "area under curve",
        "area_under_curve",
        lambda row: mean_of(row, AREA),
        percent_interval,
        lambda row: row.folder,
    ),
    *(_steps_to(level) for level in THRESHOLDS),
    RUNS,
)
