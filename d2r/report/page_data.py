"""The data behind the interactive parts of the report page, as plain JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.measures import SUCCESS, bounds
from d2r.findings.results import REFERENCE, Results
from d2r.findings.signatures import num_modules, routed_methods, routes_of
from d2r.report.figures.instruments import INSTRUMENTS
from d2r.report.figures.style import Look
from d2r.statistics import FEWEST_RUNS, mean_interval

QUANTITIES = (
    ("success", "success"),
    *INSTRUMENTS,
    ("alpha", "SAC temperature α"),
    ("route_temperature", "route temperature τ"),
    ("return", "return"),
    ("entropy", "policy entropy"),
    ("q_loss", "critic loss"),
    ("policy_loss", "policy loss"),
    ("masked", "updates over the loss threshold"),
)
MOST_STEPS = 60
"""Points kept of a curve."""
MOST_ROUTE_STEPS = 12
"""Steps at which routes are kept."""
RUN_FILES = ("run.json", "metrics.csv", "evaluation.csv", "routes.csv", "timing.csv")


def page_data(results: Results) -> dict[str, Any]:
    """Everything that the page's script reads."""
    look = Look(results.methods)
    dashes = {"-": "solid"}
    return {
        "scale": results.scale,
        "runs_for_a_band": FEWEST_RUNS,
        "methods": [
            {
                "id": method.id,
                "title": method.title,
                "kind": "d2r" if method.id == REFERENCE else method.kind,
                "color": None if method.id == REFERENCE else look.color(method.id),
                "dash": dashes.get(str(look.dashes(method.id)), "dash"),
            }
            for method in results.methods
        ],
        "quantities": [
            {"id": name, "label": label} for name, label in QUANTITIES if name in results.quantities
        ],
        "tasks": {benchmark: tasks_by_difficulty(results, benchmark) for benchmark in results.benchmarks},
        "curves": {benchmark: _curves(results, benchmark) for benchmark in results.benchmarks},
        "routes": {
            benchmark: routes for benchmark in results.benchmarks if (routes := _routes(results, benchmark))
        },
        "runs": _runs(results),
        "files": list(RUN_FILES),
    }


def _curves(results: Results, benchmark: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for quantity, _ in QUANTITIES:
        for method in results.recorded_by(quantity, benchmark):
            found.setdefault(quantity, {})[method] = _curve(results, quantity, benchmark, method)
    return found


def _curve(results: Results, quantity: str, benchmark: str, method: str) -> dict[str, Any]:
    by_task = results.curves_by_task(quantity, benchmark, method)
    kept = _spread(list(by_task.columns), MOST_STEPS)
    by_task = by_task[kept]
    overall = by_task.groupby(level="seed").mean()
    estimates = [mean_interval(overall[step], bounds(quantity)) for step in kept]
    curve: dict[str, Any] = {
        "steps": [int(step) for step in kept],
        "mean": short(overall.mean()),
        "low": short(estimate.low for estimate in estimates),
        "high": short(estimate.high for estimate in estimates),
        "runs": len(overall),
    }
    if quantity == "success":
        curve["seeds"] = {str(seed): short(row) for seed, row in overall.iterrows()}
    means = by_task.groupby(level="task", sort=False).mean()
    if list(means.index) != [""]:
        curve["tasks"] = {str(task): short(row) for task, row in means.iterrows()}
    return curve


def _routes(results: Results, benchmark: str) -> dict[str, Any]:
    """Routes of the first finished run of each routed method: per step and task a list of [target, source, weight]."""
    found: dict[str, Any] = {}
    for method in routed_methods(results, benchmark):
        seeds = results.seeds(benchmark, method)
        if not seeds:
            continue
        routes = routes_of(results, benchmark, method, int(seeds[0]))
        kept = _spread(sorted(routes["step"].unique()), MOST_ROUTE_STEPS)
        routes = routes[routes["step"].isin(kept)]
        modules = num_modules(results, benchmark, method)
        target = routes["target"].astype(str).replace("out", str(modules + 1)).astype(int)
        edges = pd.DataFrame({
            "step": routes["step"], "task": routes["task"], "target": target,
            "source": routes["source"].astype(int), "weight": routes["weight"].round(3),
        })  # fmt: skip
        tasks: dict[str, list[Any]] = {}
        for (task, _), part in edges.groupby(["task", "step"], sort=True):
            values = zip(
                part["target"].tolist(), part["source"].tolist(), part["weight"].tolist(), strict=True
            )
            tasks.setdefault(str(task), []).append([list(edge) for edge in values])
        found[method] = {
            "seed": int(seeds[0]),
            "modules": modules,
            "steps": [int(step) for step in kept],
            "tasks": tasks,
        }
    return found


def _runs(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Runs by ``benchmark/method``, for the links to their files."""
    scores = {
        (str(benchmark), str(method)): SUCCESS.of_runs(results, str(benchmark), str(method))
        for benchmark, method in results.runs[["benchmark", "method"]]
        .drop_duplicates()
        .itertuples(index=False)
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for run in results.runs.itertuples():
        score = scores[str(run.benchmark), str(run.method)].get(run.seed)
        found.setdefault(f"{run.benchmark}/{run.method}", []).append(
            {
                "seed": int(str(run.seed)),
                "status": str(run.status),
                "success": None if score is None else round(float(score), 4),
            }
        )
    return found


def _spread(steps: list[Any], most: int) -> list[Any]:
    """At most ``most`` of the steps, evenly spread, with the first and the last."""
    if len(steps) <= most:
        return steps
    return [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]


def short(values: Any) -> list[float | None]:
    """Numbers with four significant digits, which is finer than a screen shows; JSON has no NaN."""
    return [None if value is None or not np.isfinite(value) else float(f"{value:.4g}") for value in values]
