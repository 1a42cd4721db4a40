"""What each run learned: the curve's ends and height, and the tasks that it solves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.results import Results
from d2r.statistics.efficiency import area_under_curve

SOLVED = 0.5 - 1e-9
"""Success at which a task counts as solved: half of the episodes, less what a mean of several may lose to rounding."""


@dataclass(frozen=True)
class Curve:
    """Success of one run over training, mean over tasks, and the tasks that it solves."""

    last: float
    late: float
    """Mean over the last ``LATE_EVALUATIONS`` evaluations."""
    area: float
    best: float
    most_tasks: int
    """Largest number of tasks that are solved at one evaluation."""
    most_tasks_at: float | None
    solved_late: Sequence[str]
    """Tasks whose mean success over the last evaluations is at least one half."""
    solved_ever: Sequence[str]


@dataclass(frozen=True)
class Learned:
    """What one run learned."""

    benchmark: str
    method: str
    seed: int
    success: Curve
    first_return: float | None
    late_return: float | None


def learned(results: Results) -> Iterator[Learned]:
    """What every finished run learned that recorded success over training."""
    for benchmark in results.benchmarks:
        for method in results.methods:
            success = results.recorded("success", benchmark, method.id)
            returns = results.recorded("return", benchmark, method.id)
            for seed in success.index.unique("seed"):
                curves = _of_seed(success, seed)
                if curves.empty:
                    continue
                curves = curves.reindex(results.in_order(benchmark, curves.index))
                mean = _of_seed(returns, seed).mean()
                ends = (
                    (float(mean.iloc[0]), float(mean.iloc[-LATE_EVALUATIONS:].mean()))
                    if len(mean)
                    else (None, None)
                )
                yield Learned(benchmark, method.id, int(seed), curve_of(curves), *ends)


def _of_seed(table: pd.DataFrame, seed: object) -> pd.DataFrame:
    """One run's part of :meth:`Results.recorded`: one row per task, one column per step."""
    return table[table.index.get_level_values("seed") == seed].droplevel("seed").dropna(axis=1)


def curve_of(success: pd.DataFrame) -> Curve:
    """Numbers of one run.

    Args:
        success: one row per task, one column per step.
    """
    at = success.columns.to_numpy(dtype=float)
    mean, late, solved = success.mean().to_numpy(), success.iloc[:, -LATE_EVALUATIONS:], success >= SOLVED
    at_once = solved.sum().to_numpy()
    return Curve(
        last=float(mean[-1]),
        late=float(late.to_numpy().mean()),
        area=float(area_under_curve(at, mean[None])[0]),
        best=float(mean.max()),
        most_tasks=int(at_once.max()),
        most_tasks_at=float(at[at_once.argmax()]) if at_once.any() else None,
        solved_late=[str(task) for task in success.index[late.mean(axis=1) >= SOLVED]],
        solved_ever=[str(task) for task in success.index[solved.any(axis=1)]],
    )
