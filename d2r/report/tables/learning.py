"""What each run learned, run by run: the curves' ends, heights and tasks in numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.results import Results
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, percent, steps
from d2r.statistics.efficiency import area_under_curve

LAST = LATE_EVALUATIONS
"""Evaluations that the end of a curve is averaged over: the success of a single one flickers."""
SOLVED = 0.5 - 1e-9
"""Half of the episodes, less what a mean of several evaluations may lose to rounding."""

KEYS = ("scale", "benchmark", "method", "seed")
OF_SUCCESS = (
    "last",
    "end",
    "area",
    "best",
    "most_tasks",
    "most_tasks_at",
    "tasks_solved_at_end",
    "tasks_solved_ever",
)
OF_RETURN = ("first_return", "end_return")


def learning_table(results: Results) -> Table:
    """Success over training of every finished run, how many tasks it solved, and how far its return rose."""
    header = [
        "run",
        "last evaluation",
        f"last {LAST}",
        "area under curve",
        "best evaluation",
        "most tasks at once",
        "at step",
        f"tasks solved over the last {LAST}",
        "tasks solved at some evaluation",
        "return, first evaluation",
        f"return, last {LAST}",
    ]
    rows, data = [], []
    for benchmark in results.benchmarks:
        order = results.tasks.get(benchmark, [])
        for method in results.methods:
            success = results.recorded("success", benchmark, method.id)
            returns = results.recorded("return", benchmark, method.id)
            for seed in success.index.unique("seed"):
                curves = _of_seed(success, seed)
                if curves.empty:
                    continue
                found = success_of_run(curves, order) | _return_of_run(_of_seed(returns, seed).mean())
                data.append(dict(zip(KEYS, (results.scale, benchmark, method.id, seed), strict=True)) | found)
                run = f"{benchmark}/{method.id}/seed{seed}"
                solved = [len(found[name].split()) for name in ("tasks_solved_at_end", "tasks_solved_ever")]
                rows.append(
                    [
                        Cell(run, runs=run),
                        *(Cell(percent(found[name]), sort=found[name]) for name in OF_SUCCESS[:4]),
                        Cell(str(found["most_tasks"]), sort=found["most_tasks"]),
                        Cell(steps(found["most_tasks_at"]), sort=found["most_tasks_at"]),
                        *(Cell(str(count), sort=count) for count in solved),
                        *(Cell(number(found[name]), sort=found[name]) for name in OF_RETURN),
                    ]
                )
    notes = (
        (
            "From the evaluations during training of every finished run; success (in percent) and returns are means "
            "over tasks. A task is solved at an evaluation if at least half of its episodes succeed, and over the last "
            f"{LAST} (all, where there are fewer) if its mean success there is at least one half; the CSV names them."
        ),
        (
            "Best evaluation and most tasks at once are the best of many, so no score of a method; no comparison uses "
            "them."
        ),
    )
    frame = pd.DataFrame(data, columns=[*KEYS, *OF_SUCCESS, *OF_RETURN])
    return Table("learning", "Learning, run by run", header, rows, frame, notes, scope=results.label)


def _of_seed(table: pd.DataFrame, seed: object) -> pd.DataFrame:
    """One run's part of :meth:`Results.recorded`: one row per task, one column per step."""
    return table[table.index.get_level_values("seed") == seed].droplevel("seed").dropna(axis=1)


def success_of_run(curves: pd.DataFrame, order: list[str]) -> dict[str, Any]:
    """Numbers of one run.

    Args:
        curves: success, one row per task, one column per step.
        order: in which tasks are named.
    """
    curves = curves.loc[
        sorted(curves.index, key=lambda name: order.index(name) if name in order else len(order))
    ]
    at = curves.columns.to_numpy(dtype=float)
    mean, end, solved = curves.mean().to_numpy(), curves.iloc[:, -LAST:], curves >= SOLVED
    at_once = solved.sum().to_numpy()
    return {
        "last": float(mean[-1]),
        "end": float(end.to_numpy().mean()),
        "area": float(area_under_curve(at, mean[None])[0]),
        "best": float(mean.max()),
        "most_tasks": int(at_once.max()),
        "most_tasks_at": float(at[at_once.argmax()]) if at_once.any() else None,
        "tasks_solved_at_end": " ".join(curves.index[end.mean(axis=1) >= SOLVED]),
        "tasks_solved_ever": " ".join(curves.index[solved.any(axis=1)]),
    }


def _return_of_run(mean: pd.Series[float]) -> dict[str, float | None]:
    """First and last returns of one run, mean over tasks."""
    if mean.empty:
        return dict.fromkeys(OF_RETURN)
    return {"first_return": float(mean.iloc[0]), "end_return": float(mean.iloc[-LAST:].mean())}
