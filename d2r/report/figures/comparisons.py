"""Methods against each other: profiles, differences, and what success costs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from d2r.findings.differences import compared, difference
from d2r.findings.measures import SUCCESS
from d2r.findings.results import REFERENCE, Results
from d2r.report.figures.curves import headline_methods
from d2r.report.figures.style import Look, empty_figure, panels, percent_axis, shared_legend
from d2r.report.tables.compute import multiply_adds
from d2r.report.text import number, steps
from d2r.statistics import FEWEST_RUNS, Estimate, mean_interval, performance_profile

PROFILE_POINTS = np.linspace(0.0, 0.99, 34)


def performance_profiles(results: Results) -> Figure:
    """Share of tasks with more than a given success over the last evaluations, D2R and baselines."""
    benchmarks = [name for name in results.benchmarks if len(results.finished.query("benchmark == @name"))]
    if not benchmarks:
        return empty_figure("no finished run")
    look, methods = Look(results.methods), headline_methods(results)
    figure, grid = panels(len(benchmarks), columns=2, height=2.0, legend_entries=len(methods))
    for axes, benchmark in zip(grid, benchmarks, strict=True):
        for method in methods:
            scores = results.late_by_task("success", benchmark, method.id).to_numpy(dtype=float)
            if not scores.size:
                continue
            profile = performance_profile(scores, PROFILE_POINTS)
            axes.step(
                PROFILE_POINTS,
                np.array([estimate.value for estimate in profile], dtype=float),
                where="post",
                label=method.title,
                linestyle=look.dashes(method.id),
                color=look.color(method.id),
                linewidth=1.6 if method.id == REFERENCE else 1.0,
            )
            if len(scores) < FEWEST_RUNS:
                continue
            band = np.array(
                [(np.nan, np.nan) if e.low is None else (e.low, e.high) for e in profile], dtype=float
            )
            axes.fill_between(
                PROFILE_POINTS, band[:, 0], band[:, 1], step="post", alpha=0.1, color=look.color(method.id)
            )
        axes.set_title(benchmark)
        axes.set_xlabel("success rate, %")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100"])
        axes.set_ylabel("tasks above it, %")
        percent_axis(axes)
    shared_legend(figure, grid)
    return figure


def differences(results: Results) -> Figure:
    """Difference in success over the last evaluations to full D2R, with adjusted intervals."""
    found = {
        benchmark: [
            (method, estimate)
            for method in compared(results, benchmark)
            if (estimate := difference(results, SUCCESS, benchmark, method)).value is not None
        ]
        for benchmark in results.benchmarks
    }
    found = {benchmark: estimates for benchmark, estimates in found.items() if estimates}
    if not found:
        return empty_figure("no method has finished runs beside D2R's")
    look, tall = Look(results.methods), max(len(estimates) for estimates in found.values())
    figure, grid = panels(len(found), columns=2, height=0.6 + 0.13 * tall)
    for axes, (benchmark, estimates) in zip(grid, found.items(), strict=True):
        here = estimates[::-1]
        for place, (method, estimate) in enumerate(here):
            _draw_estimate(axes, place, estimate, look.color(method))
        axes.axvline(0.0, color="#000000", linewidth=0.8)
        axes.set_yticks(range(len(here)), [results.method(method).title for method, _ in here], fontsize=5.5)
        axes.set_ylim(-0.7, len(here) - 0.3)
        axes.xaxis.set_major_formatter(lambda value, _position: f"{100 * value:.0f}")
        axes.set_title(benchmark)
        axes.set_xlabel("difference to D2R, points")
    return figure


def _draw_estimate(axes: Axes, place: float, estimate: Estimate, color: str) -> None:
    """A dot with its interval; a hollow dot where there is none."""
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=color, linewidth=1.2)
    face = color if estimate.has_interval else "#ffffff"
    axes.plot(
        [estimate.value], [place], marker="o", markerfacecolor=face, markeredgecolor=color, linestyle=""
    )


def compute_against_success(results: Results) -> Figure:
    """Success over the last evaluations against multiply-adds per decision and parameters: one row per benchmark."""
    benchmarks = [name for name in results.benchmarks if len(results.finished.query("benchmark == @name"))]
    if not benchmarks:
        return empty_figure("no finished run")
    look = Look(results.methods)
    figure, grid = panels(2 * len(benchmarks), columns=2, height=1.6, legend_entries=len(results.methods))
    labels = ("multiply-adds per decision", "actor parameters")
    for place, benchmark in enumerate(benchmarks):
        for method in results.methods:
            runs = results.finished.query("benchmark == @benchmark and method == @method.id")
            if runs.empty:
                continue
            success = mean_interval(SUCCESS.of_runs(results, benchmark, method.id), (0.0, 1.0))
            costs = (
                multiply_adds(results, benchmark, method.id).value,
                float(runs["parameters_actor"].iloc[0]),
            )
            for axes, cost in zip(grid[2 * place : 2 * place + 2], costs, strict=True):
                if cost is not None and success.value is not None:
                    axes.plot(
                        [cost],
                        [success.value],
                        marker=look.marker(method.id),
                        markerfacecolor=look.face(method.id),
                        color=look.color(method.id),
                        linestyle="",
                        markersize=6 if method.id == REFERENCE else 4,
                        label=method.title,
                    )
        for axes, label in zip(grid[2 * place : 2 * place + 2], labels, strict=True):
            percent_axis(axes)
            axes.set_xlabel(label)
            axes.xaxis.set_major_formatter(
                lambda value, _position: number(value) if value < 1000 else steps(value)
            )
            axes.xaxis.set_major_locator(MaxNLocator(4))
        grid[2 * place].set_ylabel(f"{benchmark}\nsuccess, %")
    shared_legend(figure, grid)
    return figure
