"""Success of each task."""

from __future__ import annotations

import pandas as pd

from d2r.findings.results import Results
from d2r.report.tables.aggregates import estimate_fields
from d2r.report.tables.notes import INTERVAL, LOST
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent_interval
from d2r.statistics import mean_interval


def tasks_table(results: Results) -> Table:
    """Final success per task: rows are tasks, columns methods."""
    header = ["benchmark", "task", *(method.title for method in results.methods)]
    rows, data = [], []
    for benchmark in results.benchmarks:
        scores = {method.id: results.scores(benchmark, method.id) for method in results.methods}
        for task in results.tasks.get(benchmark, []):
            row = [Cell(benchmark), Cell(task)]
            for method in results.methods:
                table = scores[method.id]
                estimate = mean_interval(table.get(task, pd.Series(dtype=float)), (0.0, 1.0))
                runs = f"{benchmark}/{method.id}" if estimate.n else ""
                row.append(Cell(percent_interval(estimate), sort=estimate.value, runs=runs))
                if estimate.n:
                    keys = {"scale": results.scale, "benchmark": benchmark, "task": task, "method": method.id}
                    data.append({**keys, **estimate_fields(estimate)})
            rows.append(row)
    notes = (
        (
            "Success of the final policy on each task, in percent. On fixed benchmarks a run's success on a task "
            "is 0 or 100: a deterministic policy repeats itself."
        ),
        INTERVAL,
        LOST,
    )
    title = "Success per task in percent"
    return Table("tasks", title, header, rows, pd.DataFrame(data), notes, scope=results.label)
