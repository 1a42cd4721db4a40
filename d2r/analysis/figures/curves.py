"""Learning curves with interval bands."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from d2r.analysis.figures.style import PAGE, Look, empty_figure, new_figure, percent_axis
from d2r.analysis.results import REFERENCE, MethodInfo, Results
from d2r.analysis.statistics import Estimate, mean_interval
from d2r.analysis.tables.text import steps as steps_text


def curve_estimates(table: pd.DataFrame, bounds: tuple[float, float] | None = (0.0, 1.0)) -> list[Estimate]:
    """One estimate per step of a table with a row per seed."""
    return [mean_interval(table[step], bounds) for step in table.columns]


def draw_curve(axes: Axes, table: pd.DataFrame, look: Look, method: MethodInfo, bounded: bool = True) -> None:
    """Mean over runs with a band where there is an interval; a single run is a thin line."""
    if table.empty:
        return
    estimates = curve_estimates(table, (0.0, 1.0) if bounded else None)
    at = np.asarray(table.columns, dtype=float)
    axes.plot(
        at, table.mean().to_numpy(), color=look.color(method.id), linestyle=look.dashes(method.id), label=method.title,
        linewidth=1.6 if method.id == REFERENCE else 1.0, zorder=3 if method.id == REFERENCE else 2,
        marker=look.marker(method.id) if len(at) < 12 else "",
    )  # fmt: skip
    low = np.array([np.nan if e.low is None else e.low for e in estimates])
    high = np.array([np.nan if e.high is None else e.high for e in estimates])
    if np.isfinite(low).any():
        axes.fill_between(at, low, high, color=look.color(method.id), alpha=0.12, linewidth=0)


def steps_axis(axes: Axes) -> None:
    """Environment steps per task on the x axis."""
    axes.xaxis.set_major_formatter(lambda value, _position: steps_text(value))
    axes.set_xlabel("steps per task")


def learning_curves(results: Results) -> Figure:
    """Success over training of D2R and the baselines, one panel per benchmark."""
    methods = [method for method in results.methods if method.kind == "baseline" or method.id == REFERENCE]
    return _panels(results, methods, "success, %")


def _panels(results: Results, methods: list[MethodInfo], label: str) -> Figure:
    benchmarks = [name for name in results.benchmarks if len(results.metric("success", name))]
    if not benchmarks:
        return empty_figure("no finished run recorded success over training")
    look = Look(results.methods)
    columns = min(len(benchmarks), 2)
    rows = -(-len(benchmarks) // columns)
    legend_rows = -(-len(methods) // 4)
    figure = new_figure(PAGE, 2.1 * rows + 0.14 * legend_rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in grid.flat[len(benchmarks) :]:
        axes.set_visible(False)
    for axes, benchmark in zip(grid.flat, benchmarks, strict=False):
        for method in methods:
            draw_curve(axes, results.curves("success", benchmark, method.id), look, method)
        axes.set_title(benchmark)
        percent_axis(axes)
        steps_axis(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel(label)
    handles = {
        text: line for axes in grid.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure
