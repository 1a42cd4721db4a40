"""What the page's own tables show: the forest of differences, claims, levels of methods, and the map of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pandas as pd

from d2r.findings.claims import Evidence, Judgement, claims_file
from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.learning import SOLVED
from d2r.findings.measures import SUCCESS
from d2r.findings.results import MethodInfo, Results
from d2r.report.bars import Axis, axis_of, balanced
from d2r.report.claims_text import command, compared_words, found_text, missing_text
from d2r.report.summary import Compared, Summary
from d2r.report.tables.main import budget_text
from d2r.report.text import run_count
from d2r.statistics import Direction, Estimate, Verdict

MARKS: dict[Verdict, str] = {"supported": "✓", "refuted": "✗", "open": "○"}

Zone = tuple[float, float] | None


@dataclass(frozen=True)
class Forest:
    """Differences to D2R on a benchmark, on the axis of all benchmarks."""

    benchmark: str
    rows: list[Compared]
    axis: Axis
    zone: Zone


def forests(summary: Summary) -> list[Forest]:
    """One for each benchmark with a comparison."""
    if not summary.comparisons:
        return []
    stated = claims_file().smallest_effects.get(SUCCESS.name)
    smallest = None if stated is None else stated.beside(None)
    zone = None if smallest is None else (-smallest, smallest)
    axis = balanced(axis_of([row.difference for row in summary.comparisons], *(zone or (-0.01, 0.01))))
    return [
        Forest(benchmark, rows, axis, zone)
        for benchmark in summary.results.benchmarks
        if (rows := [row for row in summary.comparisons if row.benchmark == benchmark])
    ]


@dataclass(frozen=True)
class EvidenceRow:
    """One comparison in words."""

    benchmark: str
    what: str
    number: str
    verdict: Verdict
    reason: str
    needed: int | None
    runs: str


@dataclass(frozen=True)
class ClaimRow:
    """A claim as a row of the table, and what its drawer holds; ``best`` is empty where nothing was measured."""

    id: str
    claim: str
    verdict: Verdict
    best: str
    number: str
    shown: Estimate | None
    axis: Axis | None
    zone: Zone
    runs: int
    missing: str
    where: str
    experiment: str
    compare: str
    command: str
    evidence: list[EvidenceRow]


def claim_rows(summary: Summary) -> list[ClaimRow]:
    """One for each claim."""
    return [_claim_row(summary.results, judgement) for judgement in summary.judgements]


def _claim_row(results: Results, judgement: Judgement) -> ClaimRow:
    claim = judgement.claim
    best = most_telling(judgement)
    shown = zone = axis = None
    if best is not None:
        direction = _direction(judgement, best)
        shown = -best.estimate if direction == "lower" else best.estimate
        smallest = best.smallest
        if smallest is not None:
            zone = (-smallest, smallest) if direction == "equal" else (0.0, smallest)
        axis = balanced(axis_of([shown], 0.0, *(zone or ())))
    return ClaimRow(
        id=claim.id,
        claim=claim.claim,
        verdict=judgement.verdict,
        best="" if best is None else f"{best.benchmark}, {compared_words(best)}",
        number="" if best is None else found_text(best),
        shown=shown,
        axis=axis,
        zone=zone,
        runs=0 if best is None else best.estimate.n,
        missing=missing_text(judgement),
        where=claim.where,
        experiment=claim.experiment,
        compare=claim.compare,
        command=command(claim, results.scale),
        evidence=[_evidence_row(results, found) for found in judgement.evidence],
    )


def _direction(judgement: Judgement, evidence: Evidence) -> Direction:
    """The side on which the claim sees D2R in a comparison."""
    tests = judgement.claim.tests
    return next((test.direction for test in tests if test.quantity == evidence.measure.name), "higher")


def most_telling(judgement: Judgement) -> Evidence | None:
    """The comparison that the verdict rests on: of those that led to it, the one that is worst for the claim.

    That is the one that lies farthest from the claimed side, in units of the width of its interval.
    """

    def advantage(evidence: Evidence) -> float:
        estimate = evidence.estimate
        if estimate.low is None or estimate.high is None or estimate.value is None:
            return inf
        value = estimate.value
        signed = {"higher": value, "lower": -value, "equal": -abs(value)}[_direction(judgement, evidence)]
        width = estimate.high - estimate.low
        return signed / width if width else inf

    found = [
        evidence
        for evidence in judgement.evidence
        if evidence.estimate.value is not None and evidence.conclusion.verdict == judgement.verdict
    ]
    return min(found, key=advantage, default=None)


def _evidence_row(results: Results, found: Evidence) -> EvidenceRow:
    method = found.methods[-1] if found.methods else ""
    linked = method and results.run_counts(found.benchmark, method)["finished"]
    return EvidenceRow(
        found.benchmark,
        compared_words(found),
        found_text(found),
        found.conclusion.verdict,
        found.conclusion.reason,
        found.conclusion.runs_needed,
        f"{found.benchmark}/{method}" if linked else "",
    )


@dataclass(frozen=True)
class Level:
    """A method on a benchmark: its mean, its single runs, and whether it is told apart from D2R."""

    method: str
    title: str
    level: Estimate
    runs: list[float]
    apart: bool
    count: str


@dataclass(frozen=True)
class Levels:
    """All methods on a benchmark, the highest first."""

    benchmark: str
    budget: str
    axis: Axis
    rows: list[Level]


def levels(summary: Summary) -> list[Levels]:
    """One for each benchmark, on one axis."""
    results = summary.results
    by_method = {(row.benchmark, row.method): row for row in summary.comparisons}
    found: dict[str, list[Level]] = {}
    for benchmark in results.benchmarks:
        for method in results.methods:
            estimate = summary.level(benchmark, method.id)
            if estimate.value is not None:
                row = by_method.get((benchmark, method.id))
                found.setdefault(benchmark, []).append(_level(results, benchmark, method, estimate, row))
    if not found:
        return []
    rows = [row for group in found.values() for row in group]
    axis = axis_of([row.level for row in rows], 0.0, *(value for row in rows for value in row.runs))
    return [
        Levels(
            benchmark,
            budget_text(results, benchmark),
            axis,
            sorted(group, key=lambda row: -(row.level.value or 0.0)),
        )
        for benchmark, group in found.items()
    ]


def _level(
    results: Results, benchmark: str, method: MethodInfo, estimate: Estimate, row: Compared | None
) -> Level:
    return Level(
        method.id,
        method.title,
        estimate,
        SUCCESS.of_runs(results, benchmark, method.id).tolist(),
        row is not None and row.side != 0,
        run_count(results.run_counts(benchmark, method.id)).removeprefix("n="),
    )


@dataclass(frozen=True)
class Heat:
    """One cell: success in percent, its share for the colour, and how many runs solve the task."""

    text: str
    share: str
    runs: str


@dataclass(frozen=True)
class HeatMap:
    """Success of each method on each task of a benchmark."""

    benchmark: str
    methods: list[MethodInfo]
    rows: list[tuple[str, list[Heat | None]]]


def heat_maps(results: Results) -> list[HeatMap]:
    """One for each benchmark, easiest task first, D2R in the first column."""
    maps = []
    for benchmark in results.benchmarks:
        methods = [m for m in results.methods if len(results.late_by_task("success", benchmark, m.id))]
        if methods:
            columns = [_heat_column(results.late_by_task("success", benchmark, m.id)) for m in methods]
            rows = [
                (task.removesuffix("-v3"), [column.get(task) for column in columns])
                for task in tasks_by_difficulty(results, benchmark)
            ]
            maps.append(HeatMap(benchmark, methods, rows))
    return maps


def _heat_column(late: pd.DataFrame) -> dict[str, Heat]:
    return {
        str(task): Heat(
            f"{100 * late[task].mean():.0f}",
            f"{late[task].mean():.2f}".rstrip("0").rstrip("."),
            f"{int((late[task] >= SOLVED).sum())}/{late[task].count()}",
        )
        for task in late
    }
