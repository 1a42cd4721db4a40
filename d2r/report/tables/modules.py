"""Modules used by routed methods, and the failure signatures of routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from d2r.findings.measures import bounds, last_value
from d2r.findings.results import Results
from d2r.findings.signatures import SIGNATURES, Finding, Signature
from d2r.report.tables.columns import Column, estimate, tabulate, word
from d2r.report.tables.notes import INTERVAL
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, entries
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, number_interval
from d2r.statistics import mean_interval, spearman


def modules_table(results: Results) -> Table:
    """Modules that the deterministic route uses: mean over tasks, least and most, and their relation to success."""
    rows = [
        row
        for row in entries(results)
        if row.id in results.routed_methods(row.benchmark) and not _used(row).empty
    ]
    notes = (
        (
            "Modules used: those that reach the output through edges of the deterministic route with a weight "
            "above zero, mean over evaluation states of the last evaluation. Depth: the longest path among them. "
            "ρ: Spearman's rank correlation over tasks of modules used with final success, per run and then "
            "averaged; it needs tasks that differ in both."
        ),
        INTERVAL,
    )
    title = "Modules used by routed methods"
    return tabulate("modules", title, MODULE_COLUMNS, rows, notes, results.label)


def _used(row: Entry) -> pd.DataFrame:
    """Modules used at the last evaluation: one row per seed, one column per task."""
    rows = row.results.metric("modules_used", row.benchmark, row.id)
    last = rows[rows["step"] == rows.groupby("seed")["step"].transform("max")]
    table = last.pivot_table(index="seed", columns="task", values="value", sort=False)
    return table.reindex(columns=row.results.in_order(row.benchmark, table))


def _correlations(row: Entry) -> list[float]:
    used, success = _used(row), row.results.final_by_task(row.benchmark, row.id)
    tasks = used.columns.intersection(success.columns, sort=False)
    found = [
        spearman(used.loc[seed, tasks].to_numpy(dtype=float), success.loc[seed, tasks].to_numpy(dtype=float))
        for seed in used.index.intersection(success.index)
    ]
    return [value for value in found if value is not None]


def _extreme(title: str, field: str, most: bool) -> Column[Entry]:
    """The task that uses fewest or most modules."""

    def values(row: Entry) -> tuple[str, float]:
        average = _used(row).mean()
        task = str(average.idxmax() if most else average.idxmin())
        return task, float(average[task])

    def cell(row: Entry) -> Cell:
        task, modules = values(row)
        return Cell(f"{number(modules)} ({task})", sort=modules)

    return Column(title, (f"{field}_task", field), values, cell)


def _last(title: str, quantity: str) -> Column[Entry]:
    return estimate(
        title, quantity, lambda row: last_value(row.results, quantity, row.benchmark, row.id), number_interval
    )


MODULE_COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    estimate(
        "modules used",
        "modules_used",
        lambda row: mean_interval(_used(row).mean(axis=1), bounds("modules_used")),
        number_interval,
        lambda row: row.folder,
    ),
    _extreme("least (task)", "least", most=False),
    _extreme("most (task)", "most", most=True),
    _last("depth", "depth"),
    _last("route entropy", "route_entropy"),
    _last("top-1 share", "top1_share"),
    _last("overlap of tasks", "route_jaccard"),
    estimate(
        "ρ (modules, success)",
        "rho",
        lambda row: mean_interval(_correlations(row), (-1.0, 1.0)),
        number_interval,
    ),
)


@dataclass(frozen=True)
class Diagnosis:
    """A signature in the runs of a method."""

    entry: Entry
    signature: Signature
    found: dict[int, Finding]
    """By seed, of the runs that recorded what the check needs."""

    @property
    def flagged(self) -> list[int]:
        """Seeds in which it is present."""
        return [seed for seed, finding in self.found.items() if finding.present]

    @property
    def verdict(self) -> str:
        """Whether it is present."""
        if not self.found:
            return "not recorded"
        return {0: "absent", len(self.found): "present"}.get(len(self.flagged), "in some runs")


def diagnostics_table(results: Results) -> Table:
    """Failure signatures of routing: in how many runs each is seen, and its numbers."""
    rows = [
        _diagnosis(row, signature)
        for signature in SIGNATURES
        for row in entries(results)
        if row.id in results.routed_methods(row.benchmark)
    ]
    notes = [f"{signature.name}: {signature.meaning} Rule: {signature.rule}." for signature in SIGNATURES]
    title = "Failure signatures of routing"
    return tabulate("diagnostics", title, DIAGNOSIS_COLUMNS, rows, notes, results.label)


def _diagnosis(entry: Entry, signature: Signature) -> Diagnosis:
    found = {
        seed: signature.check(entry.results, entry.benchmark, entry.id, seed)
        for seed in entry.results.seeds(entry.benchmark, entry.id)
    }
    return Diagnosis(entry, signature, {seed: finding for seed, finding in found.items() if finding})


def _numbers(row: Diagnosis) -> str:
    """What was found, mean over runs; names run by run."""
    if not row.found:
        return ""
    findings = list(row.found.values())
    means = {
        key: np.mean([finding.numbers.get(key, np.nan) for finding in findings])
        for key in findings[0].numbers
    }
    texts = [f"{key} {' and '.join(finding.names[key] for finding in findings)}" for key in findings[0].names]
    texts += [f"{key} {number(float(value))}" for key, value in means.items() if np.isfinite(value)]
    return ", ".join(texts)


def _by_run(row: Diagnosis) -> str:
    """What was found in each run."""
    return " | ".join(
        f"seed {seed}: " + "; ".join([*_said(finding.names), *_said(finding.numbers)])
        for seed, finding in row.found.items()
    )


def _said(found: Mapping[str, str] | Mapping[str, float]) -> list[str]:
    return [f"{key}={value if isinstance(value, str) else f'{value:.6g}'}" for key, value in found.items()]


def _of_entry(column: Column[Entry]) -> Column[Diagnosis]:
    return Column(
        column.title, column.fields, lambda row: column.values(row.entry), lambda row: column.cell(row.entry)
    )


def _runs_cell(row: Diagnosis) -> Cell:
    if not row.found:
        return Cell("–")
    return Cell(
        f"{len(row.flagged)} of {len(row.found)}", sort=float(len(row.flagged)), runs=row.entry.folder
    )


DIAGNOSIS_COLUMNS: tuple[Column[Diagnosis], ...] = (
    _of_entry(SCALE),
    word("signature", "signature", lambda row: row.signature.name),
    _of_entry(BENCHMARK),
    _of_entry(METHOD),
    Column(
        "verdict",
        ("verdict",),
        lambda row: (row.verdict,),
        lambda row: Cell(row.verdict, bold=bool(row.flagged)),
    ),
    Column(
        "runs",
        ("runs_flagged", "runs", "seeds_flagged"),
        lambda row: (len(row.flagged), len(row.found), " ".join(map(str, row.flagged))),
        _runs_cell,
    ),
    Column(
        "numbers (mean over runs)", ("numbers",), lambda row: (_by_run(row),), lambda row: Cell(_numbers(row))
    ),
)
