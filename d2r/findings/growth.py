"""Networks that grow, beside such with a fixed number of modules."""

from __future__ import annotations

from d2r.findings.results import REFERENCE, Results

GROWING = {
    f"{REFERENCE}-growing": "when success stops rising",
    f"{REFERENCE}-growing+network.growth-schedule": "at even intervals",
}
"""When a module opens in each method that grows."""
FIXED = {
    4: (f"{REFERENCE}-n4",),
    8: (f"{REFERENCE}-n8",),
    16: (f"{REFERENCE}+network.num_modules-16", REFERENCE),
}
"""Methods that may have so many modules from start to end: D2R itself has 16 where the scale does not say otherwise."""


def benchmarks_of_growth(results: Results) -> list[str]:
    """Benchmarks on which some planned method grows."""
    return [
        benchmark
        for benchmark in results.benchmarks
        if any(results.run_counts(benchmark, name)["all"] for name in GROWING)
    ]


def method_with(results: Results, benchmark: str, modules: int) -> str:
    """The planned method with a fixed number of modules; where none is planned, the one that would be."""
    first, *others = FIXED[modules]
    if results.run_counts(benchmark, first)["all"]:
        return first
    runs = results.finished
    has = runs[(runs["benchmark"] == benchmark) & (runs["modules"] == modules)]["method"].unique()
    return next((name for name in others if name in has), first)
