"""Every figure of the results, as SVG and PNG."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from d2r.config import benchmark_ids
from d2r.config.schema import LATE_EVALUATIONS
from d2r.cores import available_cores
from d2r.files import write_bytes
from d2r.findings.results import Results
from d2r.report.figures.arcs import method_routes, task_routes
from d2r.report.figures.comparisons import (
    compute_against_success,
    differences,
    performance_profiles,
)
from d2r.report.figures.curves import learning_curves, task_curves, variant_curves
from d2r.report.figures.instruments import (
    difficulty_over_training,
    instrument_curves,
    module_gradients,
    module_usage,
    success_against_modules,
    temperature_and_alpha,
)
from d2r.report.figures.style import house_style, save, svg_text
from d2r.statistics import FEWEST_RUNS


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file name, what it shows, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[Results], Figure]


_BAND = f"Mean over runs; bands, from {FEWEST_RUNS} runs on, are 95 % intervals over runs."

FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec("learning_curves", f"Success over training, D2R and baselines. {_BAND}", learning_curves),
    FigureSpec(
        "learning_curves_variants", f"Each D2R variant beside full D2R (black). {_BAND}", variant_curves
    ),
    FigureSpec(
        "differences",
        f"Difference to full D2R in success over the last {LATE_EVALUATIONS} evaluations, with 95 % intervals adjusted "
        "for all methods of the benchmark (Dunnett); hollow: no interval.",
        differences,
    ),
    FigureSpec(
        "performance_profile",
        f"Performance profiles: share of tasks with a mean success over the last {LATE_EVALUATIONS} evaluations above "
        "the rate on the x axis. Bands as above.",
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
        f"Rank correlation of modules used with difficulty to the baselines. {_BAND}",
        difficulty_over_training,
    ),
    FigureSpec(
        "instruments", f"Instruments of routing over training, mean over tasks. {_BAND}", instrument_curves
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
    FigureSpec("routes_methods", "Final routes of every routed method for two tasks.", method_routes),
    *(
        FigureSpec(
            f"routes_{benchmark}",
            f"D2R's final route for each task of {benchmark}; arcs as wide as their weight, unused modules faded.",
            partial(task_routes, benchmark=benchmark),
        )
        for benchmark in benchmark_ids()
    ),
    *(
        FigureSpec(
            f"learning_curves_tasks_{benchmark}",
            f"Success over training on each task of {benchmark}, easiest first.",
            partial(task_curves, benchmark=benchmark),
        )
        for benchmark in benchmark_ids()
    ),
)


SOURCE = "source.sha256"
"""File beside the figures that names the data they were drawn from, so that the page need not draw them again."""


def write_figures(results: Results) -> list[Path]:
    """Draw all figures into ``<results>/figures``; each is written, if only to say that it has no data."""
    folder = results.folder / "figures"
    (folder / SOURCE).unlink(missing_ok=True)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        min(len(FIGURES), available_cores()), context, _Worker.begin, (results,)
    ) as pool:
        paths = [path for written in pool.map(_Worker.write, range(len(FIGURES))) for path in written]
    write_bytes(folder / SOURCE, f"{results.digest}\n".encode())
    return paths


class _Worker:
    """A process that draws figures; it inherits the results and keeps what it derives from them."""

    results: Results

    @classmethod
    def begin(cls, results: Results) -> None:
        """Take the results over."""
        cls.results = results

    @classmethod
    def write(cls, number: int) -> list[Path]:
        """Draw and write one figure."""
        spec = FIGURES[number]
        with house_style():
            return save(spec.draw(cls.results), cls.results.folder / "figures", spec.name)


def svg_figures(results: Results) -> Iterator[tuple[FigureSpec, str]]:
    """Every figure as SVG text: as ``write_figures`` left it for the same data, or drawn now."""
    folder = results.folder / "figures"
    source = folder / SOURCE
    drawn = source.is_file() and source.read_text(encoding="utf-8").strip() == results.digest
    with house_style():
        for spec in FIGURES:
            path = folder / f"{spec.name}.svg"
            yield (
                spec,
                path.read_text(encoding="utf-8")
                if drawn and path.is_file()
                else svg_text(spec.draw(results)),
            )
