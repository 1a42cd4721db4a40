"""How methods that start from other runs do on tasks that they have never seen, after few episodes."""

from __future__ import annotations

from d2r.findings.results import Results, method_info
from d2r.findings.transfer import Transfer, episodes_shown, transfers
from d2r.report.tables.columns import Column, amount, estimate, only_in_csv, tabulate, word
from d2r.report.tables.notes import INTERVAL, LOST
from d2r.report.tables.rows import runs_or_none
from d2r.report.tables.table import Table
from d2r.report.text import number, percent_interval, points_interval
from d2r.statistics import mean_interval


def transfer_table(results: Results) -> Table:
    """Success and return after each number of episodes, and the jump at the start."""
    episodes = episodes_shown(results)
    notes = (
        (
            "Success in percent and return after so many episodes of each task, means over tasks; jump: success before "
            "the first step, minus that of the same method from scratch."
        ),
        (
            "What learns: everything; the routing network and what is of single new tasks; or the latter and the "
            "output layer (new-task). What is of new tasks begins as in a fresh network."
        ),
        INTERVAL,
        LOST,
    )
    columns = (*COLUMNS, *(_success(after) for after in episodes), *(_returns(after) for after in episodes))
    return tabulate("transfer", "Few-shot transfer", columns, transfers(results), notes, results.label)


def _success(after: int) -> Column[Transfer]:
    return estimate(
        f"success after {after}",
        f"success_{after}",
        lambda row: mean_interval(row.after("success", after), (0.0, 1.0)),
        percent_interval,
        _folder,
    )


def _returns(after: int) -> Column[Transfer]:
    def mean(row: Transfer) -> float | None:
        values = row.after("return", after)
        return float(values.mean()) if len(values) else None

    return amount(f"return after {after}", f"return_{after}", mean, number)


def _folder(row: Transfer) -> str:
    return f"{row.benchmark}/{row.method.id}" if row.counts["finished"] else ""


def _source(row: Transfer) -> str:
    source = row.start_from
    return "" if source is None else f"{source.scale}/{source.benchmark}/{source.method}"


COLUMNS: tuple[Column[Transfer], ...] = (
    only_in_csv("scale", lambda row: row.results.scale),
    word("benchmark", "benchmark", lambda row: row.benchmark),
    word("method", "method", lambda row: row.method.id, lambda row: method_info(row.scratch).title),
    word("starts from", "start_from", _source, lambda row: _source(row) or "scratch"),
    word("learns", "adapt", lambda row: row.adapt, lambda row: row.adapt or "all"),
    Column("runs", ("runs",), lambda row: (row.counts["finished"],), lambda row: runs_or_none(row.counts)),
    estimate("jump at the start, points", "jump", lambda row: row.jump(), points_interval),
)
