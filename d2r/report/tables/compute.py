"""What methods cost: parameters, multiply-adds, updates and time."""

from __future__ import annotations

import pandas as pd

from d2r.findings.measures import bounds
from d2r.findings.results import Results
from d2r.report.tables.columns import Column, amount, estimate, tabulate
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, entries
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, number_interval
from d2r.statistics import Estimate, mean_interval

FIXED_DEPTH = "d2r-fixed-depth"


def compute_table(results: Results) -> Table:
    """Parameters, multiply-adds, updates and time of each method."""
    rows = [row for row in entries(results) if row.counts["finished"]]
    kind = results.machines[results.timed.index[0]] if len(results.timed) else "no machine"
    notes = (
        (
            "Parameters of the actor and of one of the two critics. Multiply-adds: of the actor for one decision, "
            "on the deterministic route for routed methods, mean over tasks at the last evaluation; then as a share of "
            "the network's with every module computed (matrix products only, so mixing may lift it above 100 %) "
            "and of the fixed chain of all modules."
        ),
        (
            "Times are means on the wall, simulation and evaluation included in hours. They depend on what else the "
            f"machine did, and only those of one kind can be compared: here of {kind}, which made most runs, as "
            "many as stand beside them. The table of runs has all times."
        ),
    )
    return tabulate("compute", "Compute", COLUMNS, rows, notes, results.label)


def multiply_adds(results: Results, benchmark: str, method: str) -> Estimate:
    """Multiply-adds per decision at the last evaluation, mean over tasks; all of them where there is no route."""
    work = results.last_values("multiply_adds", benchmark, method)
    if work.empty:
        work = results.last_values("multiply_adds_dense", benchmark, method)
    return mean_interval(work, bounds("multiply_adds"))


def _work(row: Entry) -> Estimate:
    return multiply_adds(row.results, row.benchmark, row.id)


def _of_dense(row: Entry) -> float | None:
    return _ratio(
        _work(row), mean_interval(row.results.last_values("multiply_adds_dense", row.benchmark, row.id))
    )


def _of_fixed_depth(row: Entry) -> float | None:
    return _ratio(_work(row), multiply_adds(row.results, row.benchmark, FIXED_DEPTH))


def _ratio(part: Estimate, whole: Estimate) -> float | None:
    """One mean over another, if both are known."""
    return part.value / whole.value if part.value is not None and whole.value else None


def _share(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.0%}".replace("%", " %")


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _runs(row: Entry) -> pd.DataFrame:
    runs = row.results.finished
    return runs[(runs["benchmark"] == row.benchmark) & (runs["method"] == row.id)]


def _timed(row: Entry) -> pd.DataFrame:
    runs = row.results.timed
    return runs[(runs["benchmark"] == row.benchmark) & (runs["method"] == row.id)]


def _mean(values: pd.Series[float]) -> float | None:
    known = values.dropna()
    return float(known.mean()) if len(known) else None


COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    amount(
        "parameters (actor)",
        "parameters_actor",
        lambda row: float(_runs(row)["parameters_actor"].iloc[0]),
        _whole,
        lambda row: row.folder,
    ),
    amount(
        "parameters (critic)",
        "parameters_critic",
        lambda row: float(_runs(row)["parameters_critic"].iloc[0]),
        _whole,
    ),
    estimate("multiply-adds per decision", "multiply_adds", _work, number_interval),
    amount("of all its modules", "of_dense", _of_dense, _share),
    amount("of fixed depth", "of_fixed_depth", _of_fixed_depth, _share),
    amount("updates", "updates", lambda row: float(_runs(row)["updates"].max()), _whole),
    amount("ms per update", "ms_per_update", lambda row: _mean(1000 * _timed(row)["update_seconds"]), number),
    amount("hours per run", "hours_per_run", lambda row: _mean(_timed(row)["hours"]), number),
    Column(
        "timed",
        ("runs_timed", "runs"),
        lambda row: (len(_timed(row)), len(_runs(row))),
        lambda row: Cell(f"{len(_timed(row))} of {len(_runs(row))} runs", sort=len(_timed(row))),
    ),
)
