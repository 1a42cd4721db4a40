"""How every figure looks, and how it is saved with the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from d2r.errors import UserError
from d2r.files import replacing, write_bytes
from d2r.findings.results import REFERENCE, MethodInfo

COLUMN = 3.4
"""Width of one column of a paper, in inches."""
PAGE = 7.0
"""Width of both columns, in inches."""
LEGEND_COLUMNS = 4
MOST_TICKS = 100

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F")
"""Okabe and Ito's colours that can be told apart with any colour vision; D2R itself is black."""
Dashes = str | tuple[int, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_RC: dict[Any, Any] = {
    "svg.hashsalt": "d2r",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "text.parse_math": False,  # a name is text, whatever is in it
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


class Look:
    """Colour, dashes and marker of each method, fixed by its place among the variants or the baselines."""

    def __init__(self, methods: Sequence[MethodInfo]) -> None:
        self._place: dict[str, int] = {}
        self._variants = {method.id for method in methods if method.kind == "variant"} - {REFERENCE}
        for kind in ("variant", "baseline"):
            names = [method.id for method in methods if method.kind == kind and method.id != REFERENCE]
            self._place |= {name: index for index, name in enumerate(names)}

    def color(self, method: str) -> str:
        """Black for D2R, one of the palette for the others."""
        return "#000000" if method == REFERENCE else PALETTE[self._place[method] % len(PALETTE)]

    def dashes(self, method: str) -> Dashes:
        """Solid for D2R; a new pattern each time the palette is used up."""
        return "-" if method == REFERENCE else DASHES[(self._place[method] // len(PALETTE)) % len(DASHES)]

    def face(self, method: str) -> str:
        """Fill of a marker: hollow for variants, so that they differ from baselines of the same colour."""
        return "#ffffff" if method in self._variants else self.color(method)

    def marker(self, method: str) -> str:
        """A shape beside the colour, for print in grey."""
        return "o" if method == REFERENCE else MARKERS[1 + self._place[method] % (len(MARKERS) - 1)]


@contextmanager
def house_style() -> Iterator[None]:
    """The package's look, whatever the user's own matplotlib settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure with constrained layout, without any display; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def empty_figure(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = new_figure(COLUMN, 0.8)
    figure.text(0.5, 0.5, message, ha="center", va="center", wrap=True)
    return figure


def panels(count: int, columns: int, height: float, legend_entries: int = 0) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels in rows of ``columns``, and room for a legend below them.

    Args:
        count: number of panels.
        columns: panels in a row.
        height: of one row, in inches.
        legend_entries: lines in the legend below.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    legend = 0.15 * -(-legend_entries // LEGEND_COLUMNS) + 0.1 if legend_entries else 0.0
    figure = new_figure(PAGE, height * rows + legend + 0.2)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def shared_panels(
    count: int, columns: int, height: float, legend_entries: int = 0
) -> tuple[Figure, list[Axes]]:
    """Many equal panels that share both axes, labelled at the borders only, with fixed margins.

    Much faster than ``panels`` for the 50 tasks of MT50, whose layout would otherwise be solved for.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    legend = 0.15 * -(-legend_entries // LEGEND_COLUMNS)
    total = height * rows + legend + 0.75
    figure = Figure(figsize=(PAGE, total))
    FigureCanvasAgg(figure)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    figure.subplots_adjust(0.06, (0.3 + legend) / total, 0.99, 1 - 0.42 / total, wspace=0.1, hspace=0.35)
    for axes in grid[count:]:
        axes.remove()
    for axes in grid[max(0, count - columns) : count]:
        axes.tick_params(labelbottom=True)
    return figure, grid[:count]


def shared_legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend below all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        place: Any = "lower center" if figure.get_layout_engine() is None else "outside lower center"
        figure.legend(list(found.values()), list(found), loc=place, ncols=LEGEND_COLUMNS)


def percent_axis(axes: Axes) -> None:
    """Success from 0 to 100 %, with air for lines that lie on the border."""
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100"])


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis, whose powers of ten are the one text that is mathematics and made to be read as such."""
    axes.set_yscale("log")
    # a tick is made when it is needed, and then takes the style's word that nothing is mathematics
    for tick in (*axes.yaxis.get_major_ticks(MOST_TICKS), *axes.yaxis.get_minor_ticks(MOST_TICKS)):
        tick.label1.set_parse_math(True)


def settle(figure: Figure) -> None:
    """Solve the layout once and for all: each file written would do it again, with its own measure of text."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def svg_text(figure: Figure) -> str:
    """The figure as SVG, without dates or program names."""
    settle(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``<name>.svg`` and ``<name>.png``, without dates or program names in them.

    Raises:
        UserError: if the folder cannot be written.
    """
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(paths[0], svg_text(figure).encode())
        with replacing(paths[1]) as file:
            figure.savefig(file, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    return paths
