"""What is measured of a run: one number each, its range, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from d2r.config.schema import LATE_EVALUATIONS
from d2r.findings.difficulty import correlation_over_training, harder_half
from d2r.findings.results import Results
from d2r.statistics import Bounds, Estimate, mean_interval
from d2r.statistics.efficiency import area_under_curve

SHARES = frozenset(
    {"success", "area", "final_success", "hard_tasks", "route_entropy", "top1_share", "route_jaccard"}
    | {"route_change", "agreement", "blocked_share", "masked"}
)
NOT_NEGATIVE = frozenset(
    {"modules_used", "depth", "multiply_adds", "multiply_adds_dense", "alpha", "route_temperature", "q_loss"}
    | {"update_seconds", "hours", "route_state_information"}
)


def bounds(quantity: str) -> Bounds | None:
    """Smallest and largest value of a quantity of ``metrics.csv`` or of a run; none where there is no limit."""
    if quantity in SHARES:
        return (0.0, 1.0)
    if quantity in NOT_NEGATIVE:
        return (0.0, float("inf"))
    if "cosine" in quantity or quantity.endswith("_rho"):
        return (-1.0, 1.0)
    return None


def last_value(results: Results, quantity: str, benchmark: str, method: str) -> Estimate:
    """A quantity at the last evaluation, mean over tasks, with an interval over runs."""
    return mean_interval(results.last_values(quantity, benchmark, method), bounds(quantity))


@dataclass(frozen=True)
class Measure:
    """A number of a run, by which methods are compared."""

    name: str
    words: str
    of_runs: Callable[[Results, str, str], pd.Series[float]]
    """The number of each finished run of a method on a benchmark, by seed; maybe none."""
    in_points: bool = False
    """Whether it is a share of success, shown in percent and its differences in points."""

    @property
    def bounds(self) -> Bounds | None:
        """Its range, if it has one."""
        return bounds(self.name)


def _late_success(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    return results.late_values("success", benchmark, method)


def _late_return(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    return results.late_values("return", benchmark, method)


def _area(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    table = results.curves("success", benchmark, method)
    at, curves = table.columns.to_numpy(dtype=float), table.to_numpy(dtype=float)
    return pd.Series(area_under_curve(at, curves) if table.size else [], index=table.index, dtype=float)


def _final_success(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    return results.final_by_task(benchmark, method).mean(axis=1)


def _hard_tasks(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    late = results.late_by_task("success", benchmark, method)
    hard = [task for task in harder_half(results, benchmark) if task in late]
    return late[hard].mean(axis=1) if hard else pd.Series(dtype=float)


def _update_seconds(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    runs = results.timed
    runs = runs[(runs["benchmark"] == benchmark) & (runs["method"] == method)]
    return runs.set_index("seed")["update_seconds"].dropna().astype(float)


def _difficulty_rho(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    table = correlation_over_training(results, benchmark, method)
    return table.iloc[:, -1].dropna().astype(float) if len(table.columns) else pd.Series(dtype=float)


SUCCESS = Measure("success", f"success over the last {LATE_EVALUATIONS} evaluations", _late_success, True)
"""The primary measure."""
RETURN = Measure("return", f"mean return over the last {LATE_EVALUATIONS} evaluations", _late_return)
"""The second measure: described, and no verdict follows from it."""
AREA = Measure("area", "area under the success curve", _area, True)
"""The third measure."""
FINAL_SUCCESS = Measure("final_success", "success of the final policy", _final_success, True)
"""What the paper's protocol reports; it decides nothing."""

MEASURES = {
    measure.name: measure
    for measure in (
        SUCCESS,
        RETURN,
        AREA,
        FINAL_SUCCESS,
        Measure("hard_tasks", "success on the harder half of the tasks", _hard_tasks, True),
        Measure("update_seconds", "seconds per update", _update_seconds),
        Measure("difficulty_rho", "ρ (modules, difficulty)", _difficulty_rho),
    )
}
WORDS = {
    "multiply_adds": "multiply-adds per decision",
    "alpha_success_rho": "ρ (alpha, success)",
    "gradient_cosine": "cosine of task gradients",
    "gradient_cosine_no_resrouting": "the same without ResRouting",
}


def measure(name: str) -> Measure:
    """A measure by its name; any other is a quantity of ``metrics.csv``, averaged over the last evaluations, too."""
    if name in MEASURES:
        return MEASURES[name]
    words = WORDS.get(name, name.replace("_", " "))
    return Measure(
        name, words, lambda results, benchmark, method: results.late_values(name, benchmark, method)
    )
