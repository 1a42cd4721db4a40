"""Learning curves with interval bands: over all tasks, per variant, and per task."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.results import REFERENCE, MethodInfo, Results
from d2r.report.figures.style import Look, empty_figure, panels, percent_axis, shared_legend, shared_panels
from d2r.report.text import steps as steps_text
from d2r.statistics import FEWEST_RUNS, mean_interval

NO_CURVES = "no finished run recorded success over training"


def draw_curve(
    axes: Axes,
    table: pd.DataFrame,
    look: Look,
    method: MethodInfo,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> None:
    """Mean over runs of a table with a row per seed, with a band if at least ``FEWEST_RUNS`` of them give one.

    Args:
        axes: where to draw.
        table: one row per seed, one column per step.
        look: colours and dashes.
        method: whose curve it is.
        bounds: range that the quantity cannot leave.
    """
    if table.empty:
        return
    at = np.asarray(table.columns, dtype=float)
    main = method.id == REFERENCE
    axes.plot(
        at,
        table.mean().to_numpy(),
        color=look.color(method.id),
        linestyle=look.dashes(method.id),
        label=method.title,
        linewidth=1.6 if main else 1.0,
        zorder=3 if main else 2,
        marker=look.marker(method.id) if len(at) < 12 else "",
    )
    if len(table) < FEWEST_RUNS:
        return
    estimates = [mean_interval(table[step], bounds) for step in table.columns]
    low = np.array([np.nan if e.low is None else e.low for e in estimates])
    high = np.array([np.nan if e.high is None else e.high for e in estimates])
    if np.isfinite(low).any():
        axes.fill_between(at, low, high, color=look.color(method.id), alpha=0.12, linewidth=0)


def steps_axis(axes: Axes, label: bool = True) -> None:
    """Environment steps per task on the x axis."""
    axes.xaxis.set_major_formatter(lambda value, _position: steps_text(value))
    if label:
        axes.set_xlabel("steps per task")


def headline_methods(results: Results) -> list[MethodInfo]:
    """D2R and the baselines."""
    return [method for method in results.methods if method.kind == "baseline" or method.id == REFERENCE]


def learning_curves(results: Results) -> Figure:
    """Success over training of D2R and the baselines, one panel per benchmark."""
    benchmarks = [name for name in results.benchmarks if results.recorded_by("success", name)]
    if not benchmarks:
        return empty_figure(NO_CURVES)
    look, methods = Look(results.methods), headline_methods(results)
    figure, grid = panels(len(benchmarks), columns=2, height=2.1, legend_entries=len(methods))
    for axes, benchmark in zip(grid, benchmarks, strict=True):
        for method in methods:
            draw_curve(axes, results.curves("success", benchmark, method.id), look, method)
        axes.set_title(benchmark)
        percent_axis(axes)
        steps_axis(axes)
        axes.set_ylabel("success, %")
    shared_legend(figure, grid)
    return figure


def variant_curves(results: Results) -> Figure:
    """Each D2R variant beside full D2R, on the benchmark on which most variants were run."""
    variants = [method for method in results.methods if method.kind == "variant" and method.id != REFERENCE]
    tables = {
        benchmark: {m.id: results.curves("success", benchmark, m.id) for m in variants}
        for benchmark in results.benchmarks
    }
    sizes = {name: sum(not table.empty for table in found.values()) for name, found in tables.items()}
    benchmark = max(sizes, key=lambda name: sizes[name], default="")
    if not sizes.get(benchmark):
        return empty_figure("no finished run of a D2R variant")
    look = Look(results.methods)
    shown = [method for method in variants if not tables[benchmark][method.id].empty]
    reference = results.curves("success", benchmark, REFERENCE)
    full = [method for method in results.methods if method.id == REFERENCE]
    figure, grid = panels(len(shown), columns=4, height=1.35)
    for axes, method in zip(grid, shown, strict=True):
        for base in full:
            draw_curve(axes, reference, look, base)
        draw_curve(axes, tables[benchmark][method.id], look, method)
        axes.set_title(method.title, fontsize=6.5)
        percent_axis(axes)
        steps_axis(axes, label=False)
    figure.suptitle(f"{benchmark}: success in % against steps per task; black: full D2R", fontsize=7)
    return figure


def task_curves(results: Results, benchmark: str) -> Figure:
    """Success over training on each task, easiest task first: D2R with its band, baselines as lines."""
    methods = [m for m in headline_methods(results) if len(results.metric("success", benchmark, m.id))]
    if not methods:
        return empty_figure(f"{benchmark}: {NO_CURVES}")
    look, tasks = Look(results.methods), tasks_by_difficulty(results, benchmark)
    figure, grid = shared_panels(len(tasks), columns=5, height=1.0, legend_entries=len(methods))
    for axes, task in zip(grid, tasks, strict=True):
        for method in methods:
            _thin_curve(axes, results.curves("success", benchmark, method.id, task), look, method)
        axes.set_title(task, fontsize=6, pad=2)
    percent_axis(grid[0])
    steps_axis(grid[0], label=False)
    grid[0].xaxis.set_major_locator(MaxNLocator(3))
    figure.suptitle(f"{benchmark}: success in % against steps per task", fontsize=7)
    shared_legend(figure, grid)
    return figure


def _thin_curve(axes: Axes, table: pd.DataFrame, look: Look, method: MethodInfo) -> None:
    if method.id == REFERENCE:
        draw_curve(axes, table, look, method)
    elif not table.empty:
        axes.plot(
            np.asarray(table.columns, dtype=float),
            table.mean().to_numpy(),
            color=look.color(method.id),
            linestyle=look.dashes(method.id),
            linewidth=0.8,
            label=method.title,
        )
