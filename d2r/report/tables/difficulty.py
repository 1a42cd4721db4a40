"""Whether harder tasks use more modules."""

from __future__ import annotations

from dataclasses import dataclass

from d2r.findings.difficulty import correlation_over_training, rho_estimate
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, amount, estimate, only_in_csv, tabulate, word
from d2r.report.tables.notes import INTERVAL
from d2r.report.tables.table import Table
from d2r.report.text import number_interval, steps
from d2r.statistics import Estimate


@dataclass(frozen=True)
class Step:
    """A method's correlation at one step of training."""

    results: Results
    benchmark: str
    method: str
    step: int
    rho: Estimate
    is_shown: bool
    """Early, in the middle or at the end."""


def difficulty_table(results: Results) -> Table:
    """Rank correlation of modules used with difficulty: early, in the middle and at the end of training."""
    rows = [
        row
        for benchmark in results.benchmarks
        for method in results.routed_methods(benchmark)
        for row in _over_training(results, benchmark, method)
    ]
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
        "The CSV has every evaluation.",
    )
    title = "Do harder tasks use more modules?"
    return tabulate("difficulty", title, COLUMNS, rows, notes, results.label, shown=lambda row: row.is_shown)


def _over_training(results: Results, benchmark: str, method: str) -> list[Step]:
    table = correlation_over_training(results, benchmark, method)
    ends = {0, len(table.columns) // 2, len(table.columns) - 1}
    return [
        Step(results, benchmark, method, int(step), rho_estimate(table[step]), place in ends)
        for place, step in enumerate(table.columns)
    ]


def _answer(estimate: Estimate) -> str:
    if estimate.value is None:
        return "no run with a ranking"
    if estimate.no_verdict is not None:
        return estimate.no_verdict
    return {1: "harder tasks use more", -1: "harder tasks use fewer", 0: "not separated from 0"}[
        estimate.separated_from(0.0)
    ]


COLUMNS: tuple[Column[Step], ...] = (
    only_in_csv("scale", lambda row: row.results.scale),
    word("benchmark", "benchmark", lambda row: row.benchmark),
    word("method", "method", lambda row: row.method, lambda row: row.results.method(row.method).title),
    amount("step", "step", lambda row: row.step, steps),
    estimate(
        "ρ (modules, difficulty)",
        "rho",
        lambda row: row.rho,
        number_interval,
        lambda row: f"{row.benchmark}/{row.method}",
    ),
    amount("runs", "runs", lambda row: row.rho.n, lambda n: f"{n}"),
    word("answer", "answer", lambda row: _answer(row.rho)),
)
