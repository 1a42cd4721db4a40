"""Differences to full D2R: the ablation table (variants) and the baseline table."""

from __future__ import annotations

from d2r.findings.differences import compared, improvement, standing
from d2r.findings.measures import AREA, FINAL_SUCCESS, RETURN, SUCCESS
from d2r.findings.results import REFERENCE, Results
from d2r.report.tables.columns import Column, amount, estimate, only_in_csv, tabulate, word
from d2r.report.tables.main import separated, to_d2r
from d2r.report.tables.notes import DIFFERENCE, LATE, VERDICT
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, entries
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number_interval, percent, points, points_interval

NOTES = (
    LATE,
    DIFFERENCE,
    VERDICT,
    (
        "Return and area under the success curve are the second and third measure, final success is the paper's; no "
        "verdict of a table follows from them. Of final success there is no interval: one evaluation flickers."
    ),
    (
        "P(beats D2R): probability that a run of the method has more success than a run of D2R on a task, ties half, "
        "over the tasks (their number in brackets) on which some run of either has any success. Described only."
    ),
    "A dash means that the number does not exist.",
)


def ablation_table(results: Results) -> Table:
    """Every D2R variant against full D2R."""
    return _table(results, "variant", "ablation", "Ablation: D2R variants against full D2R")


def baselines_table(results: Results) -> Table:
    """Every baseline against full D2R."""
    return _table(results, "baseline", "baselines", "Baselines against full D2R")


def _table(results: Results, kind: str, name: str, title: str) -> Table:
    rows = [
        row
        for row in entries(results)
        if row.method.kind == kind and row.id in compared(results, row.benchmark)
    ]
    return tabulate(name, title, COLUMNS, rows, NOTES, results.label)


def _beats(row: Entry) -> tuple[float | None, int]:
    return improvement(row.results, row.benchmark, row.id, REFERENCE)


def _beats_cell(row: Entry) -> Cell:
    probability, tasks = _beats(row)
    return Cell("–" if probability is None else f"{percent(probability)} ({tasks})", sort=probability)


def _runs(row: Entry) -> tuple[int, int]:
    return row.counts["finished"], row.results.run_counts(row.benchmark, REFERENCE)["finished"]


COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    only_in_csv("protocol", lambda row: row.results.protocol),
    BENCHMARK,
    METHOD,
    word("verdict", "verdict", lambda row: standing(row.results, row.benchmark, row.id)),
    estimate(
        "difference in success, points",
        "success",
        lambda row: to_d2r(row, SUCCESS),
        points_interval,
        lambda row: row.folder,
        separated,
    ),
    estimate("in return", "return", lambda row: to_d2r(row, RETURN), number_interval),
    estimate("in area under curve, points", "area", lambda row: to_d2r(row, AREA), points_interval),
    amount("in final success, points", "final_success", lambda row: to_d2r(row, FINAL_SUCCESS).value, points),
    Column("P(beats D2R), %", ("improvement", "improvement_tasks"), _beats, _beats_cell),
    Column(
        "runs",
        ("runs_method", "runs_reference"),
        _runs,
        lambda row: Cell("{} vs {}".format(*_runs(row))),
    ),
)
