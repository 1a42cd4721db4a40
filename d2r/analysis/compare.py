"""Which runs of two methods are compared, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from d2r.analysis.results import Results
from d2r.analysis.statistics.comparison import Comparison, compare_scores, with_holm
from d2r.config import load_benchmark


@dataclass(frozen=True)
class Versus:
    """One method against another on one benchmark."""

    benchmark: str
    method: str
    reference: str
    comparison: Comparison


def is_paired(benchmark: str) -> bool:
    """Whether differences are taken within seeds: on ``fixed`` benchmarks only, and whatever the data look like.

    There a seed fixes the one goal of every task, the same for all methods, so some seeds are harder than others for
    everyone and pairing removes that. On ``rand`` every reset draws a new goal: sharing a seed says next to nothing
    about a run, and pairing would only cost degrees of freedom (2 instead of up to 4 at three seeds).
    """
    return load_benchmark(benchmark).goals == "fixed"


def compare_methods(
    results: Results, benchmark: str, method: str, reference: str, paired: bool
) -> Comparison:
    """Compare final success of two methods; ``paired`` uses the seeds that both finished."""
    first, second = (results.scores(benchmark, name) for name in (method, reference))
    if paired:
        shared = first.index.intersection(second.index)
        first, second = first.loc[shared], second.loc[shared]
    tasks = first.columns.intersection(second.columns, sort=False)
    return compare_scores(first[tasks].to_numpy(dtype=float), second[tasks].to_numpy(dtype=float), paired)


def compare_all(results: Results, methods: Sequence[str], reference: str) -> list[Versus]:
    """Each method against ``reference`` on every benchmark that planned both; one Holm family per benchmark."""
    found: list[Versus] = []
    for benchmark in results.benchmarks:
        planned = [
            name for name in methods if name != reference and results.run_counts(benchmark, name)["all"]
        ]
        if not planned or not results.run_counts(benchmark, reference)["all"]:
            continue
        paired = is_paired(benchmark)
        comparisons = [compare_methods(results, benchmark, name, reference, paired) for name in planned]
        found += [
            Versus(benchmark, name, reference, comparison)
            for name, comparison in zip(planned, with_holm(comparisons), strict=True)
        ]
    return found
