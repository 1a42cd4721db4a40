"""The main table: every method on every benchmark, beside D2R and what others published."""

from __future__ import annotations

from d2r.findings.differences import difference, is_separated, standing
from d2r.findings.measures import FINAL_SUCCESS, SUCCESS, Measure
from d2r.findings.published import published_text, published_values_of
from d2r.findings.results import REFERENCE, Results
from d2r.report.tables.columns import Column, estimate, only_in_csv, tabulate, word
from d2r.report.tables.notes import DIFFERENCE, FINAL, INTERVAL, LATE, LOST, VERDICT
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, entries
from d2r.report.tables.table import Cell, Table
from d2r.report.text import percent_interval, points_interval, run_count, steps
from d2r.statistics import Estimate, mean_interval


def main_table(results: Results) -> Table:
    """Success of each method with its interval, and its difference to D2R."""
    rows = entries(results)
    printed = [published_values_of(row.id, row.benchmark) for row in rows]
    used = {value.source.mark: value.source for values in printed for value in values}
    cited = "; ".join(f"[{mark}] {used[mark].title} ({used[mark].confidence})" for mark in sorted(used))
    published = "Published values are what others printed, under other protocols; unknown: none found."
    published += f" {cited}." if cited else ""
    notes = (LATE, INTERVAL, DIFFERENCE, VERDICT, FINAL, LOST, published)
    title = "Success rate in percent"
    return tabulate("main", title, COLUMNS, rows, notes, results.label)


def mean_of(row: Entry, measure: Measure) -> Estimate:
    """A measure's mean over the runs of a method, with its interval."""
    return mean_interval(measure.of_runs(row.results, row.benchmark, row.id), measure.bounds)


def to_d2r(row: Entry, measure: Measure) -> Estimate:
    """The difference to D2R; none of D2R itself."""
    if row.id == REFERENCE:
        return Estimate(None, None, None, 0, "none", "what the others are compared with")
    return difference(row.results, measure, row.benchmark, row.id)


def separated(row: Entry) -> bool:
    """Whether the method differs from D2R."""
    return is_separated(row.results, row.benchmark, row.id)


def _most(row: Entry, column: str) -> object:
    """The largest number that a finished run has in a column of ``runs.csv``; none without a run."""
    runs = row.results.finished
    runs = runs[(runs["benchmark"] == row.benchmark) & (runs["method"] == row.id)]
    return runs[column].max() if len(runs) else None


COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    only_in_csv("protocol", lambda row: row.results.protocol),
    BENCHMARK,
    METHOD,
    estimate(
        SUCCESS.words,
        "success",
        lambda row: mean_of(row, SUCCESS),
        percent_interval,
        lambda row: row.folder,
        separated,
    ),
    estimate(
        "difference to D2R, points",
        "difference",
        lambda row: to_d2r(row, SUCCESS),
        points_interval,
        bold=separated,
    ),
    only_in_csv(
        "verdict", lambda row: "" if row.id == REFERENCE else standing(row.results, row.benchmark, row.id)
    ),
    estimate("final success", "final_success", lambda row: mean_of(row, FINAL_SUCCESS), percent_interval),
    Column(
        "runs",
        ("runs_finished", "runs_failed", "runs_missing"),
        lambda row: [row.counts[status] for status in ("finished", "failed", "missing")],
        lambda row: Cell(run_count(row.counts)),
    ),
    only_in_csv(
        "seeds", lambda row: " ".join(str(seed) for seed in row.results.seeds(row.benchmark, row.id))
    ),
    only_in_csv("steps_per_task", lambda row: _most(row, "planned_steps")),
    only_in_csv("evaluation_episodes", lambda row: _most(row, "evaluation_episodes")),
    word("published", "published", lambda row: published_text(row.id, row.benchmark)),
)


def budget_text(results: Results, benchmark: str) -> str:
    """Environment steps over all tasks, such as ``15.0M steps``."""
    rows = results.runs[(results.runs["benchmark"] == benchmark) & results.runs["planned_steps"].notna()]
    totals = sorted({int(row) for row in rows["planned_steps"] * rows["tasks"]})
    return f"{' or '.join(steps(total) for total in totals)} env steps" if totals else "no run"
