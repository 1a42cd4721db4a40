"""What routing does over training: modules used, temperatures, agreement, gradients."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from d2r.findings.difficulty import correlation_over_training, hardness, tasks_by_difficulty
from d2r.findings.results import REFERENCE, Results
from d2r.report.colors import method_color
from d2r.report.figures.curves import draw_curve, steps_axis
from d2r.report.figures.style import (
    Look,
    NothingToDraw,
    logarithmic,
    panels,
    percent_axis,
    shared_legend,
)
from d2r.report.text import steps as steps_text

INSTRUMENTS: tuple[tuple[str, str], ...] = (
    ("modules_used", "modules used"),
    ("depth", "depth (longest path)"),
    ("route_entropy", "route entropy"),
    ("top1_share", "top-1 share"),
    ("route_jaccard", "overlap of tasks (Jaccard)"),
    ("route_change", "route change since last evaluation"),
    ("agreement", "agreement of replayed and current route"),
    ("blocked_share", "pairs blocked by ResRouting"),
    ("multiply_adds", "multiply-adds per decision"),
    ("gradient_cosine", "cosine of task gradients (actor)"),
    ("gradient_cosine_no_resrouting", "same, without ResRouting"),
    ("critic_gradient_cosine", "cosine of task gradients (critics)"),
    ("critic_gradient_cosine_no_resrouting", "same, without ResRouting (critics)"),
    ("alpha_success_rho", "ρ (alpha, success) over tasks"),
)


def _widest(results: Results, quantities: tuple[str, ...]) -> str | None:
    """The benchmark on which most methods recorded one of the quantities."""
    sizes = {
        benchmark: len({method for name in quantities for method in results.recorded_by(name, benchmark)})
        for benchmark in results.benchmarks
    }
    best = max(sizes, key=lambda name: sizes[name], default=None)
    return best if best is not None and sizes[best] else None


def instrument_curves(results: Results) -> Figure:
    """Every instrument of routed methods over training, on the benchmark with most routed methods."""
    recorded = [(name, label) for name, label in INSTRUMENTS if name in results.quantities]
    benchmark = _widest(results, tuple(name for name, _ in recorded)) if recorded else None
    if benchmark is None:
        raise NothingToDraw("no finished run recorded an instrument of routing")
    look = Look(results.methods)
    methods = [results.method(name) for name in results.routed_methods(benchmark)]
    figure, grid = panels(len(recorded), columns=3, height=1.6, legend_entries=len(methods))
    for axes, (quantity, label) in zip(grid, recorded, strict=True):
        for method in methods:
            draw_curve(axes, results.curves(quantity, benchmark, method.id), look, method)
        axes.set_title(label)
        steps_axis(axes, label=False)
    figure.suptitle(f"{benchmark}, against steps per task", fontsize=7)
    shared_legend(figure, grid)
    return figure


def module_usage(results: Results) -> Figure:
    """Modules that D2R uses for each task over training, easiest task at the top; one panel per benchmark."""
    found = {
        benchmark: rows.pivot_table(index="task", columns="step", values="value")
        for benchmark in results.benchmarks
        if len(rows := results.metric("modules_used", benchmark, REFERENCE))
    }
    if not found:
        raise NothingToDraw("no finished run of D2R recorded the modules that it uses")
    tall = max(len(table) for table in found.values())
    figure, grid = panels(len(found), columns=2, height=0.7 + 0.075 * tall)
    for axes, (benchmark, table) in zip(grid, found.items(), strict=True):
        order = [task for task in tasks_by_difficulty(results, benchmark) if task in table.index]
        image = axes.imshow(
            table.loc[order].to_numpy(), aspect="auto", cmap="viridis", interpolation="nearest"
        )
        names = [str(task).removesuffix("-v3") for task in order]
        axes.set_yticks(range(len(order)), names, fontsize=5 if len(order) <= 10 else 4)
        last = len(table.columns) - 1
        ticks = sorted({0, last // 2, last})
        axes.set_xticks(ticks, [steps_text(float(table.columns[tick])) for tick in ticks])
        axes.set_title(benchmark)
        axes.set_xlabel("steps per task")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="modules used", shrink=0.8)
    return figure


def temperature_and_alpha(results: Results) -> Figure:
    """D2R's route temperature and SAC temperature over training: one line per task, hard tasks darker."""
    benchmarks = [name for name in results.benchmarks if len(results.metric("alpha", name, REFERENCE))]
    if not benchmarks:
        raise NothingToDraw("no finished run of D2R recorded alpha")
    quantities = (("route_temperature", "route temperature τ"), ("alpha", "SAC temperature α"))
    figure, grid = panels(2 * len(benchmarks), columns=4, height=1.7)
    for place, (benchmark, (quantity, label)) in enumerate((b, q) for b in benchmarks for q in quantities):
        axes = grid[place]
        table = results.metric(quantity, benchmark, REFERENCE).pivot_table(
            index="task", columns="step", values="value"
        )
        hard = hardness(results, benchmark)
        for task in tasks_by_difficulty(results, benchmark):
            if task in table.index:
                axes.plot(table.columns, table.loc[task], color=str(0.8 * (1 - hard[task])), linewidth=0.8)
        if quantity == "alpha":
            logarithmic(axes)
        axes.set_title(f"{benchmark}\n{label}")
        steps_axis(axes)
    figure.supylabel("light: easy tasks, dark: hard tasks", fontsize=6.5)
    return figure


def module_gradients(results: Results) -> Figure:
    """Gradient norm of each of D2R's modules over training, relative to the median module."""
    prefix = "module_grad_norm."
    names = sorted(
        (name for name in results.quantities if name.startswith(prefix)), key=lambda n: int(n[len(prefix) :])
    )
    benchmarks = [b for b in results.benchmarks if names and len(results.metric(names[0], b, REFERENCE))]
    if not benchmarks:
        raise NothingToDraw("no finished run of D2R recorded the gradient norms of its modules")
    figure, grid = panels(len(benchmarks), columns=2, height=1.9)
    for axes, benchmark in zip(grid, benchmarks, strict=True):
        rows = [results.metric(name, benchmark, REFERENCE).groupby("step")["value"].mean() for name in names]
        rows = [row for row in rows if len(row)]
        norms = np.array([row.to_numpy(dtype=float) for row in rows])
        share = norms / np.maximum(np.median(norms, axis=0), 1e-30)
        image = axes.imshow(
            np.log10(np.maximum(share, 1e-4)),
            aspect="auto",
            cmap="cividis",
            vmin=-2,
            vmax=1,
            interpolation="nearest",
        )
        axes.set_yticks(range(len(rows)), [str(place + 1) for place in range(len(rows))], fontsize=5)
        at = rows[0].index
        ticks = sorted({0, len(at) // 2, len(at) - 1})
        axes.set_xticks(ticks, [steps_text(float(at[tick])) for tick in ticks])
        axes.set_title(benchmark)
        axes.set_xlabel("steps per task")
        axes.set_ylabel("module")
        axes.grid(visible=False)
        figure.colorbar(image, ax=axes, label="log10(norm / median)", shrink=0.8)
    return figure


def success_against_modules(results: Results) -> Figure:
    """Final success against modules used, one point per task of D2R; of MT10 those with any success are named."""
    benchmarks = [name for name in results.benchmarks if len(results.metric("modules_used", name, REFERENCE))]
    if not benchmarks:
        raise NothingToDraw("no finished run of D2R recorded the modules that it uses")
    figure, grid = panels(len(benchmarks), columns=2, height=2.1)
    for axes, benchmark in zip(grid, benchmarks, strict=True):
        used = results.metric("modules_used", benchmark, REFERENCE)
        used = used[used["step"] == used["step"].max()].groupby("task")["value"].mean()
        success = results.final_by_task(benchmark, REFERENCE).mean()
        tasks = [task for task in used.index if task in success.index]
        axes.plot(used[tasks], success[tasks], "o", color=method_color(REFERENCE), alpha=0.7)
        for task in tasks if len(tasks) <= 10 else []:
            if success[task] > 0:  # the others share one line, where names would lie on each other
                short = str(task).removesuffix("-v3")
                axes.annotate(
                    short, (used[task], success[task]), fontsize=5, xytext=(2, 2), textcoords="offset points"
                )
        axes.set_title(benchmark)
        axes.set_xlabel("modules used")
        axes.set_ylabel("success, %")
        percent_axis(axes)
    return figure


def difficulty_over_training(results: Results) -> Figure:
    """Rank correlation of modules used with task difficulty, over training."""
    look = Look(results.methods)
    found = {
        benchmark: {
            name: table
            for name in results.routed_methods(benchmark)
            if not (table := correlation_over_training(results, benchmark, name).dropna(axis=1)).empty
        }
        for benchmark in results.benchmarks
    }
    found = {benchmark: tables for benchmark, tables in found.items() if tables}
    if not found:
        raise NothingToDraw("no run ranks its tasks by modules used beside baselines that measure difficulty")
    names = {name for tables in found.values() for name in tables}
    figure, grid = panels(len(found), columns=2, height=2.0, legend_entries=len(names))
    for axes, (benchmark, tables) in zip(grid, found.items(), strict=True):
        for name, table in tables.items():
            draw_curve(axes, table, look, results.method(name))
        axes.axhline(0, color="#000000", linewidth=0.6)
        axes.set_ylim(-1.05, 1.05)
        axes.set_title(benchmark)
        axes.set_ylabel("ρ (modules, difficulty)")
        steps_axis(axes)
    shared_legend(figure, grid)
    return figure
