"""Differences to full D2R: the ablation table (variants) and the baseline table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.findings.results import REFERENCE, Results
from d2r.findings.versus import Versus, compare_all
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, p_value, percent_interval, points_interval
from d2r.statistics import FEWEST_RUNS

HEADER = (
    "benchmark", "method", "difference to D2R, points", "interval", "runs", "p", "p (Holm)", "p (ranks)",
    "smallest p (ranks)", "P(beats D2R), %", "effect (g)", "verdict",
)  # fmt: skip
NOTES = (
    (
        "Difference: success of the method minus that of D2R in percentage points, with its 95 % interval. On "
        "fixed benchmarks it is taken within seeds, which share their goals (paired); on rand between "
        "independent runs (Welch)."
    ),
    (
        "Verdict and bold follow the interval alone: higher or lower only where it excludes zero, and neither with "
        f"fewer than {FEWEST_RUNS} runs on a side."
    ),
    (
        "p: t test of the same difference; Holm: corrected over the rows of a benchmark in this table; ranks: "
        "exact Mann-Whitney over runs (approximate above 200,000 splits of them), and the smallest value that it can "
        "take with so few runs."
    ),
    (
        "P(beats D2R): probability that a run of the method beats a run of D2R on a task, ties half; its interval "
        "holds the truth in 89 to 92 % of simulated experiments of two to five runs, not in 95 (docs/statistics.md). "
        "Effect: Hedges' g."
    ),
    "A dash means that the number does not exist, say with a single run or where all runs agree.",
)


def ablation_table(results: Results) -> Table:
    """Every D2R variant against full D2R."""
    return _table(results, "variant", "ablation", "Ablation: D2R variants against full D2R")


def baselines_table(results: Results) -> Table:
    """Every baseline against full D2R."""
    return _table(results, "baseline", "baselines", "Baselines against full D2R")


def _table(results: Results, kind: str, name: str, title: str) -> Table:
    methods = [method.id for method in results.methods if method.kind == kind]
    found = compare_all(results, methods, REFERENCE)
    rows = [_row(results, versus) for versus in found]
    data = pd.DataFrame([_data(results, versus) for versus in found], columns=list(_DATA_COLUMNS))
    return Table(name, f"{title}", HEADER, rows, data, NOTES, scope=results.label)


def _row(results: Results, versus: Versus) -> list[Cell]:
    comparison = versus.comparison
    difference, improvement = comparison.difference, comparison.improvement
    separated = comparison.verdict in ("higher", "lower")
    runs = f"{versus.benchmark}/{versus.method}" if comparison.runs[0] else ""
    interval = difference.note or f"{'paired' if comparison.paired else 'unpaired'}, {difference.method}"
    return [
        Cell(versus.benchmark),
        Cell(results.method(versus.method).title),
        Cell(points_interval(difference), bold=separated, sort=difference.value, runs=runs),
        Cell(interval),
        Cell(f"{comparison.runs[0]} vs {comparison.runs[1]}"),
        Cell(p_value(comparison.p), sort=comparison.p),
        Cell(p_value(comparison.p_holm), sort=comparison.p_holm),
        Cell(p_value(comparison.p_rank), sort=comparison.p_rank),
        Cell(p_value(comparison.smallest_p_rank), sort=comparison.smallest_p_rank),
        Cell(percent_interval(improvement), sort=improvement.value),
        Cell(number(comparison.effect), sort=comparison.effect),
        Cell(comparison.verdict),
    ]


_DATA_COLUMNS = (
    "scale", "protocol", "benchmark", "method", "reference", "difference", "low", "high", "interval", "note", "paired",
    "runs_method", "runs_reference", "p", "p_holm", "p_rank", "smallest_p_rank", "improvement", "improvement_low",
    "improvement_high", "hedges_g", "verdict",
)  # fmt: skip


def _data(results: Results, versus: Versus) -> dict[str, Any]:
    comparison = versus.comparison
    values = (
        results.scale, results.protocol, versus.benchmark, versus.method, versus.reference,
        comparison.difference.value, comparison.difference.low, comparison.difference.high,
        comparison.difference.method, comparison.difference.note, comparison.paired, *comparison.runs,
        comparison.p, comparison.p_holm, comparison.p_rank, comparison.smallest_p_rank,
        comparison.improvement.value, comparison.improvement.low, comparison.improvement.high,
        comparison.effect, comparison.verdict,
    )  # fmt: skip
    return dict(zip(_DATA_COLUMNS, values, strict=True))
