"""Mean, interquartile mean, median and optimality gap; and how fast methods learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from d2r.findings.results import Results
from d2r.report.tables.notes import INTERVAL, LOST
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent_interval, run_count, steps
from d2r.statistics import (
    AGGREGATES,
    Estimate,
    aggregate_over_runs,
    mean_interval,
    stratified_bootstrap,
)
from d2r.statistics.efficiency import area_under_curve, reach

THRESHOLDS = (0.25, 0.5, 0.75)


def aggregates_table(results: Results) -> Table:
    """The four aggregates over tasks, and rliable's interval of the interquartile mean beside ours."""
    header = [
        "benchmark",
        "method",
        "mean",
        "IQM",
        "median",
        "optimality gap",
        "IQM, rliable (comparison only)",
        "runs",
    ]
    rows, data = [], []
    for benchmark in results.benchmarks:
        for method in results.methods:
            counts = results.run_counts(benchmark, method.id)
            if not counts["all"]:
                continue
            scores = results.scores(benchmark, method.id).to_numpy(dtype=float)
            estimates = {name: aggregate_over_runs(scores, function) for name, function in AGGREGATES.items()}
            pooled = stratified_bootstrap(scores, AGGREGATES["iqm"])
            runs = f"{benchmark}/{method.id}" if counts["finished"] else ""
            rows.append(
                [
                    Cell(benchmark),
                    Cell(method.title),
                    *(
                        Cell(percent_interval(value), sort=value.value, runs=runs)
                        for value in estimates.values()
                    ),
                    Cell(percent_interval(pooled), sort=pooled.value),
                    Cell(run_count(counts)),
                ]
            )
            for name, value in [*estimates.items(), ("iqm_rliable_stratified", pooled)]:
                data.append(
                    {"benchmark": benchmark, "method": method.id, "aggregate": name, **estimate_fields(value)}
                )
    notes = (
        (
            "Each aggregate is taken over the tasks of a run and then averaged over runs; IQM is the mean of the "
            "middle half of the tasks, the optimality gap the mean shortfall from 100 % (smaller is better)."
        ),
        INTERVAL,
        (
            "rliable's column pools runs and tasks and resamples runs independently within each task. It takes "
            "the tasks of one run for independent, so its interval is too narrow (docs/statistics.md); it is here "
            "for comparison only."
        ),
        LOST,
    )
    frame = pd.DataFrame(data)
    frame.insert(0, "scale", results.scale)
    title = "Aggregates of final success in percent"
    return Table("aggregates", title, header, rows, frame, notes, scope=results.label)


def efficiency_table(results: Results) -> Table:
    """Area under the learning curve and steps until success rates are reached."""
    levels = [f"{100 * level:.0f} %" for level in THRESHOLDS]
    header = ["benchmark", "method", "area under curve", *(f"steps to {level}" for level in levels), "runs"]
    rows, data = [], []
    for benchmark in results.benchmarks:
        for method in results.methods:
            counts = results.run_counts(benchmark, method.id)
            table = results.curves("success", benchmark, method.id)
            if table.empty:
                continue
            at, curves = table.columns.to_numpy(dtype=float), table.to_numpy(dtype=float)
            area = mean_interval(area_under_curve(at, curves), (0.0, 1.0))
            runs = f"{benchmark}/{method.id}"
            row = [
                Cell(benchmark),
                Cell(method.title),
                Cell(percent_interval(area), sort=area.value, runs=runs),
            ]
            base: dict[str, Any] = {"scale": results.scale, "benchmark": benchmark, "method": method.id}
            data.append({**base, "quantity": "area_under_curve", **estimate_fields(area)})
            for level in THRESHOLDS:
                found = reach(at, curves, level)
                median = steps(found.median) if found.median is not None else f">{steps(at[-1])}"
                sort = found.median if found.median is not None else np.inf
                row.append(Cell(f"{median} ({found.reached}/{found.n} runs)", sort=sort, runs=runs))
                data.append(
                    {
                        **base,
                        "quantity": f"steps_below_{100 * level:.0f}_percent",
                        **estimate_fields(found.restricted_mean),
                        "median_steps_to_reach": found.median,
                        "runs_reached": found.reached,
                    }
                )
            rows.append([*row, Cell(run_count(counts))])
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
    title = "Sample efficiency"
    return Table("efficiency", title, header, rows, pd.DataFrame(data), notes, scope=results.label)


def estimate_fields(estimate: Estimate) -> dict[str, Any]:
    """An estimate as CSV columns."""
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "interval": estimate.method,
        "note": estimate.note,
        "runs": estimate.n,
    }
