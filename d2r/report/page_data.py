"""The data behind the interactive parts of the report page, as plain JSON values that stay small at every scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from d2r.config import RUNS
from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.measures import bounds
from d2r.findings.recorded_routes import num_modules
from d2r.findings.results import REFERENCE, Results
from d2r.report.colors import method_color
from d2r.report.figures.instruments import INSTRUMENTS
from d2r.runs.layout import EVALUATION, METRICS, ROUTES, RUN_RECORD, TIMING, output_path
from d2r.statistics.intervals import Floats

QUANTITIES = (
    ("success", "success"),
    ("return", "return"),
    *INSTRUMENTS,
    ("alpha", "SAC temperature α"),
    ("route_temperature", "route temperature τ"),
    ("entropy", "policy entropy"),
    ("q_loss", "critic loss"),
    ("policy_loss", "policy loss"),
    ("masked", "updates over the loss threshold"),
)
BY_TASK = ("success", "return", "modules_used", "alpha", "route_temperature")
"""Quantities whose curves are kept for each task, too, as means over runs."""
LOGARITHMIC = ("alpha", "q_loss")
RUN_FILES = (RUN_RECORD, METRICS, EVALUATION, ROUTES, TIMING)
"""Those of a run that the page links to, in this order."""

MOST_POINTS = 150_000
"""Of all curves together, two characters each: a larger scale has coarser curves and no larger page."""
POINTS_OF_A_CURVE = (8, 60)
MOST_ROUTE_STEPS = 12
MOST_ROUTE_CHARACTERS = 300_000
"""Of all routes together; the runs beyond it are left out, the last seeds first."""

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LEVELS = 4000
"""Steps from the lowest to the highest value of a plot, finer than any screen; tenths are met exactly."""
TINY = 1e-300
"""Below it numbers have fewer than five digits."""
WEIGHT_LEVELS = 62


def page_data(results: Results) -> dict[str, Any]:
    """Everything that the page's script reads."""
    grids = _Grids()
    tasks = {benchmark: tasks_by_difficulty(results, benchmark) for benchmark in results.benchmarks}
    curves = _Curves(results, tasks, grids)
    return {
        "methods": [
            {
                "id": method.id,
                "title": method.title,
                "kind": "d2r" if method.id == REFERENCE else method.kind,
                "color": method_color(method.id),
            }
            for method in results.methods
        ],
        "quantities": [
            {"id": name, "label": label, "percent": name == "success"}
            for name, label in QUANTITIES
            if name in results.quantities
        ],
        "tasks": tasks,
        "curves": {benchmark: found for benchmark in results.benchmarks if (found := curves.of(benchmark))},
        "routes": _routes(results, tasks, grids),
        "grids": grids.known,
        "runs": _runs(results),
        "files": _run_files(results.folder),
    }


@dataclass
class _Grids:
    """Steps of curves, each list kept once."""

    known: list[list[int]] = field(default_factory=list)

    def number(self, steps: Sequence[Any]) -> int:
        """The place of a list of steps."""
        grid = [int(step) for step in steps]
        if grid not in self.known:
            self.known.append(grid)
        return self.known.index(grid)


def encoded(values: Floats, low: float, high: float) -> str:
    """Values from ``low`` to ``high`` as two characters each, in ``LEVELS`` steps."""
    spread = high - low if high > low else 1.0
    levels = np.rint((np.asarray(values, dtype=float) - low) / spread * LEVELS).astype(int)
    return "".join(ALPHABET[level // 64] + ALPHABET[level % 64] for level in levels.tolist())


class _Curves:
    """Single runs over training, mean over tasks, and each task, mean over runs."""

    def __init__(self, results: Results, tasks: Mapping[str, Sequence[str]], grids: _Grids) -> None:
        self.tasks, self.grids = tasks, grids
        self.tables: dict[str, dict[str, dict[str, tuple[pd.DataFrame, ...]]]] = {}
        curves = 0
        for benchmark in results.benchmarks:
            for quantity, _ in QUANTITIES:
                for method in results.recorded_by(quantity, benchmark):
                    by_task = results.curves_by_task(quantity, benchmark, method)
                    if len(by_task.columns):
                        each = by_task if quantity in BY_TASK else by_task.iloc[:0]
                        tables = (by_task.groupby("seed").mean(), each.groupby("task", sort=False).mean())
                        found = self.tables.setdefault(benchmark, {}).setdefault(quantity, {})
                        found[method] = tables
                        curves += sum(map(len, tables))
        least, most = POINTS_OF_A_CURVE
        self.points = min(most, max(least, MOST_POINTS // max(curves, 1)))

    def of(self, benchmark: str) -> dict[str, dict[str, Any]]:
        """By quantity: the range of its values, and the curves of each method."""
        found = self.tables.get(benchmark, {})
        return {
            quantity: self._quantity(quantity, self.tasks[benchmark], methods)
            for quantity, methods in found.items()
        }

    def _quantity(
        self, quantity: str, tasks: Sequence[str], methods: dict[str, tuple[pd.DataFrame, ...]]
    ) -> dict[str, Any]:
        values = [table.to_numpy(dtype=float) for pair in methods.values() for table in pair if len(table)]
        low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
        logarithmic = quantity in LOGARITHMIC and low > 0
        if logarithmic:
            methods = {name: tuple(table.apply(np.log10) for table in pair) for name, pair in methods.items()}
            low, high = float(np.log10(low)), float(np.log10(high))
        elif (limits := bounds(quantity)) is not None and np.isfinite(limits).all():
            low, high = limits
        low, high = round_out(low, -1), round_out(high, 1)
        return {
            "low": low,
            "high": high,
            "log": logarithmic,
            "methods": {
                name: self._of_method(runs, each, tasks, (low, high))
                for name, (runs, each) in methods.items()
            },
        }

    def _of_method(
        self, runs: pd.DataFrame, each: pd.DataFrame, tasks: Sequence[str], ends: tuple[float, float]
    ) -> dict[str, Any]:
        kept = spread(list(runs.columns), self.points)
        texts = [
            {
                str(name): encoded(row, *ends)
                for name, row in zip(table.index, table[kept].to_numpy(), strict=True)
            }
            for table in (runs, each)
        ]
        entry: dict[str, Any] = {"grid": self.grids.number(kept), "runs": texts[0]}
        if by_task := in_order(texts[1], tasks):
            entry["tasks"] = by_task
        return entry


def in_order(texts: Mapping[str, str], tasks: Sequence[str]) -> list[str]:
    """Texts of tasks in the order in which the page shows these, empty for those that have none; none if all are."""
    found = [texts.get(task, "") for task in tasks]
    return found if any(found) else []


def round_out(value: float, side: int) -> float:
    """The next number with five digits that is not inside of ``value``; ``side`` is -1 for a low end, 1 for a high."""
    if abs(value) < TINY:
        return side * TINY if side * value > 0 else 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 4)
    nearest = float(f"{value:.5g}")
    return nearest if side * nearest >= side * value else float(f"{nearest + side * unit:.5g}")


def _routes(results: Results, tasks: Mapping[str, Sequence[str]], grids: _Grids) -> dict[str, dict[str, Any]]:
    """By benchmark and method: modules, and for each seed the routes and the modules used by each task over training.

    Runs are taken in turns, the first of each method, then the second of each, until the page is full.
    """
    recorded = {
        (str(benchmark), str(method), int(str(seed))): part
        for (benchmark, method, seed), part in results.routes.groupby(
            ["benchmark", "method", "seed"], sort=False
        )
    }
    waiting = [
        (place, benchmark, method, seed, modules)
        for benchmark in results.benchmarks
        for method in results.routed_methods(benchmark)
        for modules in [num_modules(results, benchmark, method)]
        for place, seed in enumerate(results.seeds(benchmark, method))
    ]
    found: dict[str, dict[str, Any]] = {}
    left = MOST_ROUTE_CHARACTERS
    for _, benchmark, method, seed, modules in sorted(waiting, key=lambda run: run[0]):
        routes = _valid_routes(recorded.get((benchmark, method, seed), results.routes.iloc[:0]), modules)
        used = results.curves_by_task("modules_used", benchmark, method)
        used = used[used.index.get_level_values("seed") == seed].droplevel("seed") if len(used) else used
        size = routes["step"].nunique() * _pairs(modules) * routes["task"].nunique() + 2 * used.size
        if not len(routes) or size > left:
            continue
        left -= size
        names = tasks[benchmark]
        run = {**_route_texts(grids, routes, modules, names), **_used_texts(grids, used, modules, names)}
        methods = found.setdefault(benchmark, {})
        methods.setdefault(method, {"modules": modules, "seeds": {}})["seeds"][str(seed)] = run
    return found


def _pairs(modules: int) -> int:
    """Pairs of a target (module 2 to the output) and a source before it."""
    return modules * (modules + 1) // 2


def _valid_routes(routes: pd.DataFrame, modules: int) -> pd.DataFrame:
    """Routes at the steps that are kept, with the output as one module more; without edges that no network has."""
    kept = spread(sorted(routes["step"].unique()), MOST_ROUTE_STEPS)
    routes = routes[routes["step"].isin(kept)]
    target = pd.to_numeric(routes["target"].replace("out", str(modules + 1)), errors="coerce")
    source = pd.to_numeric(routes["source"], errors="coerce")
    routes = routes.assign(target=target, source=source)
    return routes[(source >= 1) & (source < target) & (target <= modules + 1)]


def _route_texts(grids: _Grids, routes: pd.DataFrame, modules: int, tasks: Sequence[str]) -> dict[str, Any]:
    """For each task one character for each step and pair: none, or a weight in ``WEIGHT_LEVELS`` steps."""
    steps = sorted(routes["step"].unique())
    step = routes["step"].map({value: place for place, value in enumerate(steps)})
    target, source = routes["target"].astype(int), routes["source"].astype(int)
    place = step * _pairs(modules) + (target - 1) * (target - 2) // 2 + source - 1
    levels = 1 + np.rint(routes["weight"].clip(0, 1) * WEIGHT_LEVELS).astype(int)
    texts: dict[str, str] = {}
    for task in routes["task"].unique():
        here = routes["task"] == task
        characters = np.zeros(len(steps) * _pairs(modules), dtype=int)
        characters[place[here].to_numpy(dtype=int)] = levels[here]
        texts[str(task)] = "".join(ALPHABET[level] for level in characters.tolist())
    return {"grid": grids.number(steps), "routes": in_order(texts, tasks)}


def _used_texts(grids: _Grids, used: pd.DataFrame, modules: int, tasks: Sequence[str]) -> dict[str, Any]:
    """For each task the modules that it uses over training, as ``encoded`` from none to all."""
    if not used.size:
        return {}
    kept = spread(list(used.columns), POINTS_OF_A_CURVE[1])
    rows = zip(used.index, used[kept].clip(0, modules).to_numpy(dtype=float), strict=True)
    texts = {str(task): encoded(row, 0.0, float(modules)) for task, row in rows}
    return {"used": in_order(texts, tasks), "used_grid": grids.number(kept)}


def _runs(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Runs by ``benchmark/method``, for the links to their files."""
    found: dict[str, list[dict[str, Any]]] = {}
    scores: dict[str, pd.Series[float]] = {}
    for run in results.runs.itertuples():
        name = f"{run.benchmark}/{run.method}"
        if name not in scores:
            scores[name] = results.final_by_task(str(run.benchmark), str(run.method)).mean(axis=1)
        score = scores[name].get(run.seed)
        found.setdefault(name, []).append(
            {
                "seed": int(str(run.seed)),
                "status": str(run.status),
                "success": None if score is None else round(float(score), 4),
            }
        )
    return found


def _run_files(folder: Path) -> list[str]:
    """What the files that the page links to are called in a run's folder."""
    a_run = next((record.parent for record in folder.glob(f"{RUNS}/*/*/seed*/{RUN_RECORD}")), folder)
    return [output_path(a_run, name).name for name in RUN_FILES]


def spread(steps: list[Any], most: int) -> list[Any]:
    """At most ``most`` of the steps, evenly spread, with the first and the last."""
    if len(steps) <= most:
        return steps
    return [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
