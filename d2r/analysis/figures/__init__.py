"""Every figure of the results, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from d2r.analysis.figures.curves import learning_curves
from d2r.analysis.figures.style import house_style, save
from d2r.analysis.results import Results


@dataclass(frozen=True)
class FigureSpec:
    """A figure: its file name, what it shows, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[Results], Figure]


FIGURES: tuple[FigureSpec, ...] = (
    FigureSpec(
        "learning_curves",
        "Success over training, D2R and baselines; mean over runs, bands are 95 % intervals over runs.",
        learning_curves,
    ),
)


def write_figures(results: Results) -> list[Path]:
    """Draw all figures into ``<results>/figures``; each is written, if only to say that it has no data."""
    paths: list[Path] = []
    with house_style():
        for spec in FIGURES:
            paths += save(spec.draw(results), results.folder / "figures", spec.name)
    return paths
