"""What was run, and what is missing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from d2r.findings.results import Results
from d2r.report.tables.columns import Column, amount, word
from d2r.report.tables.table import Cell, Table
from d2r.report.text import number, percent, steps


def runs_table(results: Results) -> Table:
    """Every planned or found run, with its score and where its numbers come from."""
    means = results.final_success.groupby(["benchmark", "method", "seed"])["success"].mean()
    scores = dict(zip(means.index, means, strict=True))

    def score(run: Any) -> Cell:
        found = scores.get((run.benchmark, run.method, run.seed))
        folder = "" if run.status == "missing" else f"{run.benchmark}/{run.method}/seed{run.seed}"
        return Cell(percent(found), sort=found, runs=folder)

    columns = (*BEFORE, Column("final success", (), lambda _run: (), score), *AFTER)
    notes = (
        (
            "Success in percent of the final policy; failed and missing runs enter no table. Each run's folder "
            "holds run.json (configuration, package versions, commit, machine, sha256 of its files)."
        ),
        *_mixed_configurations(results),
        *_unusual(results),
    )
    return Table(
        "runs",
        "Runs",
        [column.title for column in columns],
        [[column.cell(run) for column in columns] for run in results.listed.itertuples()],
        results.listed.drop(columns=["choices"]),  # the whole list is the CSV
        notes,
        results.label,
    )


def _mixed_configurations(results: Results) -> list[str]:
    """A warning for each method whose runs differ in more than the seed."""
    kinds = results.finished.groupby(["benchmark", "method"])["choices"].nunique().reset_index()
    kinds = kinds[kinds["choices"] > 1]
    return [
        f"WARNING: the runs of {row.method} on {row.benchmark} differ in more than their seed (see run.json)."
        for row in kinds.itertuples()
    ]


def _unusual(results: Results) -> list[str]:
    """What a reader of any table has to know of its runs beside their configuration."""
    finished = results.finished
    outdated = finished[finished["outdated"].astype(bool)]
    methods = ", ".join(sorted({f"{row.method} on {row.benchmark}" for row in outdated.itertuples()}))
    notes = []
    unplanned = len(results.listed) - len(results.runs)
    if unplanned:
        notes.append(
            f"{unplanned} runs are not in the plan of the scale; they are listed and enter no other table."
        )
    if methods:
        notes.append(f"WARNING: config/ states another configuration now than these runs have: {methods}.")
    for options, runs in finished[finished["execution"] != ""].groupby("execution"):
        notes.append(f"{len(runs)} of {len(finished)} runs were executed with {options}.")
    return notes


def _known(value: object) -> float | None:
    return None if pd.isna(value) else float(str(value))  # type: ignore[call-overload]


def _short(value: object) -> str:
    if pd.isna(value) or value == "":  # type: ignore[call-overload]
        return "–"
    return " then ".join(part[:10] for part in str(value).split(" then "))


BEFORE: tuple[Column[Any], ...] = (
    word("benchmark", "benchmark", lambda run: str(run.benchmark)),
    word("method", "method", lambda run: str(run.method)),
    amount("seed", "seed", lambda run: run.seed, lambda seed: f"{seed}"),
    word("status", "status", lambda run: f"{run.status}{'' if run.planned else ' (not in the plan)'}"),
)
AFTER: tuple[Column[Any], ...] = (
    amount("steps per task", "steps", lambda run: _known(run.steps), steps),
    amount("hours", "hours", lambda run: _known(run.hours), number),
    word("config", "config_hash", lambda run: _short(run.config_hash)),
    word("commit", "commit", lambda run: _short(run.commit)),
    word("failure", "failure", lambda run: str(run.failure)),
)
