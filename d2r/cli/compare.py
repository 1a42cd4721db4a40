"""Compare two methods run by run: the paired difference in success, with its interval."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from d2r.config import project_root
from d2r.errors import UserError

if TYPE_CHECKING:
    from d2r.findings.results import Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``d2r compare``."""
    parser.add_argument("first", metavar="A", help="method id")
    parser.add_argument("second", metavar="B", help="method id to compare with")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of one scale, after `d2r collect` (default: the released `lite`)",
    )
    parser.add_argument(
        "--benchmark", help="only this benchmark (default: all on which both have finished runs)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the comparison for each benchmark."""
    from d2r.findings.results import load_results

    results = load_results(args.results or project_root() / "results" / "released" / "lite")
    for name in (args.first, args.second):
        results.method(name)
    wanted = [args.benchmark] if args.benchmark else results.benchmarks
    blocks = [
        _block(results, benchmark, args.first, args.second)
        for benchmark in wanted
        if len(results.run_scores(benchmark, args.first)) and len(results.run_scores(benchmark, args.second))
    ]
    if not blocks:
        where = args.benchmark or "any benchmark"
        raise UserError(
            f"{args.first} and {args.second} have no finished runs together on {where}; train both"
        )
    print(f"{results.label}\n")
    print("\n\n".join(blocks))
    return 0


def _block(results: Results, benchmark: str, first: str, second: str) -> str:
    from d2r.findings.versus import compare_methods, is_paired
    from d2r.report.text import number, p_value, percent_interval, points_interval
    from d2r.statistics import mean_interval

    rows = [f"{benchmark}: success of {first} minus {second}"]
    for name in (first, second):
        scores = results.run_scores(benchmark, name)
        estimate = mean_interval(scores, (0.0, 1.0))
        seeds = ", ".join(str(seed) for seed in scores.index)
        rows.append(f"  {name:24s} {percent_interval(estimate)} %  ({estimate.n} runs, seeds {seeds})")
    for paired in (True, False):
        comparison = compare_methods(results, benchmark, first, second, paired)
        difference = comparison.difference
        kind = "paired by seed" if paired else "unpaired"
        used = "; used for verdicts here" if paired == is_paired(benchmark) else ""
        why = (
            f"  ({difference.note})"
            if difference.note
            else f"  p {p_value(comparison.p)}, {comparison.verdict}"
        )
        rows.append(f"  {kind:24s} {points_interval(difference)} points{why}{used}")
    rows.append(f"  {'P(A beats B) per task':24s} {percent_interval(comparison.improvement)} %")
    rows.append(
        f"  {'ranks (Mann-Whitney)':24s} p {p_value(comparison.p_rank)} "
        f"(smallest possible {p_value(comparison.smallest_p_rank)}); Hedges' g {number(comparison.effect)}"
    )
    return "\n".join(rows)
