"""What each run learned, run by run: the curves' ends, heights and tasks in numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.analysis.results import Results
from d2r.analysis.statistics.efficiency import area_under_curve
from d2r.analysis.tables.table import Cell, Table
from d2r.analysis.tables.text import number, percent, steps

LAST = 8
"""Evaluations that the end of a curve is averaged over: the success of a single one flickers."""
SOLVED = 0.5


def learning_table(results: Results) -> Table:
    """Success over training of every finished run, which tasks it solved, and how far its return rose."""
    header = [
        "benchmark",
        "method",
        "seed",
        "last evaluation",
        f"last {LAST}",
        "area under curve",
        "most at once",
        "at step",
        f"tasks solved over the last {LAST}",
        "solved at some evaluation",
        "return, first evaluation",
        f"return, last {LAST}",
    ]
    rows, data = [], []
    for benchmark in results.benchmarks:
        for method in results.methods:
            success = results.recorded("success", benchmark, method.id)
            returns = results.recorded("return", benchmark, method.id)
            for seed in success.index.unique("seed"):
                of_task = _of_seed(success, seed)
                names = [name for name in results.tasks[benchmark] if name in of_task.index]
                found = _of_success(of_task.loc[names]) | _of_return(_of_seed(returns, seed).mean())
                keys = {"scale": results.scale, "benchmark": benchmark, "method": method.id, "seed": seed}
                data.append({**keys, **found})
                rows.append(
                    [
                        Cell(benchmark),
                        Cell(method.title),
                        Cell(str(seed), sort=float(str(seed)), runs=f"{benchmark}/{method.id}/seed{seed}"),
                        *(Cell(percent(found[name]), sort=found[name]) for name in ("last", "end", "area")),
                        Cell(str(found["most_tasks"]), sort=found["most_tasks"]),
                        Cell(steps(found["most_tasks_at"]), sort=found["most_tasks_at"]),
                        *(_tasks(found[name]) for name in ("solved_at_end", "solved_ever")),
                        *(Cell(number(found[name]), sort=found[name]) for name in ("first_return", "end_return")),
                    ]
                )  # fmt: skip
    notes = (
        (
            "One row a finished run, from the evaluations during training; success in percent, mean over tasks. A task "
            "is solved at an evaluation if at least half of its episodes succeed, and over the last "
            f"{LAST} (all, where there are fewer) if its mean success there is at least one half."
        ),
        "`most at once` is the best of many evaluations and so no score of a method; no comparison uses it.",
    )
    return Table(
        "learning", "Learning, run by run", header, rows, pd.DataFrame(data), notes, scope=results.label
    )


def _of_seed(table: pd.DataFrame, seed: object) -> pd.DataFrame:
    """One run's part of :meth:`Results.recorded`: one row per task, one column per step."""
    return table[table.index.get_level_values("seed") == seed].droplevel("seed").dropna(axis=1)


def _of_success(curves: pd.DataFrame) -> dict[str, Any]:
    mean, end, solved = curves.mean(), curves.iloc[:, -LAST:], curves >= SOLVED
    at_once = solved.sum()
    area = area_under_curve(mean.index.to_numpy(dtype=float), mean.to_numpy(dtype=float)[None])
    return {
        "last": float(mean.iloc[-1]),
        "end": float(end.to_numpy().mean()),
        "area": float(area[0]),
        "most_tasks": int(at_once.max()),
        "most_tasks_at": float(str(at_once.idxmax())),
        "solved_at_end": " ".join(curves.index[end.mean(axis=1) >= SOLVED]),
        "solved_ever": " ".join(curves.index[solved.any(axis=1)]),
    }


def _of_return(mean: pd.Series[float]) -> dict[str, float | None]:
    if mean.empty:
        return {"first_return": None, "end_return": None}
    return {"first_return": float(mean.iloc[0]), "end_return": float(mean.iloc[-LAST:].mean())}


def _tasks(names: str) -> Cell:
    listed = names.split()
    return Cell(f"{len(listed)}: {', '.join(listed)}" if listed else "0", sort=len(listed))
