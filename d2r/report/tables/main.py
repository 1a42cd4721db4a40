"""The main table: every method on every benchmark, beside what others published."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.findings.published import published_text, sources
from d2r.findings.results import Results
from d2r.findings.versus import compare_methods, is_paired
from d2r.report.tables.notes import BEST, FINAL, INTERVAL, LOST
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent_interval, run_count, steps
from d2r.statistics import Estimate, mean_interval


def main_table(results: Results) -> Table:
    """Final success (mean over tasks, then over runs) with a 95 % interval over runs."""
    estimates = {
        (benchmark, method.id): mean_interval(results.run_scores(benchmark, method.id), bounds=(0.0, 1.0))
        for benchmark in results.benchmarks
        for method in results.methods
    }
    best = {benchmark: _separated_best(results, benchmark, estimates) for benchmark in results.benchmarks}
    header, rows = ["method"], []
    for benchmark in results.benchmarks:
        header += [f"{benchmark} ({budget_text(results, benchmark)})", f"{benchmark}, published"]
    data: list[dict[str, Any]] = []
    for method in results.methods:
        row = [Cell(method.title)]
        for benchmark in results.benchmarks:
            estimate = estimates[benchmark, method.id]
            counts = results.run_counts(benchmark, method.id)
            text = (
                f"{percent_interval(estimate)} {run_count(counts)}" if counts["all"] else "not in this scale"
            )
            bold = best[benchmark] == method.id
            runs = f"{benchmark}/{method.id}" if counts["finished"] else ""
            row += [
                Cell(text, bold=bold, sort=-1.0 if estimate.value is None else estimate.value, runs=runs),
                Cell(published_text(method.id, benchmark)),
            ]
            if counts["all"]:
                data.append(_data_row(results, benchmark, method.id, estimate, counts, bold))
        rows.append(row)
    cited = "; ".join(
        f"[{source.mark}] {source.title} ({source.confidence})" for source in sources().values()
    )
    published = (
        f"Published values are what others printed, under other protocols; unknown: none found. {cited}."
    )
    title = "Success rate in percent"
    return Table(
        "main",
        title,
        header,
        rows,
        pd.DataFrame(data),
        (FINAL, INTERVAL, LOST, BEST, published),
        scope=results.label,
    )


def budget_text(results: Results, benchmark: str) -> str:
    """Environment steps over all tasks, such as ``15.0M steps``."""
    rows = results.runs[(results.runs["benchmark"] == benchmark) & results.runs["planned_steps"].notna()]
    totals = sorted({int(row) for row in rows["planned_steps"] * rows["tasks"]})
    return f"{' or '.join(steps(total) for total in totals)} env steps" if totals else "no run"


def _separated_best(
    results: Results, benchmark: str, estimates: dict[tuple[str, str], Estimate]
) -> str | None:
    ranked = sorted(
        (
            (estimate.value, method)
            for (where, method), estimate in estimates.items()
            if where == benchmark and estimate.value is not None
        ),
        reverse=True,
    )
    if len(ranked) < 2:
        return None
    (_, best), (_, second) = ranked[:2]
    verdict = compare_methods(results, benchmark, best, second, is_paired(benchmark)).verdict
    return best if verdict == "higher" else None


def _data_row(
    results: Results, benchmark: str, method: str, estimate: Estimate, counts: dict[str, int], bold: bool
) -> dict[str, Any]:
    rows = results.runs[(results.runs["benchmark"] == benchmark) & (results.runs["method"] == method)]
    finished = rows[rows["status"] == "finished"]
    return {
        "scale": results.scale,
        "protocol": results.protocol,
        "benchmark": benchmark,
        "method": method,
        "success": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "interval": estimate.method,
        "note": estimate.note,
        "runs_finished": counts["finished"],
        "runs_failed": counts["failed"],
        "runs_missing": counts["missing"],
        "seeds": " ".join(str(seed) for seed in finished["seed"]),
        "steps_per_task": finished["planned_steps"].max() if len(finished) else None,
        "evaluation_episodes": finished["evaluation_episodes"].max() if len(finished) else None,
        "best_and_separated": bold,
        "published": published_text(method, benchmark),
    }
