"""What most tables have a row for, a method on a benchmark, and the columns that they share."""

from __future__ import annotations

from dataclasses import dataclass

from d2r.findings.results import MethodInfo, Results
from d2r.report.tables.columns import Column, only_in_csv, word
from d2r.report.tables.table import Cell
from d2r.report.text import run_count


@dataclass(frozen=True)
class Entry:
    """A method on a benchmark."""

    results: Results
    benchmark: str
    method: MethodInfo

    @property
    def id(self) -> str:
        """Id of the method."""
        return self.method.id

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of its runs by status."""
        return self.results.run_counts(self.benchmark, self.id)

    @property
    def folder(self) -> str:
        """Folder of its runs below ``runs/``; empty where none finished."""
        return f"{self.benchmark}/{self.id}" if self.counts["finished"] else ""


def entries(results: Results) -> list[Entry]:
    """Every method on every benchmark on which it was planned."""
    return [
        Entry(results, benchmark, method)
        for benchmark in results.benchmarks
        for method in results.methods
        if results.run_counts(benchmark, method.id)["all"]
    ]


def runs_or_none(counts: dict[str, int]) -> Cell:
    """Numbers of runs by status in words, where some may never have been asked for."""
    return Cell(run_count(counts) if counts["finished"] else "not run")


SCALE: Column[Entry] = only_in_csv("scale", lambda row: row.results.scale)
BENCHMARK: Column[Entry] = word("benchmark", "benchmark", lambda row: row.benchmark)
METHOD: Column[Entry] = word("method", "method", lambda row: row.id, lambda row: row.method.title)
RUNS: Column[Entry] = Column(
    "runs", ("runs",), lambda row: (row.counts["finished"],), lambda row: Cell(run_count(row.counts))
)
