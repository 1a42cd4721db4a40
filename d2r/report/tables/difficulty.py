"""Whether harder tasks use more modules."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.findings.difficulty import correlation_over_training, rho_estimate
from d2r.findings.results import Results
from d2r.findings.signatures import routed_methods
from d2r.report.tables.notes import INTERVAL
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number_interval, steps
from d2r.statistics import Estimate


def difficulty_table(results: Results) -> Table:
    """Rank correlation of modules used with difficulty: early, in the middle and at the end of training."""
    header = ["benchmark", "method", "step", "ρ (modules, difficulty)", "runs", "answer"]
    columns = ["scale", "benchmark", "method", "step", "rho", "low", "high", "runs", "note"]
    rows: list[list[Cell]] = []
    data: list[dict[str, Any]] = []
    for benchmark in results.benchmarks:
        for method in routed_methods(results, benchmark):
            table = correlation_over_training(results, benchmark, method)
            for place, step in enumerate(int(column) for column in table.columns):
                estimate = rho_estimate(table[step])
                keys = {"scale": results.scale, "benchmark": benchmark, "method": method, "step": step}
                values = {"rho": estimate.value, "low": estimate.low, "high": estimate.high}
                data.append({**keys, **values, "runs": estimate.n, "note": estimate.note})
                if place in {0, len(table.columns) // 2, len(table.columns) - 1}:
                    rows.append(
                        [
                            Cell(benchmark),
                            Cell(results.method(method).title),
                            Cell(steps(float(step)), sort=float(step)),
                            Cell(
                                number_interval(estimate), sort=estimate.value, runs=f"{benchmark}/{method}"
                            ),
                            Cell(str(estimate.n)),
                            Cell(_answer(estimate)),
                        ]
                    )
    notes = (
        (
            "ρ: Spearman's rank correlation over tasks between the modules that a run uses for a task and the task's "
            "difficulty; positive: harder tasks use more modules. Per run, then averaged."
        ),
        (
            "Difficulty is measured on the baselines alone: the mean of a task's ranks in steps until 50 % success and "
            "in final success, over all their runs. Runs that use equally many modules for all tasks have no ρ."
        ),
        INTERVAL,
    )
    title = "Do harder tasks use more modules?"
    return Table(
        "difficulty", title, header, rows, pd.DataFrame(data, columns=columns), notes, scope=results.label
    )


def _answer(estimate: Estimate) -> str:
    if estimate.value is None:
        return "no run with a ranking"
    if estimate.no_verdict is not None:
        return estimate.no_verdict
    return {1: "harder tasks use more", -1: "harder tasks use fewer", 0: "not separated from 0"}[
        estimate.separated_from(0.0)
    ]
