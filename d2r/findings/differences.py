"""Differences of methods to D2R on a benchmark, measure by measure."""

from __future__ import annotations

from d2r.findings.measures import SUCCESS, Measure
from d2r.findings.results import REFERENCE, Results
from d2r.statistics import Estimate, Model, probability_of_improvement


def model(results: Results, measure: Measure, benchmark: str, control: str = REFERENCE) -> Model:
    """Finished runs of all methods on a benchmark, with D2R or another one as the control."""

    def make() -> Model:
        runs = {method.id: measure.of_runs(results, benchmark, method.id) for method in results.methods}
        return Model.of(runs, control, measure.bounds)

    return results.once(("model", measure.name, benchmark, control), make)


def difference(results: Results, measure: Measure, benchmark: str, method: str) -> Estimate:
    """A method's mean minus D2R's, with an interval adjusted for all methods of the benchmark."""
    return model(results, measure, benchmark).to_control(method)


def standing(results: Results, benchmark: str, method: str) -> str:
    """``higher``, ``lower`` or ``not separated`` from D2R by the primary measure, or why there is no verdict."""
    found = difference(results, SUCCESS, benchmark, method)
    if found.no_verdict is not None:
        return found.no_verdict
    return {1: "higher", -1: "lower", 0: "not separated"}[found.separated_from(0.0)]


def is_separated(results: Results, benchmark: str, method: str) -> bool:
    """Whether a method differs from D2R by the primary measure, and so is set in bold."""
    return method != REFERENCE and standing(results, benchmark, method) in ("higher", "lower")


def compared(results: Results, benchmark: str, control: str = REFERENCE) -> list[str]:
    """Methods that were planned on a benchmark beside D2R, or another control; none where that was not."""
    planned = [method.id for method in results.methods if results.run_counts(benchmark, method.id)["all"]]
    return [name for name in planned if name != control] if control in planned else []


def improvement(results: Results, benchmark: str, first: str, second: str) -> tuple[float | None, int]:
    """Probability that a run of one method beats a run of another on a task, and the number of tasks that it is over.

    By success over the last evaluations; tasks that no run of either has any success on are left out.
    """
    a, b = (results.late_by_task("success", benchmark, name) for name in (first, second))
    tasks = a.columns.intersection(b.columns, sort=False)
    return probability_of_improvement(a[tasks].to_numpy(dtype=float), b[tasks].to_numpy(dtype=float))
