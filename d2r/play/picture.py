"""One picture of a film: the arm, and beside it the route of the moment, from module 1 at the foot to the output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from d2r.networks.d2r import route_graph

PANEL, SHARPNESS = 0.6, 3
"""Width of the panel, as a share of the arm's; how many times larger it is drawn, to be smooth when it is shrunk."""
PAPER, INK, PALE, EDGE, LIT, DONE = "#ffffff", "#222222", "#c8c8c8", "#0072b2", "#e69f00", "#009e73"
MARGIN, TEXT, SMALL = 0.03, 0.06, 0.045
"""Of the panel's height: its margin, and the height of its lines."""
FOOT, TOP = 0.80, 0.27
"""Where module 1 and the output stand."""


class Caption(NamedTuple):
    """What is written beside a picture."""

    task: str
    about: str
    """Such as ``d2r, mt10-rand``."""
    step: int
    succeeded: int | None
    """The step at which the task was solved; none so far."""
    over: bool
    """Whether this is the last state of the episode."""


def compose(
    arm: npt.NDArray[np.uint8], caption: Caption, route: npt.NDArray[np.float32] | None
) -> Image.Image:
    """Put an arm [size, size, 3] and a route [target, source] side by side; green frames it once the task is solved."""
    size = arm.shape[0]
    width = round(PANEL * size / 2) * 2  # even, as players of mp4 expect it
    film = Image.new("RGB", (size + width, size), PAPER)
    film.paste(Image.fromarray(arm), (0, 0))
    panel = Image.new("RGB", (width * SHARPNESS, size * SHARPNESS), PAPER)
    draw = ImageDraw.Draw(panel)
    _write(draw, caption, panel.width, panel.height)
    if route is None:
        draw.text(
            (panel.width / 2, panel.height / 2), "no routes", PALE, _font(TEXT * panel.height), anchor="mm"
        )
    else:
        _draw_route(draw, route, panel.width, panel.height)
    film.paste(panel.resize((width, size), Image.Resampling.LANCZOS), (size, 0))
    if caption.succeeded is not None:
        ImageDraw.Draw(film).rectangle((0, 0, size - 1, size - 1), outline=DONE, width=max(2, size // 64))
    return film


def _write(draw: ImageDraw.ImageDraw, caption: Caption, width: int, height: int) -> None:
    def line(text: str, top: float, share: float, color: str) -> None:
        room, font = width - 2 * MARGIN * height, _font(share * height)
        font = _font(share * height * min(1.0, room / font.getlength(text)))
        draw.text((MARGIN * height, top * height), text, color, font)

    line(caption.task, MARGIN, TEXT, INK)
    line(caption.about, MARGIN + 1.3 * TEXT, SMALL, INK)
    line(f"step {caption.step}", 0.87, SMALL, INK)
    if caption.succeeded is not None:
        line(f"solved at step {caption.succeeded}", 0.87 + 1.3 * SMALL, SMALL, DONE)
    elif caption.over:
        line("not solved", 0.87 + 1.3 * SMALL, SMALL, INK)


def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _draw_route(draw: ImageDraw.ImageDraw, route: npt.NDArray[np.float32], width: int, height: int) -> None:
    """Modules in a column, lit if the output depends on them, and half circles from sources to their targets."""
    count = len(route)
    edges = torch.from_numpy(route)
    used = route_graph.used_modules(edges).tolist()
    stops = np.linspace(FOOT, TOP, count + 1) * height  # modules 1 to N, then the output
    column, radius = 0.3 * width, min(0.022 * height, 0.3 * abs(stops[1] - stops[0]))
    reach = (0.95 * width - column) / (stops[0] - stops[-1])  # the longest edge stays within the panel
    on_route = [used[target + 1] if target + 1 < count else True for target in range(count)]
    for shown in (False, True):  # what is on the route comes on top
        for target, source in edges.nonzero().tolist():
            if on_route[target] is shown:
                middle, half = (
                    (stops[target + 1] + stops[source]) / 2,
                    (stops[source] - stops[target + 1]) / 2,
                )
                bulge = 2 * reach * half
                box = (column - bulge, middle - half, column + bulge, middle + half)
                thickness = (
                    (0.25 + 0.75 * float(route[target, source])) * 0.5 * radius if shown else 0.15 * radius
                )
                draw.arc(box, -90, 90, EDGE if shown else PALE, max(1, round(thickness)))
    for module in range(count):
        _dot(
            draw, column, stops[module], radius, LIT if used[module] else PAPER, INK if used[module] else PALE
        )
        label = _font(SMALL * height * min(1.0, 12 / count))
        draw.text(
            (0.14 * width, stops[module]), str(module + 1), INK if used[module] else PALE, label, anchor="mm"
        )
    _dot(draw, column, stops[count], 0.8 * radius, INK, INK)
    draw.text((column, stops[count] - 1.2 * radius), "output", INK, _font(SMALL * height), anchor="mb")


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str, outline: str) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill, outline, max(1, round(radius / 6)))
