"""Modules used by each task, and the failure signatures of routing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from d2r.findings.quantities import bounds
from d2r.findings.results import Results
from d2r.findings.signatures import SIGNATURES, Finding, last_value, routed_methods
from d2r.report.tables.aggregates import estimate_fields
from d2r.report.tables.notes import INTERVAL
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, number_interval
from d2r.statistics import mean_interval, spearman


def modules_table(results: Results) -> Table:
    """Modules that the deterministic route uses: mean over tasks, least and most, and their relation to success."""
    header = ["benchmark", "method", "modules used", "least (task)", "most (task)", "depth", "route entropy",
              "top-1 share", "overlap of tasks", "ρ (modules, success)"]  # fmt: skip
    rows, data = [], []
    for benchmark in results.benchmarks:
        for method in (results.method(name) for name in routed_methods(results, benchmark)):
            used = _by_task(results, "modules_used", benchmark, method.id)
            if used.empty:
                continue
            success = results.scores(benchmark, method.id)
            average = used.mean()
            least, most = str(average.idxmin()), str(average.idxmax())
            correlation = mean_interval(_correlations(used, success), (-1.0, 1.0))
            total = mean_interval(used.mean(axis=1), bounds("modules_used"))
            last = {
                name: last_value(results, name, benchmark, method.id)
                for name in ("depth", "route_entropy", "top1_share", "route_jaccard")
            }
            rows.append(
                [
                    Cell(benchmark),
                    Cell(method.title),
                    Cell(number_interval(total), sort=total.value, runs=f"{benchmark}/{method.id}"),
                    Cell(f"{number(average[least])} ({least})", sort=float(average[least])),
                    Cell(f"{number(average[most])} ({most})", sort=float(average[most])),
                    *(Cell(number_interval(value), sort=value.value) for value in last.values()),
                    Cell(number_interval(correlation), sort=correlation.value),
                ]
            )
            depth = _by_task(results, "depth", benchmark, method.id)
            for task in used.columns:
                keys: dict[str, Any] = {
                    "scale": results.scale,
                    "benchmark": benchmark,
                    "method": method.id,
                    "task": task,
                }
                at = mean_interval(depth[task]).value if task in depth else None
                solved = mean_interval(success[task]).value if task in success else None
                data.append(
                    {
                        **keys,
                        **estimate_fields(mean_interval(used[task], bounds("modules_used"))),
                        "depth": at,
                        "success": solved,
                    }
                )
    notes = (
        (
            "Modules used: those that reach the output through edges of the deterministic route with a weight "
            "above zero, mean over evaluation states of the last evaluation. Depth: the longest path among them. "
            "ρ: Spearman's rank correlation over tasks of modules used with final success, per run and then "
            "averaged; it needs tasks that differ in both."
        ),
        INTERVAL,
        "The CSV has one row per task.",
    )
    columns = ["scale", "benchmark", "method", "task"]
    frame = pd.DataFrame(data) if data else pd.DataFrame(columns=columns)
    return Table("modules", "Modules used by routed methods", header, rows, frame, notes, scope=results.label)


def diagnostics_table(results: Results) -> Table:
    """Failure signatures of routing: in how many runs each is seen, and its numbers."""
    header = ["signature", "benchmark", "method", "verdict", "runs", "numbers (mean over runs)"]
    columns = ["scale", "signature", "benchmark", "method", "seed", "present", "numbers"]
    rows: list[list[Cell]] = []
    data: list[dict[str, Any]] = []
    for signature in SIGNATURES:
        for benchmark in results.benchmarks:
            for method in routed_methods(results, benchmark):
                seeds = results.scores(benchmark, method).index
                found = {int(seed): signature.check(results, benchmark, method, int(seed)) for seed in seeds}
                known = {seed: finding for seed, finding in found.items() if finding is not None}
                rows.append(_diagnosis(results, signature.name, benchmark, method, known))
                keys = {
                    "scale": results.scale,
                    "signature": signature.name,
                    "benchmark": benchmark,
                    "method": method,
                }
                for seed, finding in known.items():
                    said = finding.names | {name: f"{value:.6g}" for name, value in finding.numbers.items()}
                    numbers = "; ".join(f"{name}={value}" for name, value in said.items())
                    data.append({**keys, "seed": seed, "present": finding.present, "numbers": numbers})
    notes = [f"{signature.name}: {signature.meaning} Rule: {signature.rule}." for signature in SIGNATURES]
    title = "Failure signatures of routing"
    return Table(
        "diagnostics", title, header, rows, pd.DataFrame(data, columns=columns), notes, scope=results.label
    )


def _diagnosis(
    results: Results, name: str, benchmark: str, method: str, found: dict[int, Finding]
) -> list[Cell]:
    head = [Cell(name), Cell(benchmark), Cell(results.method(method).title)]
    if not found:
        return [*head, Cell("not recorded"), Cell("–"), Cell("")]
    flagged = sum(finding.present for finding in found.values())
    verdict = "present" if flagged == len(found) else "absent" if flagged == 0 else "in some runs"
    names = next(iter(found.values())).numbers
    means = {key: np.mean([finding.numbers.get(key, np.nan) for finding in found.values()]) for key in names}
    texts = [
        f"{key} {' and '.join(finding.names[key] for finding in found.values())}"
        for key in next(iter(found.values())).names
    ]
    texts += [f"{key} {number(float(value))}" for key, value in means.items() if np.isfinite(value)]
    runs = Cell(f"{flagged} of {len(found)}", sort=float(flagged), runs=f"{benchmark}/{method}")
    return [*head, Cell(verdict, bold=flagged > 0), runs, Cell(", ".join(texts))]


def _by_task(results: Results, quantity: str, benchmark: str, method: str) -> pd.DataFrame:
    """A quantity at the last evaluation: one row per seed, one column per task."""
    rows = results.metric(quantity, benchmark, method)
    last = rows[rows["step"] == rows.groupby("seed")["step"].transform("max")]
    table = last.pivot_table(index="seed", columns="task", values="value", sort=False)
    return table.reindex(columns=[name for name in results.tasks.get(benchmark, []) if name in table])


def _correlations(used: pd.DataFrame, success: pd.DataFrame) -> list[float]:
    tasks = used.columns.intersection(success.columns, sort=False)
    found = [
        spearman(used.loc[seed, tasks].to_numpy(dtype=float), success.loc[seed, tasks].to_numpy(dtype=float))
        for seed in used.index.intersection(success.index)
    ]
    return [value for value in found if value is not None]
