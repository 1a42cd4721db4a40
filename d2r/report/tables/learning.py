"""What each run learned, run by run: the curves' ends, heights and tasks in numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.learning import Learned, learned
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, amount, only_in_csv, tabulate
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, percent, steps


def learning_table(results: Results) -> Table:
    """Success over training of every finished run, how many tasks it solved, and how far its return rose."""
    notes = (
        (
            "From the evaluations during training of every finished run; success (in percent) and returns are means "
            "over tasks. A task is solved at an evaluation if at least half of its episodes succeed, and over the last "
            f"{LATE_EVALUATIONS} (all, where there are fewer) if its mean success there is at least one half; the CSV "
            "names them."
        ),
        (
            "Best evaluation and most tasks at once are the best of many, so no score of a method; no comparison uses "
            "them."
        ),
    )
    scale: Column[Learned] = only_in_csv("scale", lambda _row: results.scale)
    columns = (scale, *COLUMNS)
    rows = list(learned(results))
    return tabulate("learning", "Learning, run by run", columns, rows, notes, results.label)


def _run(row: Learned) -> Cell:
    name = f"{row.benchmark}/{row.method}/seed{row.seed}"
    return Cell(name, runs=name)


def _count(title: str, field: str, tasks: Callable[[Learned], Sequence[str]]) -> Column[Learned]:
    """How many tasks; the CSV names them."""
    return Column(
        title,
        (field,),
        lambda row: (" ".join(tasks(row)),),
        lambda row: Cell(str(len(tasks(row))), sort=len(tasks(row))),
    )


COLUMNS: tuple[Column[Learned], ...] = (
    Column("run", ("benchmark", "method", "seed"), lambda row: (row.benchmark, row.method, row.seed), _run),
    amount("last evaluation", "last", lambda row: row.success.last, percent),
    amount(f"last {LATE_EVALUATIONS}", "end", lambda row: row.success.late, percent),
    amount("area under curve", "area", lambda row: row.success.area, percent),
    amount("best evaluation", "best", lambda row: row.success.best, percent),
    amount("most tasks at once", "most_tasks", lambda row: row.success.most_tasks, lambda n: f"{n}"),
    amount("at step", "most_tasks_at", lambda row: row.success.most_tasks_at, steps),
    _count(
        f"tasks solved over the last {LATE_EVALUATIONS}",
        "tasks_solved_at_end",
        lambda row: row.success.solved_late,
    ),
    _count("tasks solved at some evaluation", "tasks_solved_ever", lambda row: row.success.solved_ever),
    amount("return, first evaluation", "first_return", lambda row: row.first_return, number),
    amount(f"return, last {LATE_EVALUATIONS}", "end_return", lambda row: row.late_return, number),
)
