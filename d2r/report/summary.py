"""What came out, in a headline and three sentences: the top of the report page and of the README take it from here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from d2r.config import Budget, budget_suite, load_scale, scale_ids
from d2r.config.benchmarks import suite_of
from d2r.config.schema import LATE_EVALUATIONS
from d2r.errors import UserError
from d2r.findings.claims import Judgement, judge
from d2r.findings.differences import compared, difference
from d2r.findings.measures import SUCCESS
from d2r.findings.results import REFERENCE, Results
from d2r.report.text import percent, points_interval, steps
from d2r.statistics import Estimate, Verdict, mean_interval

WHAT_D2R_IS = (
    "Dynamic Depth Routing (D2R) is a multi-task policy of small modules: for each task and state a router chooses "
    "which modules feed which, so that easy tasks may skip modules that hard tasks need."
)
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "open")
PAPER = "paper"
NAMED = 3
"""So many methods are named one by one."""


@dataclass(frozen=True)
class Compared:
    """A method beside D2R on a benchmark: its success, and how much more or less than D2R's that is."""

    benchmark: str
    method: str
    title: str
    level: Estimate
    difference: Estimate

    @property
    def side(self) -> int:
        """1 above D2R, -1 below, 0 not told apart."""
        return 0 if self.difference.no_verdict else self.difference.separated_from(0.0)


@dataclass(frozen=True)
class Summary:
    """The findings of one scale that a reader needs first."""

    results: Results

    @cached_property
    def judgements(self) -> list[Judgement]:
        """Every claim and what was found about it."""
        return judge(self.results)

    @cached_property
    def verdicts(self) -> dict[Verdict, int]:
        """Numbers of claims by their verdict."""
        found = [judgement.verdict for judgement in self.judgements]
        return {verdict: found.count(verdict) for verdict in VERDICTS}

    @cached_property
    def comparisons(self) -> list[Compared]:
        """Every method with finished runs beside D2R's, benchmark by benchmark, the highest difference first."""
        found = [
            Compared(
                benchmark,
                method,
                self.results.method(method).title,
                self.level(benchmark, method),
                difference(self.results, SUCCESS, benchmark, method),
            )
            for benchmark in self.results.benchmarks
            for method in compared(self.results, benchmark)
        ]
        known = [(row.difference.value, row) for row in found if row.difference.value is not None]
        order = {name: place for place, name in enumerate(self.results.benchmarks)}
        return [row for _, row in sorted(known, key=lambda pair: (order[pair[1].benchmark], -pair[0]))]

    def level(self, benchmark: str, method: str) -> Estimate:
        """Success over the last evaluations of a method's runs, with an interval of its own."""
        return mean_interval(SUCCESS.of_runs(self.results, benchmark, method), SUCCESS.bounds)

    @cached_property
    def nothing_learned(self) -> bool:
        """Whether the scale is one at which nothing is learned, so that no difference means anything."""
        return self.results.scale == "smoke"

    @property
    def headline(self) -> str:
        """What came out, in a line."""
        if self.nothing_learned:
            return "Smoke runs: the pipeline works, and nothing is learned"
        if not self.comparisons:
            return f"At {self.share_of_steps} of the paper's steps, nothing to compare with D2R yet"
        methods = {row.method for row in self.comparisons}
        ahead = {row.method for row in self.comparisons if row.side > 0}
        behind = {row.method for row in self.comparisons if row.side < 0}
        said = [
            f"{_counted(len(found))} of {len(methods)} other methods {'is' if len(found) == 1 else 'are'} {side} D2R"
            for found, side in ((behind, "below"), (ahead, "above"))
            if found
        ]
        outcome = " and ".join(said) if said else "no method is shown to be better or worse than D2R"
        return f"At {self.share_of_steps} of the paper's steps, {outcome}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What came out, in three sentences."""
        if self.nothing_learned:
            return ("These runs are far too short to learn: they show that the pipeline works, and no more.",)
        return (self._levels(), self._differences(), self._claims())

    def _levels(self) -> str:
        parts = []
        for benchmark in self.results.benchmarks:
            ours = self.level(benchmark, REFERENCE)
            if ours.value is None:
                continue
            text = f"{percent(ours.value)} % on {benchmark} (n={ours.n}"
            others = [row for row in self.comparisons if row.benchmark == benchmark]
            if others:
                text += f"; the best other, {others[0].title}, {percent(others[0].level.value)} %"
            parts.append(text + ")")
        if not parts:
            return "No run of D2R is finished."
        return f"Averaged over the last {LATE_EVALUATIONS} evaluations, D2R's success is {_joined(parts)}."

    def _differences(self) -> str:
        if not self.comparisons:
            return "No other method has finished runs beside D2R's."
        apart = [row for row in self.comparisons if row.side]
        if not apart:
            return (
                f"None of the {len(self.comparisons)} differences from D2R can be told from chance: every interval, "
                "adjusted for all comparisons of its benchmark, includes zero."
            )
        named = [
            f"{row.title} on {row.benchmark} ({points_interval(row.difference)} points)"
            for row in sorted(apart, key=lambda row: -abs(row.difference.value or 0.0))
        ]
        more = [f"{len(named) - NAMED} more"] if len(named) > NAMED else []
        rest = len(self.comparisons) - len(apart)
        left = (
            f"; {rest} other differences are not"
            if rest > 1
            else "; one other difference is not"
            if rest
            else ""
        )
        return f"Shown to differ from D2R: {_joined([*named[:NAMED], *more])}{left}."

    def _claims(self) -> str:
        total, counts = len(self.judgements), self.verdicts
        decided = [
            f"{_counted(counts[verdict])} {_is(counts[verdict])} {verdict} ({self._named(verdict)})"
            for verdict in VERDICTS
            if verdict != "open" and counts[verdict]
        ]
        untested = sum(not judgement.is_tested for judgement in self.judgements)
        left = (
            f"{counts['open']} {_is(counts['open'])} open, {untested} of them not run at this scale"
            if untested
            else f"{counts['open']} {_is(counts['open'])} open"
        )
        nearest = [j for j in self._with("open") if j.is_tested and j.runs_needed is not None]
        text = f"Of {total} claims, {_joined([*decided, left])}"
        if not nearest:
            return text + "."
        first = min(nearest, key=lambda judgement: judgement.runs_needed or 0)
        return (
            f"{text}. Nearest to a decision: {self._quoted(first)}, which about {first.runs_needed} runs of each "
            "method would settle."
        )

    def _with(self, verdict: Verdict) -> list[Judgement]:
        return [judgement for judgement in self.judgements if judgement.verdict == verdict]

    def _named(self, verdict: Verdict) -> str:
        found = [self._quoted(judgement) for judgement in self._with(verdict)]
        return _joined([*found[:NAMED], *([f"{len(found) - NAMED} more"] if len(found) > NAMED else [])])

    @staticmethod
    def _quoted(judgement: Judgement) -> str:
        """The claim without its full stop and what its end says in brackets of its origin."""
        return f"“{judgement.claim.claim.partition(' (not in the paper')[0].rstrip('.')}”"

    @cached_property
    def budgets(self) -> dict[str, tuple[int, int]]:
        """Steps of each task that runs of a benchmark are planned for, and the paper's."""
        found = {}
        for benchmark in self.results.benchmarks:
            rows = self.results.runs[self.results.runs["benchmark"] == benchmark]["planned_steps"].dropna()
            if len(rows):
                found[benchmark] = (int(rows.max()), _paper_steps(benchmark))
        return found

    @property
    def share_of_steps(self) -> str:
        """Steps of each task as a share of the paper's; a range where benchmarks differ."""
        shares = sorted({100 * ours / papers for ours, papers in self.budgets.values()})
        texts = list(dict.fromkeys(f"{share:.2g}" if share < 10 else f"{share:.0f}" for share in shares))
        return " to ".join([texts[0], texts[-1]][: len(texts)]) + " %" if texts else "an unknown share"

    @property
    def budget(self) -> tuple[tuple[str, str], ...]:
        """What was spent beside what the paper spent: a number, and what it is of."""
        steps_of = dict(self.budgets.values())
        lines = [
            (
                self.share_of_steps,
                "of the paper's steps: "
                + _joined([f"{steps(o)} of {steps(p)} a task" for o, p in steps_of.items()]),
            )
        ]
        if self.results.scale in scale_ids() and load_scale(self.results.scale).width != 1:
            lines.append(
                (f"{load_scale(self.results.scale).width:g}", "of the width of the paper's networks")
            )
        counts = sorted(set(self.results.finished.groupby(["benchmark", "method"]).size()))
        if counts:
            text = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            lines.append((text, "runs of each method and benchmark, each with a seed of its own"))
        return tuple(lines)


def _paper_steps(benchmark: str) -> int:
    """Steps of each task in the scale ``paper``, or the official default where it tells none."""
    if PAPER not in scale_ids():
        return Budget().steps
    scale = load_scale(PAPER)
    try:
        return scale.budget[budget_suite(scale, suite_of(benchmark))].steps
    except UserError:  # a benchmark that is unknown here
        return Budget().steps


def _counted(count: int) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}.get(count, str(count))


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _joined(parts: list[str]) -> str:
    """Such as ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
