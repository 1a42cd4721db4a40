"""Does the number of modules that a task uses follow its difficulty? Difficulty is measured without D2R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from d2r.analysis.results import Results
from d2r.analysis.routing import routed_methods
from d2r.analysis.statistics import Estimate, mean_interval, spearman
from d2r.analysis.tables.notes import INTERVAL
from d2r.analysis.tables.table import Cell, Table
from d2r.analysis.tables.text import number_interval, steps

LEARNED = 0.5
"""Success rate at which a task counts as learned."""


def task_difficulty(results: Results, benchmark: str) -> pd.DataFrame:
    """Difficulty of each task to the baselines, which have no depth routing: easiest first.

    Returns:
        Index task; ``steps_to_learn``: steps per task until success first is at least 50 %, mean over all
        runs of all baselines, the last step for runs that never get there; ``final_success``: of the same runs; ``difficulty``: mean
        of both ranks (1 = easiest). Empty if no baseline finished.
    """
    baselines = [method.id for method in results.methods if method.kind == "baseline"]
    final = results.final_success
    final = final[(final["benchmark"] == benchmark) & final["method"].isin(baselines)]
    if final.empty:
        return pd.DataFrame(columns=["steps_to_learn", "final_success", "difficulty"])
    curves = results.metric("success", benchmark)
    curves = curves[curves["method"].isin(baselines)]
    run = ["method", "seed", "task"]
    last = curves.groupby(run)["step"].max()
    learned = curves[curves["value"] >= LEARNED].groupby(run)["step"].min()
    needed = learned.reindex(last.index).fillna(last).groupby("task").mean()
    table = pd.DataFrame({"steps_to_learn": needed, "final_success": final.groupby("task")["success"].mean()})
    ranks = table["steps_to_learn"].rank(), (1 - table["final_success"]).rank()
    table["difficulty"] = (ranks[0].fillna(ranks[1]) + ranks[1]) / 2
    order = {task: place for place, task in enumerate(results.tasks[benchmark])}
    table["place"] = [order.get(str(task), len(order)) for task in table.index]
    return table.sort_values(["difficulty", "place"]).drop(columns="place")


def tasks_by_difficulty(results: Results, benchmark: str) -> list[str]:
    """Task names, easiest first; in the benchmark's own order if no baseline finished."""
    ranked = [str(task) for task in task_difficulty(results, benchmark).index]
    return ranked or list(results.tasks.get(benchmark, []))


def correlation_over_training(results: Results, benchmark: str, method: str) -> pd.DataFrame:
    """Spearman's rho over tasks of modules used with difficulty: one row per seed, one column per step.

    NaN where a run uses the same number of modules for all tasks, so that there is nothing to rank.
    """
    difficulty = task_difficulty(results, benchmark)["difficulty"]
    rows = results.metric("modules_used", benchmark, method)
    found: dict[tuple[int, int], float] = {}
    for (seed, step), part in rows.groupby(["seed", "step"]):
        used = part.groupby("task")["value"].mean()
        tasks = used.index.intersection(difficulty.index)
        rho = spearman(used[tasks].to_numpy(dtype=float), difficulty[tasks].to_numpy(dtype=float))
        found[int(seed), int(step)] = np.nan if rho is None else rho
    if not found:
        return pd.DataFrame()
    index = pd.MultiIndex.from_tuples(list(found), names=["seed", "step"])
    series = pd.Series(list(found.values()), index=index).rename("rho")
    return series.reset_index().pivot_table(index="seed", columns="step", values="rho", dropna=False)


def rho_estimate(values: pd.Series[float]) -> Estimate:
    """Mean of the runs whose rho is defined, with an interval over them."""
    return mean_interval(values.dropna(), (-1.0, 1.0))


def difficulty_table(results: Results) -> Table:
    """Rank correlation of modules used with difficulty: early, in the middle and at the end of training."""
    header = ["benchmark", "method", "step", "ρ (modules, difficulty)", "runs", "answer"]
    columns = ["scale", "benchmark", "method", "step", "rho", "low", "high", "runs", "note"]
    rows: list[list[Cell]] = []
    data: list[dict[str, Any]] = []
    for benchmark in results.benchmarks:
        for method in routed_methods(results, benchmark):
            table = correlation_over_training(results, benchmark, method)
            for place, step in enumerate(table.columns):
                estimate = rho_estimate(table[step])
                keys = {"scale": results.scale, "benchmark": benchmark, "method": method, "step": step}
                values = {"rho": estimate.value, "low": estimate.low, "high": estimate.high}
                data.append({**keys, **values, "runs": estimate.n, "note": estimate.note})
                if place in {0, len(table.columns) // 2, len(table.columns) - 1}:
                    rows.append(
                        [
                            Cell(benchmark),
                            Cell(results.method(method).title),
                            Cell(steps(step), sort=float(step)),
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
    title = f"Do harder tasks use more modules? ({results.label})"
    return Table("difficulty", title, header, rows, pd.DataFrame(data, columns=columns), notes)


def _answer(estimate: Estimate) -> str:
    if estimate.value is None:
        return "no run with a ranking"
    if not estimate.has_interval:
        return "no interval"
    return {1: "harder tasks use more", -1: "harder tasks use fewer", 0: "not separated from 0"}[
        estimate.separated_from(0.0)
    ]
