"""What the router sees: success beside how much routes differ between states, phases of the episode, and tasks."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from d2r.findings.measures import SUCCESS, last_value
from d2r.findings.results import Results, method_info
from d2r.findings.router_inputs import (
    ROUTER_INPUTS,
    benchmarks_of_router_inputs,
    task_bias,
    task_information,
)
from d2r.report.tables.columns import Column, amount, estimate, tabulate, word
from d2r.report.tables.main import mean_of
from d2r.report.tables.notes import INTERVAL, LATE, LOST
from d2r.report.tables.rows import BENCHMARK, METHOD, SCALE, Entry, runs_or_none
from d2r.report.tables.table import Table
from d2r.report.text import number, number_interval, percent_interval
from d2r.statistics import Estimate, mean_interval


def router_inputs_table(results: Results) -> Table:
    """A row for each thing that the router may see, whether or not it was run."""
    rows = [
        Entry(results, benchmark, method_info(name))
        for benchmark in benchmarks_of_router_inputs(results)
        for name in ROUTER_INPUTS
    ]
    notes = (
        LATE,
        (
            "Information: what the source that a reader takes, drawn by its weight, says of the task, or within a task "
            "of the state or of the quarter of the episode. Mutual information in bits given the reader, at the last "
            "evaluation, over readers with a choice, each as often as it is in use; 0: routes do not differ."
        ),
        (
            "On the task: from recorded mean weights, not corrected; beside it by how much it were too high if states "
            "were independent draws (Miller 1955). On the state: exact for the states looked at, so one of few states "
            "is at most the logarithm of their number. On the quarter: minus the mean of shuffled quarters."
        ),
        INTERVAL,
        LOST,
    )
    return tabulate("router-inputs", "What the router sees", COLUMNS, rows, notes, results.label)


def _over_runs(of_runs: Callable[[Results, str, str], pd.Series[float]]) -> Callable[[Entry], Estimate]:
    return lambda row: mean_interval(of_runs(row.results, row.benchmark, row.id), (0.0, float("inf")))


def _bias(row: Entry) -> float | None:
    values = task_bias(row.results, row.benchmark, row.id)
    return float(values.mean()) if len(values) else None


def _recorded(title: str, quantity: str) -> Column[Entry]:
    """A quantity that runs of earlier versions lack."""

    def value(row: Entry) -> Estimate:
        found = last_value(row.results, quantity, row.benchmark, row.id)
        if found.n == 0 and row.counts["finished"]:
            return Estimate(None, None, None, 0, "none", "not recorded")
        return found

    def show(found: Estimate) -> str:
        return found.note if found.note == "not recorded" else number_interval(found)

    return estimate(title, quantity, value, show)


COLUMNS: tuple[Column[Entry], ...] = (
    SCALE,
    BENCHMARK,
    METHOD,
    word("the router sees", "router_sees", lambda row: ROUTER_INPUTS[row.id]),
    Column("runs", ("runs",), lambda row: (row.counts["finished"],), lambda row: runs_or_none(row.counts)),
    estimate(
        SUCCESS.words, "success", lambda row: mean_of(row, SUCCESS), percent_interval, lambda row: row.folder
    ),
    estimate("information on the task", "task_information", _over_runs(task_information), number_interval),
    amount("its bias", "task_information_bias", _bias, number),
    _recorded("on the state", "route_state_information"),
    _recorded("on the quarter", "route_phase_information"),
)
