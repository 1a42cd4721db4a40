"""In how many runs each task is solved."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.learning import SOLVED
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, amount, frame, only_in_csv
from d2r.report.tables.notes import LOST
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent


@dataclass(frozen=True)
class TaskOfMethod:
    """A task as a method's runs learned it."""

    results: Results
    benchmark: str
    task: str
    method: str
    late: pd.Series[float]
    """Success over the last evaluations, by seed."""
    final: pd.Series[float]

    @property
    def solved(self) -> int:
        """Number of runs that solve it."""
        return int((self.late >= SOLVED).sum())


def tasks_table(results: Results) -> Table:
    """Runs that solve each task: rows are tasks, columns methods."""
    header = ["benchmark", "task", *(method.title for method in results.methods)]
    rows: list[list[Cell]] = []
    found: list[TaskOfMethod] = []
    for benchmark in results.benchmarks:
        for task in results.tasks.get(benchmark, []):
            entries = [_entry(results, benchmark, task, method.id) for method in results.methods]
            rows.append([Cell(benchmark), Cell(task), *(SOLVED_IN.cell(entry) for entry in entries)])
            found += [entry for entry in entries if len(entry.late)]
    notes = (
        (
            "Runs that solve a task, of those that finished: a run's mean success on it over the last "
            f"{LATE_EVALUATIONS} evaluations is at least one half. The CSV also has mean and final success."
        ),
        LOST,
    )
    title = "Runs that solve each task"
    return Table("tasks", title, header, rows, frame(COLUMNS, found), notes, scope=results.label)


def _entry(results: Results, benchmark: str, task: str, method: str) -> TaskOfMethod:
    none = pd.Series(dtype=float)
    late = results.late_by_task("success", benchmark, method).get(task, none).dropna()
    final = results.final_by_task(benchmark, method).get(task, none).dropna()
    return TaskOfMethod(results, benchmark, task, method, late, final)


def _mean(values: pd.Series[float]) -> float | None:
    return float(values.mean()) if len(values) else None


def _cell(row: TaskOfMethod) -> Cell:
    if row.late.empty:
        return Cell("–")
    runs = f"{row.benchmark}/{row.method}"
    return Cell(f"{row.solved} of {len(row.late)} runs", sort=_mean(row.late), runs=runs)


SOLVED_IN: Column[TaskOfMethod] = Column(
    "solved in", ("runs_solved", "runs"), lambda row: (row.solved, len(row.late)), _cell
)
COLUMNS: tuple[Column[TaskOfMethod], ...] = (
    only_in_csv("scale", lambda row: row.results.scale),
    only_in_csv("benchmark", lambda row: row.benchmark),
    only_in_csv("task", lambda row: row.task),
    only_in_csv("method", lambda row: row.method),
    SOLVED_IN,
    amount("success", "success", lambda row: _mean(row.late), percent),
    amount("final success", "final_success", lambda row: _mean(row.final), percent),
)
