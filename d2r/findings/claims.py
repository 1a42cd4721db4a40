"""The paper's claims and what the runs say about each, from one data file."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from d2r.config import load_scale, scale_ids
from d2r.config.reader import read_yaml
from d2r.findings.difficulty import correlation_over_training, harder_half
from d2r.findings.quantities import bounds, difference_bounds
from d2r.findings.results import REFERENCE, Results, method_info
from d2r.findings.versus import is_paired
from d2r.report.text import number_interval, points_interval
from d2r.statistics import Estimate, difference_interval, mean_interval, paired_difference_interval
from d2r.statistics.efficiency import area_under_curve

DATA = Path(__file__).parent / "data" / "claims.yaml"
LEARNED_NOTHING = 0.05
"""Success below which, on both sides, a comparison says nothing about the methods."""
TELLING = 0.1
"""An interval that holds zero refutes a claim only if its half-width is at most this share of the quantity's range (10
points of success): a wider one could hide any effect worth claiming, and leaves the claim untested."""
NAMED = 3
"""So many methods that were not run are named one by one."""
NOT_RUN = Estimate(None, None, None, 0, "none", "not run at this scale")
IN_POINTS = ("success", "area", "hard_tasks")

Verdict = Literal["supported", "not supported", "not tested at this budget"]
UNTESTED: Verdict = "not tested at this budget"


@dataclass(frozen=True)
class Claim:
    """One claim, the experiment that bears on it, and how to compare."""

    id: str
    claim: str
    where: str
    tests: tuple[Mapping[str, Any], ...]
    experiment: str
    methods: str | tuple[str, ...]
    compare: str


@dataclass(frozen=True)
class Evidence:
    """One measured comparison that bears on a claim."""

    benchmark: str
    what: str
    number: str
    estimate: Estimate
    verdict: Verdict
    reason: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """A claim with everything that was measured about it."""

    claim: Claim
    verdict: Verdict
    evidence: tuple[Evidence, ...]


@cache
def load_claims() -> tuple[Claim, ...]:
    """All claims, in the order of the data file."""
    return tuple(
        Claim(**{**entry, "tests": tuple(entry["tests"]), "methods": _frozen(entry["methods"])})
        for entry in read_yaml(DATA)["claims"]
    )


def _frozen(methods: str | Sequence[str]) -> str | tuple[str, ...]:
    return methods if isinstance(methods, str) else tuple(methods)


def judge(results: Results) -> list[Judgement]:
    """What these results say about every claim."""
    return [_judge(results, claim) for claim in load_claims()]


def _judge(results: Results, claim: Claim) -> Judgement:
    evidence = [found for test in claim.tests for found in _evidence(results, test)]
    verdicts = {found.verdict for found in evidence}
    verdict: Verdict = UNTESTED
    if "not supported" in verdicts:
        verdict = "not supported"
    elif verdicts == {"supported"}:
        verdict = "supported"
    return Judgement(claim, verdict, tuple(evidence))


def _evidence(results: Results, test: Mapping[str, Any]) -> list[Evidence]:
    quantity, direction = str(test["quantity"]), str(test.get("direction", "higher"))
    found = []
    for benchmark in test["benchmarks"]:
        ours = values_by_seed(results, quantity, benchmark, REFERENCE)
        if "than_quantity" in test:
            other = values_by_seed(results, str(test["than_quantity"]), benchmark, REFERENCE)
            what = f"{words(quantity)} minus {words(test['than_quantity'])}, D2R"
            found.append(
                _compared(results, benchmark, what, quantity, (ours, other), True, direction, (REFERENCE,))
            )
        elif "than" not in test:
            planned = results.run_counts(benchmark, REFERENCE)["all"] > 0
            estimate = mean_interval(ours.dropna(), bounds(quantity)) if planned else NOT_RUN
            found.append(
                _found(
                    results, benchmark, f"{words(quantity)}, D2R", quantity, estimate, direction, (REFERENCE,)
                )
            )
        else:
            wanted = _methods(results, test["than"])
            run = [name for name in wanted if results.run_counts(benchmark, name)["all"]]
            for method in run:
                other = values_by_seed(results, quantity, benchmark, method)
                what = f"{words(quantity)}: D2R minus {results.method(method).title}"
                pair = (REFERENCE, method)
                paired = is_paired(benchmark)
                found.append(
                    _compared(results, benchmark, what, quantity, (ours, other), paired, direction, pair)
                )
            if len(run) < len(wanted):
                absent = [name for name in wanted if name not in run]
                found.append(_not_run(results, benchmark, quantity, absent))
    return found


def _methods(results: Results, than: str | Sequence[str]) -> list[str]:
    """The methods to compare with; baselines are those of these runs, and then the others that claims are about."""
    if than != "baselines":
        return list(than)
    run = [method.id for method in results.methods if method.kind == "baseline"]
    return list(dict.fromkeys([*run, *read_yaml(DATA)["baselines"]]))


def _not_run(results: Results, benchmark: str, quantity: str, absent: Sequence[str]) -> Evidence:
    """What keeps a claim about all from being supported by some: methods that no run of the scale is of."""
    titles = ", ".join(method_info(name).title for name in absent)
    others = titles if len(absent) <= NAMED else f"{len(absent)} other methods"
    what = f"{words(quantity)}: D2R minus {others}"
    return _found(results, benchmark, what, quantity, NOT_RUN, "higher", ())


def _compared(
    results: Results,
    benchmark: str,
    what: str,
    quantity: str,
    sides: tuple[pd.Series[float], pd.Series[float]],
    paired: bool,
    direction: str,
    methods: tuple[str, ...],
) -> Evidence:
    ours, other = (side.dropna() for side in sides)
    if paired:
        shared = ours.index.intersection(other.index)
        estimate = paired_difference_interval(ours[shared], other[shared], difference_bounds(quantity))
    else:
        estimate = difference_interval(ours, other, difference_bounds(quantity))
    idle = (
        quantity in IN_POINTS
        and len(ours)
        and len(other)
        and max(ours.mean(), other.mean()) < LEARNED_NOTHING
    )
    return _found(results, benchmark, what, quantity, estimate, direction, methods, bool(idle))


def _found(
    results: Results,
    benchmark: str,
    what: str,
    quantity: str,
    estimate: Estimate,
    direction: str,
    methods: tuple[str, ...],
    idle: bool = False,
) -> Evidence:
    text = points_interval(estimate) + " points" if quantity in IN_POINTS else number_interval(estimate)
    side = estimate.separated_from(0.0) * (1 if direction == "higher" else -1)
    verdict: Verdict = "supported" if side > 0 else "not supported"
    reason = {1: "on the claimed side", 0: "holds zero and is narrow", -1: "on the other side"}[side]
    if results.scale == "smoke":
        verdict, reason = UNTESTED, "smoke runs learn nothing"
    elif idle:
        verdict, reason = UNTESTED, f"neither side reaches {100 * LEARNED_NOTHING:.0f} %"
    elif not estimate.has_interval:
        verdict, reason = UNTESTED, estimate.note
    elif estimate.no_verdict is not None:
        verdict, reason = UNTESTED, estimate.no_verdict
    elif side == 0 and not _is_telling(estimate, quantity):
        verdict, reason = UNTESTED, "holds zero and is too wide to tell"
    return Evidence(
        benchmark, what, text if estimate.value is not None else "–", estimate, verdict, reason, methods
    )


def _is_telling(estimate: Estimate, quantity: str) -> bool:
    """Whether an interval is narrow for its quantity; any is where the quantity has no range."""
    low, high = bounds(quantity) or (-math.inf, math.inf)
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low <= 2 * TELLING * (high - low)


def values_by_seed(results: Results, quantity: str, benchmark: str, method: str) -> pd.Series[float]:
    """The number that each finished run of a method contributes to a test, by seed; maybe none."""
    if quantity == "success":
        return results.run_scores(benchmark, method)
    if quantity == "area":
        table = results.curves("success", benchmark, method)
        at, curves = table.columns.to_numpy(dtype=float), table.to_numpy(dtype=float)
        return pd.Series(area_under_curve(at, curves) if table.size else [], index=table.index, dtype=float)
    if quantity == "hard_tasks":
        scores = results.scores(benchmark, method)
        hard = [task for task in harder_half(results, benchmark) if task in scores]
        return scores[hard].mean(axis=1) if hard else pd.Series(dtype=float)
    if quantity == "update_seconds":
        runs = results.finished
        runs = runs[(runs["benchmark"] == benchmark) & (runs["method"] == method)]
        return runs.set_index("seed")["update_seconds"].astype(float)
    if quantity == "difficulty_rho":
        table = correlation_over_training(results, benchmark, method)
        return table.iloc[:, -1].astype(float) if len(table.columns) else pd.Series(dtype=float)
    return results.last_values(quantity, benchmark, method)


def words(quantity: str) -> str:
    """A quantity in words."""
    named = {
        "success": "final success",
        "area": "area under the learning curve",
        "hard_tasks": "success on the harder half of the tasks",
        "multiply_adds": "multiply-adds per decision",
        "update_seconds": "seconds per update",
        "difficulty_rho": "ρ (modules, difficulty)",
        "alpha_success_rho": "ρ (alpha, success)",
        "gradient_cosine": "cosine of task gradients",
        "gradient_cosine_no_resrouting": "the same without ResRouting",
    }
    return named.get(quantity, quantity.replace("_", " "))


def commands(claim: Claim, scale: str) -> str:
    """The command that runs what a claim needs at a scale."""
    if claim.methods == "all" or "baselines" in claim.methods:
        return f"snakemake --cores all all --config scale={scale}"
    loops = (("b", _benchmarks(claim, scale)), ("m", claim.methods), ("s", "123"))
    targets = " ".join(f"for {name} in {' '.join(values)}; do" for name, values in loops)
    return f"{targets} d2r train --scale {scale} --benchmark $b --method $m --seed $s; done; done; done"


def _benchmarks(claim: Claim, scale: str) -> list[str]:
    """Benchmarks that a claim is tested on, without those that the scale has no budget for."""
    named = {benchmark for test in claim.tests for benchmark in test["benchmarks"]}
    if scale in scale_ids():
        budgets = load_scale(scale).budget
        named = {benchmark for benchmark in named if benchmark.split("-")[0] in budgets}
    return sorted(named)


def claims_markdown(results: Results) -> str:
    """``docs/claims.md``: every claim with its experiment, command, cost, how to compare, and the verdict so far.

    Args:
        results: whose verdicts are given; those of ``docs/claims.md`` are of the released runs of ``lite``.
    """
    cost = read_yaml(DATA)["cost"]
    judgements = judge(results)
    lines = [
        "# Claims",
        "",
        *_wrapped(
            "Each claim of the paper (and two controls of ours), the experiment that bears on it, and how to compare. "
            "This file is generated by `d2r analyze claims` from `d2r/findings/data/claims.yaml` and the runs of "
            f"the scale `{results.scale}`. The report page of a scale (`results/released/{results.scale}/report/"
            "index.html`) shows the same claims with every number found, its 95 % interval and the runs behind it."
        ),
        *_wrapped(
            "A claim counts as *supported* where every interval excludes zero on the claimed side; as *not supported* "
            "where one lies on the other side, or holds zero and is narrow (half-width at most a tenth of the range, "
            "10 points of success); and otherwise as *not tested at this budget*: an interval too wide to tell, "
            "fewer than three runs or no interval, nothing learned, a method that the scale does not "
            "run, or the scale `smoke`."
        ),
        "Cost of one run, roughly (`d2r plan --scale SCALE` prints what it is on your machine):",
        "",
        *(
            f"- `{scale}`: {about['hours']:g} h on {about['machine']}, {about['megabytes']:g} MB of run files"
            for scale, about in cost.items()
        ),
        "",
    ]
    scale = results.scale
    for number, judgement in enumerate(judgements, start=1):
        claim = judgement.claim
        expected = _expected(_run_count(claim, scale), scale, cost.get(scale))
        lines += [
            f"## {number}. {claim.claim}",
            "",
            f"- **Where**: {claim.where}.",
            f"- **Experiment**: {' '.join(claim.experiment.split())}",
            f"- **Command**: `{commands(claim, scale)}`",
            f"- **Expected time and disk at {scale}**: {expected}",
            f"- **How to compare**: {' '.join(claim.compare.split())}",
            f"- **Verdict of the runs so far**: {_verdict(judgement)}",
            *(
                f"  - {found.benchmark}, {found.what}: {found.number} ({found.reason})"
                for found in judgement.evidence
                if found.estimate.value is not None and results.scale != "smoke"
            ),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _verdict(judgement: Judgement) -> str:
    reasons = dict.fromkeys(
        found.reason for found in judgement.evidence if found.verdict == judgement.verdict
    )
    return f"{judgement.verdict} ({'; '.join(reasons)})."


def _wrapped(text: str) -> list[str]:
    return [*textwrap.wrap(text, 116, break_on_hyphens=False), ""]


def _run_count(claim: Claim, scale: str) -> int | None:
    if claim.methods == "all" or "baselines" in claim.methods:
        return None
    return 3 * len(_benchmarks(claim, scale)) * len(claim.methods)


def _expected(runs: int | None, scale: str, cost: Mapping[str, Any] | None) -> str:
    if runs is None:
        return f"the whole scale; `d2r plan --scale {scale}` says how many runs it holds and how long they take here."
    if cost is None:
        return f"{runs} runs with three seeds; `d2r plan --scale {scale}` says how long one takes here."
    return (
        f"{runs} runs with three seeds, about {runs * cost['hours']:.0f} core hours, "
        f"{runs * cost['megabytes']:.0f} MB of run files."
    )
