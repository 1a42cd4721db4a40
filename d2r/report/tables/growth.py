"""Networks that grow beside such with a fixed number of modules, at equal budget."""

from __future__ import annotations

from d2r.findings.growth import FIXED, GROWING, benchmarks_of_growth, method_with
from d2r.findings.measures import AREA, SUCCESS, bounds, last_value
from d2r.findings.recorded_routes import num_modules
from d2r.findings.results import Results, method_info
from d2r.report.tables.columns import Column, amount, estimate, tabulate, word
from d2r.report.tables.main import mean_of
from d2r.report.tables.notes import INTERVAL, LATE, LOST
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, runs_or_none
from d2r.report.tables.table import Table
from d2r.report.text import number_interval, percent_interval, steps
from d2r.statistics import Estimate, mean_interval


def growth_table(results: Results) -> Table:
    """A row for each rule by which a module opens, and for each fixed number, whether or not it was run."""
    rows = [
        Entry(results, benchmark, method_info(name))
        for benchmark in benchmarks_of_growth(results)
        for name in (*GROWING, *(method_with(results, benchmark, modules) for modules in FIXED))
    ]
    notes = (
        LATE,
        (
            "Modules at the end: those that routes may use at the last evaluation. Modules used: those of them that "
            "reach the output, mean over tasks and evaluation states."
        ),
        INTERVAL,
        LOST,
    )
    return tabulate("growth", "Growing and fixed numbers of modules", COLUMNS, rows, notes, results.label)


def _at_end(row: Entry) -> Estimate:
    grown = row.results.last_values("modules_in_use", row.benchmark, row.id)
    if len(grown) or not row.counts["finished"]:
        return mean_interval(grown, bounds("modules_used"))
    modules = num_modules(row.results, row.benchmark, row.id)
    return mean_interval([float(modules)] * row.counts["finished"], bounds("modules_used"))


def _steps(row: Entry) -> float | None:
    runs = row.results.finished
    runs = runs[(runs["benchmark"] == row.benchmark) & (runs["method"] == row.id)]
    return float(runs["steps"].max()) if len(runs) else None


COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    word("a module opens", "rule", lambda row: GROWING.get(row.id, ""), lambda row: GROWING.get(row.id, "–")),
    Column("runs", ("runs",), lambda row: (row.counts["finished"],), lambda row: runs_or_none(row.counts)),
    amount("steps per task", "steps_per_task", _steps, steps),
    estimate(
        SUCCESS.words, "success", lambda row: mean_of(row, SUCCESS), percent_interval, lambda row: row.folder
    ),
    estimate(AREA.words, "area", lambda row: mean_of(row, AREA), percent_interval),
    estimate("modules at the end", "modules_at_end", _at_end, number_interval),
    estimate(
        "modules used",
        "modules_used",
        lambda row: last_value(row.results, "modules_used", row.benchmark, row.id),
        number_interval,
    ),
)
