"""Does the number of modules that a task uses follow its difficulty? Difficulty is measured without D2R."""

from __future__ import annotations

import numpy as np
import pandas as pd

from d2r.findings.results import Results
from d2r.statistics import Estimate, mean_interval, spearman
from d2r.statistics.intervals import TIE_DIGITS

LEARNED = 0.5
"""Success rate at which a task counts as learned."""


def task_difficulty(results: Results, benchmark: str) -> pd.DataFrame:
    """Difficulty of each task to the baselines, which have no depth routing: easiest first.

    Returns:
        Index task; ``steps_to_learn``: steps per task until success first is at least 50 %, mean over all runs of all
        baselines, the last step for runs that never get there; ``final_success`` of the same runs; ``difficulty``:
        mean of the ranks in both (1 = easiest). Empty if no baseline finished.
    """
    return results.once(("difficulty", benchmark), lambda: _measure(results, benchmark))


def _measure(results: Results, benchmark: str) -> pd.DataFrame:
    baselines = [method.id for method in results.methods if method.kind == "baseline"]
    final = results.final_success
    final = final[(final["benchmark"] == benchmark) & final["method"].isin(baselines)]
    if final.empty:
        return pd.DataFrame(columns=["steps_to_learn", "final_success", "difficulty"])
    curves = pd.concat([results.metric("success", benchmark, name).assign(method=name) for name in baselines])
    run = ["method", "seed", "task"]
    last = curves.groupby(run)["step"].max()
    learned = curves[curves["value"] >= LEARNED].groupby(run)["step"].min()
    needed = learned.reindex(last.index).fillna(last).groupby("task").mean()
    table = pd.DataFrame({"steps_to_learn": needed, "final_success": final.groupby("task")["success"].mean()})
    ranks = [
        column.round(TIE_DIGITS).rank() for column in (table["steps_to_learn"], 1 - table["final_success"])
    ]
    table["difficulty"] = (ranks[0].fillna(ranks[1]) + ranks[1]) / 2
    order = {task: place for place, task in enumerate(results.tasks[benchmark])}
    table["place"] = [order.get(str(task), len(order)) for task in table.index]
    return table.sort_values(["difficulty", "place"]).drop(columns="place")


def tasks_by_difficulty(results: Results, benchmark: str) -> list[str]:
    """Task names, easiest first; in the benchmark's own order if no baseline finished."""
    ranked = [str(task) for task in task_difficulty(results, benchmark).index]
    return ranked or list(results.tasks.get(benchmark, []))


def harder_half(results: Results, benchmark: str) -> list[str]:
    """Tasks at least as hard as the median one, ties included, so more than half where many are as hard; maybe none."""
    difficulty = task_difficulty(results, benchmark)["difficulty"]
    return [str(task) for task in difficulty.index[difficulty >= difficulty.median()]]


def hardness(results: Results, benchmark: str) -> dict[str, float]:
    """Difficulty of each task from 0 (the easiest) to 1 (the hardest), 0.5 where nothing tells tasks apart."""
    difficulty = task_difficulty(results, benchmark)["difficulty"].astype(float)
    low, high = difficulty.min(), difficulty.max()
    ranked = {str(t): (float(d) - low) / (high - low) if high > low else 0.5 for t, d in difficulty.items()}
    return dict.fromkeys(results.tasks.get(benchmark, []), 0.5) | ranked


def correlation_over_training(results: Results, benchmark: str, method: str) -> pd.DataFrame:
    """Spearman's rho over tasks of modules used with difficulty: one row per seed, one column per step.

    NaN where a run uses the same number of modules for all tasks, so that there is nothing to rank.
    """
    difficulty = task_difficulty(results, benchmark)["difficulty"]
    used = results.recorded("modules_used", benchmark, method)
    found: dict[tuple[int, int], float] = {}
    for seed, part in used.groupby(level="seed"):
        table = part.droplevel("seed")
        tasks = table.index.intersection(difficulty.index)
        ranks = difficulty[tasks].to_numpy(dtype=float)
        for step, values in table.loc[tasks].items():
            rho = spearman(values.to_numpy(dtype=float), ranks) if values.notna().all() else None
            found[int(str(seed)), int(str(step))] = np.nan if rho is None else rho
    if not found:
        return pd.DataFrame()
    index = pd.MultiIndex.from_tuples(list(found), names=["seed", "step"])
    series = pd.Series(list(found.values()), index=index).rename("rho")
    return series.reset_index().pivot_table(index="seed", columns="step", values="rho", dropna=False)


def rho_estimate(values: pd.Series[float]) -> Estimate:
    """Mean of the runs whose rho is defined, with an interval over them."""
    return mean_interval(values.dropna(), (-1.0, 1.0))
