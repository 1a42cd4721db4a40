"""Compare two methods: the verdict, then the numbers behind it, by success or any other measure of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from d2r.cli.folders import add_results, results_folder
from d2r.errors import UserError, nearest

if TYPE_CHECKING:
    from d2r.findings.measures import Measure
    from d2r.findings.results import Results
    from d2r.statistics import Estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``d2r compare``."""
    parser.add_argument("first", metavar="A", help="method id")
    parser.add_argument("second", metavar="B", help="method id to compare with")
    add_results(parser, "the released `lite`")
    parser.add_argument(
        "--benchmark", help="only this benchmark (default: all on which both have finished runs)"
    )
    parser.add_argument(
        "--measure",
        help="only this measure: return, area, hard_tasks, update_seconds, or any quantity that runs recorded "
        "(default: success, from which the verdict follows, and three more)",
    )


def run(args: argparse.Namespace) -> int:
    """Print a verdict for each benchmark, then the comparison for each."""
    from d2r.findings.measures import AREA, FINAL_SUCCESS, RETURN, SUCCESS
    from d2r.findings.results import load_results

    if args.first == args.second:
        raise UserError(f"{args.first}: is given twice; name two methods")
    results = load_results(results_folder(args))
    for name in (args.first, args.second):
        results.method(name)
    measures = (
        (SUCCESS, RETURN, AREA, FINAL_SUCCESS) if args.measure is None else (_chosen(results, args.measure),)
    )
    wanted = [args.benchmark] if args.benchmark else results.benchmarks
    shared = [
        benchmark
        for benchmark in wanted
        if all(len(measures[0].of_runs(results, benchmark, name)) for name in (args.first, args.second))
    ]
    if not shared:
        where = args.benchmark or "any benchmark"
        what = f" that have {args.measure}" if args.measure else ""
        raise UserError(
            f"{args.first} and {args.second} have no finished runs together on {where}{what}; train both"
        )
    for benchmark in shared:
        print(_verdict(results, benchmark, args.first, args.second, measures[0]))
    print(f"\n{results.label}")
    for benchmark in shared:
        print(f"\n{_block(results, benchmark, args.first, args.second, measures)}")
    return 0


def _chosen(results: Results, name: str) -> Measure:
    from d2r.findings.measures import MEASURES, measure

    known = {*MEASURES, *results.quantities}
    if name not in known:
        raise UserError(f"no measure '{name}'; {nearest(name, known)}")
    return measure(name)


def _difference(results: Results, benchmark: str, first: str, second: str, measure: Measure) -> Estimate:
    """First minus second; adjusted for all that are compared with D2R if one of them is D2R."""
    from d2r.findings.differences import model
    from d2r.findings.results import REFERENCE

    runs = model(results, measure, benchmark)
    if first == REFERENCE:
        return -runs.to_control(second)
    return runs.to_control(first) if second == REFERENCE else runs.between(first, second)


def _shown(difference: Estimate, measure: Measure) -> str:
    from d2r.report.text import number_interval, points_interval

    shown = f"{points_interval(difference)} points" if measure.in_points else number_interval(difference)
    return f"{shown} ({difference.note})" if difference.note else shown


def _verdict(results: Results, benchmark: str, first: str, second: str, measure: Measure) -> str:
    """A line that says what follows from a difference, and if it is no verdict, why."""
    from d2r.findings.measures import SUCCESS
    from d2r.findings.results import REFERENCE

    found = _difference(results, benchmark, first, second, measure)
    words = {
        1: f"{first} is higher than {second}",
        -1: f"{first} is lower than {second}",
        0: f"{first} is not separated from {second}",
    }[found.separated_from(0.0)]
    if found.no_verdict is not None:
        words = f"no verdict on {first} and {second} ({found.no_verdict})"
    elif REFERENCE not in (first, second):
        words += " (no verdict: only comparisons with D2R are adjusted)"
    elif measure is not SUCCESS:
        words += " (no verdict: that follows from success)"
    return f"{benchmark}: {words}: {measure.words} {_shown(found, measure)}"


def _block(results: Results, benchmark: str, first: str, second: str, measures: tuple[Measure, ...]) -> str:
    from d2r.findings.differences import improvement
    from d2r.findings.measures import SUCCESS
    from d2r.findings.results import REFERENCE
    from d2r.report.text import number_interval, percent, percent_interval
    from d2r.statistics import mean_interval

    rows = [f"{benchmark}: {first} minus {second}"]
    for name in (first, second):
        seeds = results.seeds(benchmark, name)
        rows.append(f"  {name}: {len(seeds)} runs, seeds {', '.join(map(str, seeds))}")
    for measure in measures:
        show = percent_interval if measure.in_points else number_interval
        means = " and ".join(
            show(mean_interval(measure.of_runs(results, benchmark, name), measure.bounds))
            for name in (first, second)
        )
        rows.append(f"  {measure.words}: {means}")
        difference = _difference(results, benchmark, first, second, measure)
        rows.append(f"    difference {_shown(difference, measure)}")
    if SUCCESS in measures:
        beats, tasks = improvement(results, benchmark, first, second)
        rows.append(f"  P(A beats B) on a task: {percent(beats)} %, over {tasks} tasks")
    adjusted = (
        "adjusted for all that are compared with D2R" if REFERENCE in (first, second) else "not adjusted"
    )
    rows.append(f"  Intervals of differences take one spread for all methods of the benchmark, {adjusted}.")
    return "\n".join(rows)
