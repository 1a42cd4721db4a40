"""The paper's claims and what the runs say about each, from one data file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from d2r.config.benchmarks import BenchmarkId
from d2r.config.parse import parse
from d2r.config.reader import read_yaml
from d2r.config.schema import Frozen
from d2r.findings.differences import compared, model
from d2r.findings.measures import Measure, measure
from d2r.findings.results import REFERENCE, Results
from d2r.statistics import OTHER_SIDE, Direction, Estimate, Verdict, mean_interval, runs_to_settle, verdict

DATA = Path(__file__).parent / "data" / "claims.yaml"
Names = Annotated[tuple[str, ...], Field(strict=False)]
LEARNED_NOTHING = 0.05
"""Success below which, on both sides, a comparison says nothing about the methods."""


class SmallestEffect(Frozen):
    """Smallest effect worth having of a measure, stated in one of three ways."""

    points: float | None = Field(default=None, gt=0)
    """Percentage points of success."""
    share: float | None = Field(default=None, gt=0)
    """Of the size of what is compared with."""
    size: float | None = Field(default=None, gt=0)

    def beside(self, other: float | None) -> float | None:
        """The effect in units of its measure; none where it is a share of a value that there is not.

        Args:
            other: mean of what is compared with.
        """
        if self.points is not None:
            return self.points / 100
        if self.share is not None:
            return None if other is None else self.share * abs(other)
        return self.size


class ClaimTest(Frozen):
    """One comparison that a claim rests on."""

    quantity: str
    benchmarks: Annotated[tuple[BenchmarkId, ...], Field(strict=False)]
    than: Literal["baselines"] | Names | None = None
    than_quantity: str | None = None
    direction: Direction = "higher"
    of: str = REFERENCE
    """The method whose runs are compared."""


class Claim(Frozen):
    """One claim, the experiment that bears on it, and where to look."""

    id: str
    claim: str
    where: str
    tests: tuple[ClaimTest, ...] = Field(strict=False)
    experiment: str
    methods: Literal["all"] | Names
    compare: str
    scale: str | None = None
    """The one scale that asks for it; none: every scale."""

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks that it is tested on."""
        return sorted({benchmark for test in self.tests for benchmark in test.benchmarks})


class Cost(Frozen):
    """What one run takes, roughly."""

    hours: float
    megabytes: float
    machine: str


class ClaimsFile(Frozen):
    """What ``claims.yaml`` holds."""

    smallest_effects: dict[str, SmallestEffect]
    claims: tuple[Claim, ...] = Field(strict=False)
    cost: dict[str, Cost]


@dataclass(frozen=True)
class Conclusion:
    """What one comparison says about a claim."""

    verdict: Verdict
    reason: str
    runs_needed: int | None = None
    """Runs of each method that would settle it, where it is open and so many can be named."""


@dataclass(frozen=True)
class Evidence:
    """One measured comparison that bears on a claim."""

    benchmark: str
    measure: Measure
    against: str
    """What D2R is compared with: the id of a method, of another quantity of the same runs, or nothing for zero."""
    estimate: Estimate
    """The value of the first of ``methods``, D2R in most claims, less that."""
    smallest: float | None
    """Effect worth having, in the unit of the estimate; none: any."""
    conclusion: Conclusion
    methods: tuple[str, ...]
    """Whose runs it comes from."""


@dataclass(frozen=True)
class Judgement:
    """A claim with everything that was measured about it."""

    claim: Claim
    evidence: tuple[Evidence, ...]
    not_run: tuple[tuple[str, str], ...]
    """Benchmark and method of each comparison that the scale does not run."""

    @property
    def is_tested(self) -> bool:
        """Whether the scale runs anything that bears on the claim."""
        return bool(self.evidence)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """On each benchmark: what all comparisons agree on that the scale runs there.

        One that lies wholly on the other side of zero refutes by itself, since the claim is false of that method.
        """
        found: dict[str, list[Conclusion]] = {}
        for evidence in self.evidence:
            found.setdefault(evidence.benchmark, []).append(evidence.conclusion)
        return {benchmark: _together(conclusions) for benchmark, conclusions in found.items()}

    @property
    def verdict(self) -> Verdict:
        """Of all benchmarks together: refuted on any, or supported on each that the scale runs."""
        verdicts = set(self.verdicts.values())
        return "refuted" if "refuted" in verdicts else "supported" if verdicts == {"supported"} else "open"

    @property
    def runs_needed(self) -> int | None:
        """Runs of each method that would settle what is open, where that can be said of all of it."""
        conclusions = [evidence.conclusion for evidence in self.evidence]
        needed = [found.runs_needed for found in conclusions if found.verdict == "open"]
        known = [runs for runs in needed if runs is not None]
        return max(known) if known and len(known) == len(needed) else None


def _together(conclusions: Sequence[Conclusion]) -> Verdict:
    if any(found.reason == OTHER_SIDE for found in conclusions):
        return "refuted"
    verdicts = {found.verdict for found in conclusions}
    return verdicts.pop() if len(verdicts) == 1 else "open"


@cache
def claims_file() -> ClaimsFile:
    """The data file."""
    return parse(ClaimsFile, read_yaml(DATA), str(DATA))


def load_claims() -> tuple[Claim, ...]:
    """All claims, in the order of the data file."""
    return claims_file().claims


def judge(results: Results) -> list[Judgement]:
    """What these results say about every claim that their scale asks for."""
    return [_judge(results, claim) for claim in load_claims() if claim.scale in (None, results.scale)]


def of_other_scales(results: Results) -> list[Claim]:
    """Claims that only other scales ask for."""
    return [claim for claim in load_claims() if claim.scale not in (None, results.scale)]


def _judge(results: Results, claim: Claim) -> Judgement:
    evidence: list[Evidence] = []
    not_run: list[tuple[str, str]] = []
    for test in claim.tests:
        for benchmark in test.benchmarks:
            if not results.run_counts(benchmark, test.of)["all"]:
                not_run.append((benchmark, test.of))
            elif test.than is None:
                evidence.append(_within_d2r(results, test, benchmark))
            else:
                planned = compared(results, benchmark, test.of)
                baselines = [name for name in planned if results.method(name).kind == "baseline"]
                wanted = baselines if test.than == "baselines" else test.than
                evidence += [_against(results, test, benchmark, name) for name in wanted if name in planned]
                not_run += [(benchmark, name) for name in wanted if name not in planned]
    return Judgement(claim, tuple(evidence), tuple(dict.fromkeys(not_run)))


def _against(results: Results, test: ClaimTest, benchmark: str, method: str) -> Evidence:
    """D2R, or whose claim it is, against another method."""
    measured = measure(test.quantity)
    runs = model(results, measured, benchmark, test.of)
    pair = (test.of, method)
    means = {name: float(runs.measured[name].mean()) for name in pair if name in runs.measured}
    smallest = _smallest(test.quantity, means.get(method))
    estimate = -runs.to_control(method)
    if measured.in_points and means and max(means.values()) < LEARNED_NOTHING:
        conclusion = Conclusion("open", f"neither side reaches {100 * LEARNED_NOTHING:.0f} %")
    else:
        conclusion = _conclude(results, test, estimate, smallest, runs.spread, runs.comparisons + 1)
    return Evidence(benchmark, measured, method, estimate, smallest, conclusion, pair)


def _within_d2r(results: Results, test: ClaimTest, benchmark: str) -> Evidence:
    """A quantity of D2R's runs against another of the same runs, or against zero."""
    measured = measure(test.quantity)
    values, limits, other = measured.of_runs(results, benchmark, REFERENCE), measured.bounds, None
    if test.than_quantity is not None:
        others = measure(test.than_quantity).of_runs(results, benchmark, REFERENCE)
        values = (values - others).dropna()
        other = float(others.mean()) if len(others) else None
        limits = None if limits is None else (limits[0] - limits[1], limits[1] - limits[0])
    estimate = mean_interval(values, limits)
    smallest = _smallest(test.quantity, other)
    spread = float(values.std(ddof=1)) if len(values) > 1 else None
    conclusion = _conclude(results, test, estimate, smallest, spread, 1)
    return Evidence(
        benchmark, measured, test.than_quantity or "", estimate, smallest, conclusion, (REFERENCE,)
    )


def _smallest(quantity: str, other: float | None) -> float | None:
    stated = claims_file().smallest_effects.get(quantity)
    return None if stated is None else stated.beside(other)


def _conclude(
    results: Results,
    test: ClaimTest,
    estimate: Estimate,
    smallest: float | None,
    spread: float | None,
    methods: int,
) -> Conclusion:
    if results.scale == "smoke":
        return Conclusion("open", "smoke runs learn nothing")
    found, reason = verdict(estimate, smallest, test.direction)
    needed = None
    if found == "open" and spread and estimate.value is not None and estimate.no_verdict is None:
        needed = runs_to_settle(spread, estimate.value, smallest, methods, test.direction)
    return Conclusion(found, reason, needed)
