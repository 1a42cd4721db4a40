"""Claims and what was found about them in words, and the documents that hold both."""

from __future__ import annotations

import textwrap

from d2r.config import load_scale, scale_ids
from d2r.config.benchmarks import suite_of
from d2r.findings.claims import Claim, Cost, Evidence, Judgement, claims_file, judge, of_other_scales
from d2r.findings.measures import measure
from d2r.findings.results import REFERENCE, Results, method_info
from d2r.report.text import number, number_interval, percent, points_interval
from d2r.statistics.model import MOST_RUNS

SEEDS = 3
"""Runs of each method that a claim's cost is stated for: the fewest that give a verdict."""


def compared_words(evidence: Evidence) -> str:
    """What was compared, such as ``area under the success curve: D2R minus MT-SAC``."""
    words = evidence.measure.words
    if not evidence.against:
        return f"{words}, D2R"
    if len(evidence.methods) == 1:
        return f"{words} minus {measure(evidence.against).words}, D2R"
    first = "D2R" if evidence.methods[0] == REFERENCE else method_info(evidence.methods[0]).title
    return f"{words}: {first} minus {method_info(evidence.against).title}"


def found_text(evidence: Evidence) -> str:
    """The number found, with its interval."""
    estimate = evidence.estimate
    if estimate.value is None:
        return "–"
    if evidence.measure.in_points and evidence.against:
        return f"{points_interval(estimate)} points"
    return number_interval(estimate)


def smallest_text(evidence: Evidence) -> str:
    """The smallest effect worth having, in the unit of the number found."""
    if evidence.smallest is None:
        return "–"
    return f"{percent(evidence.smallest)} points" if evidence.measure.in_points else number(evidence.smallest)


def missing_text(judgement: Judgement) -> str:
    """What an open claim lacks: runs, methods, or an experiment at all."""
    if not judgement.is_tested:
        return "not run at this scale"
    if judgement.verdict != "open":
        return ""
    if judgement.runs_needed is not None:
        return f"about {judgement.runs_needed} runs of each method"
    reasons = dict.fromkeys(
        found.conclusion.reason for found in judgement.evidence if found.conclusion.verdict == "open"
    )
    wide = [reason for reason in reasons if reason.startswith("holds zero")]
    rest = [reason for reason in reasons if reason not in wide]
    return "; ".join([*rest, *([f"more than {MOST_RUNS:,} runs of each method"] if wide else [])])


def verdict_text(judgement: Judgement) -> str:
    """The verdict on each benchmark that the scale runs."""
    if not judgement.is_tested:
        return "not run at this scale"
    return "; ".join(f"{verdict} on {benchmark}" for benchmark, verdict in judgement.verdicts.items())


def not_run_text(judgement: Judgement) -> str:
    """Comparisons that the scale does not run, by benchmark; empty if it runs all."""
    by_benchmark: dict[str, list[str]] = {}
    for benchmark, method in judgement.not_run:
        by_benchmark.setdefault(benchmark, []).append(method_info(method).title)
    return "; ".join(f"{benchmark}: {', '.join(titles)}" for benchmark, titles in by_benchmark.items())


def command(claim: Claim, scale: str) -> str:
    """The command that runs what a claim needs at a scale."""
    if claim.methods == "all":
        return f"snakemake --cores all all --config scale={scale}"
    return _loops(" ".join(_benchmarks(claim, scale)), " ".join(claim.methods), scale)


def _benchmarks(claim: Claim, scale: str) -> list[str]:
    """Benchmarks that a claim is tested on, without those of whose tasks the scale names no budget."""
    if scale not in scale_ids():
        return claim.benchmarks
    budgets = load_scale(scale).budget
    return [benchmark for benchmark in claim.benchmarks if suite_of(benchmark) in budgets]


def claims_markdown(results: Results) -> str:
    """``docs/claims.md``: every claim with its experiment, cost, command, how to compare, and the verdict so far.

    Args:
        results: whose verdicts are given; those of ``docs/claims.md`` are of the released runs of ``lite``.
    """
    scale, costs = results.scale, claims_file().cost
    lines = [
        "# Claims",
        "",
        *_wrapped(
            "Each claim of the paper (and three questions of ours), the experiment that bears on it, and what the runs "
            f"of the scale `{scale}` say. `d2r analyze claims` writes this page from `d2r/findings/data/claims.yaml` "
            "and those runs. [statistics.md](statistics.md) has the rules of the verdicts, "
            "[the appendix](appendix/evidence.md) the numbers behind them, and "
            f"`results/released/{scale}/report/index.html` the runs behind the numbers."
        ),
        "One run takes roughly:",
        "",
        *(
            f"- `{name}`: {about.hours:g} h on {about.machine}, {about.megabytes:g} MB of run files"
            for name, about in costs.items()
        ),
        "",
        "Three seeds of methods on benchmarks are trained by this function, which the commands below call:",
        "",
        "```sh",
        f"runs() {{ {_loops('$1', '$2', scale)}; }}",
        "```",
        "",
    ]
    judgements = judge(results)
    for place, judgement in enumerate(judgements, start=1):
        lines += [*_section(place, judgement, scale, costs.get(scale)), ""]
    for place, claim in enumerate(of_other_scales(results), start=len(judgements) + 1):
        lines += [*_section_of_other_scale(place, claim), ""]
    return "\n".join(lines).rstrip() + "\n"


def evidence_markdown(results: Results) -> str:
    """``docs/appendix/evidence.md``: every comparison that bears on a claim, with its number and verdict.

    At the scale ``smoke``, where numbers mean nothing, there are none.
    """
    lines = [
        "# The numbers behind the verdicts",
        "",
        *_wrapped(
            f"Every comparison that bears on a [claim](../claims.md), of the runs of the scale `{results.scale}`, with "
            "95 % intervals; *runs* is how many of each method would settle an open one."
        ),
        "| claim | benchmark | measure | found | verdict | runs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for place, judgement in enumerate(judge(results) if results.scale != "smoke" else (), start=1):
        lines += [f"| {place} | {' | '.join(_cells(found))} |" for found in judgement.evidence]
    return "\n".join(lines) + "\n"


def _section(place: int, judgement: Judgement, scale: str, cost: Cost | None) -> list[str]:
    claim = judgement.claim
    missing, absent = missing_text(judgement), not_run_text(judgement)
    verdict = f"**Verdict**: {verdict_text(judgement)}."
    if judgement.is_tested:
        verdict += f" Missing: {missing}." if missing else ""
        verdict += f" Not run: {absent}." if absent else ""
    return [
        f"## {place}. {claim.claim}",
        "",
        f"- {claim.where}. {' '.join(claim.experiment.split())} {' '.join(claim.compare.split())}",
        f"- {_expected(claim, scale, cost)}: `{_short_command(claim, scale)}`",
        f"- {verdict}",
    ]


def _section_of_other_scale(place: int, claim: Claim) -> list[str]:
    return [
        f"## {place}. {claim.claim}",
        "",
        f"- {claim.where}. {' '.join(claim.experiment.split())} {' '.join(claim.compare.split())}",
        f"- Asked for by the scale `{claim.scale}`: `{command(claim, claim.scale or '')}`",
        "- **Verdict**: not run.",
    ]


def _cells(evidence: Evidence) -> list[str]:
    conclusion = evidence.conclusion
    return [
        evidence.benchmark,
        compared_words(evidence),
        found_text(evidence),
        f"{conclusion.verdict}: {conclusion.reason}",
        str(conclusion.runs_needed or ""),
    ]


def _short_command(claim: Claim, scale: str) -> str:
    """The command of a claim, by the function that the page defines."""
    if claim.methods == "all":
        return command(claim, scale)
    return f'runs "{" ".join(_benchmarks(claim, scale))}" "{" ".join(claim.methods)}"'


def _loops(benchmarks: str, methods: str, scale: str) -> str:
    """Shell that trains three seeds of methods on benchmarks."""
    targets = " ".join(
        f"for {name} in {values}; do" for name, values in (("b", benchmarks), ("m", methods), ("s", "1 2 3"))
    )
    return f"{targets} d2r train --scale {scale} --benchmark $b --method $m --seed $s; done; done; done"


def _wrapped(text: str) -> list[str]:
    return [*textwrap.wrap(text, 116, break_on_hyphens=False), ""]


def _expected(claim: Claim, scale: str, cost: Cost | None) -> str:
    plan = f"`d2r plan --scale {scale}`"
    if claim.methods == "all":
        return f"The whole scale ({plan})"
    runs = SEEDS * len(_benchmarks(claim, scale)) * len(claim.methods)
    if cost is None:
        return f"{runs} runs with three seeds; {plan} says how long one takes here"
    return f"{runs} runs, about {runs * cost.hours:.0f} core hours, {runs * cost.megabytes:.0f} MB"
