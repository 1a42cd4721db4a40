"""Compare two methods: success, return and area under the curve, with the intervals of their differences."""

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

    if args.first == args.second:
        raise UserError(f"{args.first}: is given twice; name two methods")
    results = load_results(args.results or project_root() / "results" / "released" / "lite")
    for name in (args.first, args.second):
        results.method(name)
    wanted = [args.benchmark] if args.benchmark else results.benchmarks
    blocks = [
        _block(results, benchmark, args.first, args.second)
        for benchmark in wanted
        if results.seeds(benchmark, args.first) and results.seeds(benchmark, args.second)
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
    from d2r.findings.differences import improvement, model
    from d2r.findings.measures import AREA, FINAL_SUCCESS, RETURN, SUCCESS
    from d2r.findings.results import REFERENCE
    from d2r.report.text import number_interval, percent, percent_interval, points_interval
    from d2r.statistics import mean_interval

    adjusted = REFERENCE in (first, second)
    rows = [f"{benchmark}: {first} minus {second}"]
    for name in (first, second):
        seeds = results.seeds(benchmark, name)
        rows.append(f"  {name}: {len(seeds)} runs, seeds {', '.join(map(str, seeds))}")
    for measure in (SUCCESS, RETURN, AREA, FINAL_SUCCESS):
        runs = model(results, measure, benchmark)
        found = -runs.to_control(second) if first == REFERENCE else runs.to_control(first)
        if not adjusted:
            found = runs.between(first, second)
        show, difference = (
            (percent_interval, points_interval) if measure.in_points else (number_interval, number_interval)
        )
        means = " and ".join(
            show(mean_interval(measure.of_runs(results, benchmark, name), measure.bounds))
            for name in (first, second)
        )
        rows.append(f"  {measure.words}: {means}")
        unit = " points" if measure.in_points else ""
        rows.append(f"    difference {difference(found)}{unit}{f' ({found.note})' if found.note else ''}")
    beats, tasks = improvement(results, benchmark, first, second)
    rows.append(f"  P(A beats B) on a task: {percent(beats)} %, over {tasks} tasks")
    rows.append(
        "  Intervals of differences take one spread for all methods of the benchmark, "
        + (
            "adjusted for all that are compared with D2R."
            if adjusted
            else "not adjusted: they give no verdict."
        )
    )
    return "\n".join(rows)
