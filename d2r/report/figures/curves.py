"""Learning curves: over all tasks, per variant, and per task."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from d2r.findings.difficulty import tasks_by_difficulty
from d2r.findings.results import REFERENCE, MethodInfo, Results, method_info
from d2r.findings.transfer import episodes_shown, transfers
from d2r.report.colors import method_color
from d2r.report.figures.style import (
    Dashes,
    Look,
    NothingToDraw,
    panels,
    percent_axis,
    shared_legend,
    shared_panels,
)
from d2r.report.text import steps as steps_text

ADAPTING: dict[str, Dashes] = {"all": "-", "router": (0, (4, 1.5)), "new-task": (0, (1, 1)), "": (0, (1, 4))}
"""Lines of what learns on, and of runs from scratch."""
NO_CURVES = "no finished run recorded success over training"


def draw_curve(axes: Axes, table: pd.DataFrame, look: Look, method: MethodInfo, runs: bool = True) -> None:
    """Mean over runs, and each run as a thin line.

    Args:
        axes: where to draw.
        table: one row per seed, one column per step.
        look: colours and dashes.
        method: whose curve it is.
        runs: whether to draw single runs.
    """
    if table.empty:
        return
    at = np.asarray(table.columns, dtype=float)
    main = method.id == REFERENCE
    for values in table.to_numpy(dtype=float) if runs and len(table) > 1 else ():
        axes.plot(at, values, color=look.color(method.id), linewidth=0.4, alpha=0.45, zorder=1)
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
        raise NothingToDraw(NO_CURVES)
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
        raise NothingToDraw("no finished run of a D2R variant")
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
    figure.suptitle(f"{benchmark}: success in % against steps per task, beside full D2R", fontsize=7)
    return figure


def transfer_curves(results: Results) -> Figure:
    """Success after few episodes: each method that starts from another run, and dotted the same from scratch."""
    rows = [row for row in transfers(results) if len(row.after("success", 0))]
    if not rows:
        raise NothingToDraw("no finished run starts from another")
    benchmarks = list(dict.fromkeys(row.benchmark for row in rows))
    episodes = episodes_shown(results)
    names = dict.fromkeys((row.scratch, row.adapt) for row in rows)
    figure, grid = panels(len(benchmarks), columns=2, height=2.1, legend_entries=len(names))
    for axes, benchmark in zip(grid, benchmarks, strict=True):
        for row in rows:
            if row.benchmark != benchmark:
                continue
            means = [row.after("success", after).mean() for after in episodes]
            axes.plot(
                range(len(episodes)),
                means,
                color=method_color(row.scratch),
                linestyle=ADAPTING[row.adapt],
                label=f"{method_info(row.scratch).title}, {row.adapt or 'from scratch'}",
            )
        axes.set_title(benchmark)
        axes.set_xticks(range(len(episodes)), [str(after) for after in episodes])
        axes.set_xlabel("episodes per task")
        axes.set_ylabel("success, %")
        percent_axis(axes)
    shared_legend(figure, grid)
    return figure


def task_curves(results: Results, benchmark: str) -> Figure:
    """Success over training on each task, easiest task first: D2R and baselines, means over runs."""
    methods = [m for m in headline_methods(results) if len(results.metric("success", benchmark, m.id))]
    if not methods:
        raise NothingToDraw(f"{benchmark}: {NO_CURVES}")
    look, tasks = Look(results.methods), tasks_by_difficulty(results, benchmark)
    figure, grid = shared_panels(len(tasks), columns=5, height=1.0, legend_entries=len(methods))
    for axes, task in zip(grid, tasks, strict=True):
        for method in methods:
            table = results.curves("success", benchmark, method.id, task)
            draw_curve(axes, table, look, method, runs=False)
        axes.set_title(task, fontsize=6, pad=2)
    percent_axis(grid[0])
    steps_axis(grid[0], label=False)
    grid[0].xaxis.set_major_locator(MaxNLocator(3))
    figure.suptitle(f"{benchmark}: success in % against steps per task", fontsize=7)
    shared_legend(figure, grid)
    return figure
