"""Routes as graphs: modules in a row, an arc for each edge as wide as its weight, unused modules faded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.path import Path

from d2r.findings.difficulty import hardness, tasks_by_difficulty
from d2r.findings.recorded_routes import num_modules, routes_of, used_modules
from d2r.findings.results import REFERENCE, Floats, Results
from d2r.report.figures.style import ON_ROUTE, OUTPUT, PAGE, NothingToDraw, new_figure
from d2r.report.text import steps as steps_text

USED, FADED = "#000000", "#cccccc"
_K = 0.5523
"""Length of a Bezier handle that makes a quarter of the unit circle."""
HALF_CIRCLE = np.array([(-1.0, 0.0), (-1.0, _K), (-_K, 1.0), (0.0, 1.0), (_K, 1.0), (1.0, _K), (1.0, 0.0)])
CODES = [Path.MOVETO, *[Path.CURVE4] * 6]


@dataclass(frozen=True)
class Drawing:
    """One route to draw: its edges (target, source, weight), the number of modules N and a title."""

    edges: pd.DataFrame
    modules: int
    title: str


def route_grid(drawings: Sequence[Drawing], columns: int, heading: str) -> Figure:
    """Routes side by side: modules 1 to N from left to right, then the output.

    All of them lie in one pair of axes, which draws 50 routes as fast as one. Each title ends with the
    number of modules that the route uses.
    """
    columns = min(columns, len(drawings))
    rows = -(-len(drawings) // columns)
    figure = new_figure(PAGE, 0.72 * rows + 0.3)
    axes = figure.subplots()
    arcs: list[Path] = []
    widths: list[float] = []
    colors: list[str] = []
    for place, drawing in enumerate(drawings):
        left, bottom = float(place % columns), -float(place // columns)
        used = used_modules(drawing.edges)
        step = 0.9 / (drawing.modules + 1)
        for arc, width, on_route in _arcs(drawing, used):
            arcs.append(Path(arc * (step, 0.55) + (left, bottom), CODES))
            widths.append(width)
            colors.append(ON_ROUTE if on_route else FADED)
        nodes = [USED if str(module + 1) in used else FADED for module in range(drawing.modules)]
        x = left + step * np.arange(1, drawing.modules + 1)
        axes.scatter(x, np.full(drawing.modules, bottom), s=4, c=nodes, zorder=3)
        axes.scatter([left + 0.9], [bottom], s=12, c=OUTPUT, marker=">", zorder=3)
        label = f"{drawing.title}: {len(used)}/{drawing.modules}"
        axes.text(left + 0.45, bottom + 0.62, label, ha="center", va="bottom", fontsize=5.5)
    axes.add_collection(PathCollection(arcs, facecolors="none", edgecolors=colors, linewidths=widths))
    axes.set_xlim(0, columns)
    axes.set_ylim(-rows + 0.85, 0.85)
    axes.set_axis_off()
    figure.suptitle(heading, fontsize=7)
    return figure


def _arcs(drawing: Drawing, used: set[str]) -> Iterator[tuple[Floats, float, bool]]:
    """Half circles from source to target, at most 1 high; with line width and whether the target is on the route."""
    edges = drawing.edges
    for target, source, weight in zip(edges["target"], edges["source"], edges["weight"], strict=True):
        end = drawing.modules + 1 if str(target) == "out" else int(target)
        middle, radius = (end + int(source)) / 2, (end - int(source)) / 2
        lift = 0.12 + 0.88 * radius / (drawing.modules / 2)
        on_route = str(target) == "out" or str(target) in used
        yield (
            HALF_CIRCLE * (radius, lift) + (middle, 0.0),
            (0.2 + 1.6 * float(weight) if on_route else 0.3),
            on_route,
        )


def task_routes(results: Results, benchmark: str) -> Figure:
    """D2R's route for each task at the last evaluation of its first finished run, easiest task first."""
    seeds = results.seeds(benchmark, REFERENCE)
    routes = routes_of(results, benchmark, REFERENCE, seeds[0]) if seeds else pd.DataFrame()
    if routes.empty:
        raise NothingToDraw(f"{benchmark}: no finished run of D2R recorded routes")
    last = routes[routes["step"] == routes["step"].max()]
    title = (
        f"D2R on {benchmark}, seed {seeds[0]}, after {steps_text(float(last['step'].iloc[0]))} steps per task"
    )
    modules = num_modules(results, benchmark, REFERENCE)
    return route_figure(last, tasks_by_difficulty(results, benchmark), modules, title)


def route_figure(routes: pd.DataFrame, tasks: Sequence[str], modules: int, title: str) -> Figure:
    """The routes of one run at one step, a graph for each task in the order given (easy to hard)."""
    shown = [task for task in tasks if (routes["task"] == task).any()]
    drawings = [Drawing(routes[routes["task"] == task], modules, task.removesuffix("-v3")) for task in shown]
    return route_grid(drawings, 5, f"{title} (easy to hard; modules used in some state, of all)")


def method_routes(results: Results) -> Figure:
    """The easiest and the hardest task's final route of every routed method, where most of them were run."""
    benchmark = max(results.benchmarks, key=lambda name: len(results.routed_methods(name)), default="")
    tasks = tasks_by_difficulty(results, benchmark)
    shown = []
    for name in results.routed_methods(benchmark) if tasks else []:
        seeds = results.seeds(benchmark, name)
        if seeds:
            routes = routes_of(results, benchmark, name, seeds[0])
            shown += [(name, task, routes) for task in (tasks[0], tasks[-1])]
    if not shown:
        raise NothingToDraw("no finished run recorded routes")
    drawings = []
    for name, task, routes in shown:
        last = routes[(routes["step"] == routes["step"].max()) & (routes["task"] == task)]
        label = "easiest" if task == tasks[0] else "hardest"
        modules = num_modules(results, benchmark, name)
        drawings.append(Drawing(last, modules, f"{results.method(name).title}, {label}"))
    hard = hardness(results, benchmark)
    easiest, hardest = (_among_equals(task, hard) for task in (tasks[0], tasks[-1]))
    heading = f"{benchmark}: final routes of the easiest task ({easiest}) and the hardest ({hardest}); modules used/all"
    return route_grid(drawings, 2, heading)


def _among_equals(task: str, hard: dict[str, float]) -> str:
    equals = sum(value == hard[task] for value in hard.values())
    return task if equals == 1 else f"{task}, one of {equals} alike"
