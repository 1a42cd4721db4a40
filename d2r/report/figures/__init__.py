"""Every figure of the results, as SVG and PNG."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from d2r.config.schema import LATE_EVALUATIONS
from d2r.cores import available_cores
from d2r.findings.results import Results
from d2r.report.figures.arcs import method_routes, task_routes
from d2r.report.figures.comparisons import (
    compute_against_success,
    differences,
    performance_profiles,
)
from d2r.report.figures.curves import learning_curves, task_curves, transfer_curves, variant_curves
from d2r.report.figures.instruments import (
    difficulty_over_training,
    instrument_curves,
    module_gradients,
    module_usage,
    success_against_modules,
    temperature_and_alpha,
)
from d2r.report.figures.style import NothingToDraw, house_style, remove, save


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file name, what it shows, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[Results], Figure]


_RUNS = "Thick lines are means over runs, thin ones single runs."

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("learning_curves", f"Success over training, D2R and baselines. {_RUNS}", learning_curves),
    FigureSpec("learning_curves_variants", f"Each D2R variant beside full D2R. {_RUNS}", variant_curves),
    FigureSpec(
        "differences",
        f"Difference to full D2R in success over the last {LATE_EVALUATIONS} evaluations, with 95 % intervals adjusted "
        "for all methods of the benchmark (Dunnett); hollow: no interval; shaded: smaller than worth having.",
        differences,
    ),
    FigureSpec(
        "performance_profile",
        f"Performance profiles: share of tasks with a mean success over the last {LATE_EVALUATIONS} evaluations above "
        "the rate on the x axis. Bands, from three runs on, are "
        "95 % intervals over runs.",
        performance_profiles,
    ),
    FigureSpec(
        "compute_against_success",
        f"Success over the last {LATE_EVALUATIONS} evaluations against what a decision costs, means over runs.",
        compute_against_success,
    ),
    FigureSpec(
        "success_against_modules",
        "D2R: final success of each task against the modules used, means over runs.",
        success_against_modules,
    ),
    FigureSpec(
        "module_usage", "D2R: modules used by each task over training, easiest task at the top.", module_usage
    ),
    FigureSpec(
        "difficulty",
        f"Rank correlation of modules used with difficulty to the baselines. {_RUNS}",
        difficulty_over_training,
    ),
    FigureSpec(
        "instruments", f"Instruments of routing over training, mean over tasks. {_RUNS}", instrument_curves
    ),
    FigureSpec(
        "temperature_alpha",
        "D2R: route temperature and SAC temperature of each task; easy tasks light, hard tasks dark.",
        temperature_and_alpha,
    ),
    FigureSpec(
        "module_gradients",
        "D2R: gradient norm of each module, relative to the median module.",
        module_gradients,
    ),
    FigureSpec(
        "transfer",
        "Success on new tasks after few episodes of each, means over runs: what of a learner trained before learns on, "
        "and the same method from scratch.",
        transfer_curves,
    ),
    FigureSpec("routes_methods", "Final routes of every routed method for two tasks.", method_routes),
)
"""Those of all benchmarks together."""
ROUTES, CURVES = "routes_", "learning_curves_tasks_"
"""What the names of figures of one benchmark begin with."""


def figures_of(results: Results) -> tuple[FigureSpec, ...]:
    """Every figure that may be drawn of these results, in the order of the page."""
    routes = (
        FigureSpec(
            f"{ROUTES}{benchmark}",
            f"D2R's final route for each task of {benchmark}; arcs as wide as their weight, unused modules faded.",
            partial(task_routes, benchmark=benchmark),
        )
        for benchmark in results.benchmarks
    )
    curves = (
        FigureSpec(
            f"{CURVES}{benchmark}",
            f"Success over training on each task of {benchmark}, easiest first; means over runs.",
            partial(task_curves, benchmark=benchmark),
        )
        for benchmark in results.benchmarks
    )
    return (*FIGURES, *routes, *curves)


def write_figures(results: Results) -> list[Path]:
    """Draw into ``<results>/figures`` every figure that there is something to draw in; others of before are removed."""
    specs = figures_of(results)
    _remove_others(results.folder / "figures", {spec.name for spec in specs})
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        min(len(specs), available_cores()), context, _Worker.begin, (results, specs)
    ) as pool:
        return [path for written in pool.map(_Worker.write, range(len(specs))) for path in written]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove figures of benchmarks of which there are no results any more."""
    for path in [path for prefix in (ROUTES, CURVES) for path in folder.glob(f"{prefix}*.svg")]:
        if path.stem not in names:
            remove(folder, path.stem)


class _Worker:
    """A process that draws figures; it inherits the results and keeps what it derives from them."""

    results: Results
    specs: tuple[FigureSpec, ...]

    @classmethod
    def begin(cls, results: Results, specs: tuple[FigureSpec, ...]) -> None:
        """Take the results and what is to be drawn of them over."""
        cls.results, cls.specs = results, specs

    @classmethod
    def write(cls, number: int) -> list[Path]:
        """Draw and write one figure."""
        spec, folder = cls.specs[number], cls.results.folder / "figures"
        with house_style():
            try:
                figure = spec.draw(cls.results)
            except NothingToDraw:
                remove(folder, spec.name)
                return []
            return save(figure, folder, spec.name)
