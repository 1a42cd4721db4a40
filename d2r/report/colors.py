"""One colour a method, the same in every plot and at every scale: that of its file, or one that follows from its id.

A scale's variants have no file; theirs are drawn one after the other, each apart from all before.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Iterable
from functools import cache

import numpy as np

from d2r.config import load_method, load_scale, method_id, method_ids, scale_ids
from d2r.statistics.intervals import Floats

APART = 0.07
"""Smallest distance of two methods' colours: three to four times what can just be told apart side by side."""
TRIES = 500

_TO_CONES = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
])  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
])  # fmt: skip


def oklab(color: str) -> Floats:
    """Lightness (0..1), green to red and blue to yellow of ``#rrggbb`` in Oklab, where equal distances look equal.

    Source: Ottosson, "A perceptual color space for image processing", 2020.
    """
    encoded = np.array([int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lab: Floats = _TO_LAB @ np.cbrt(_TO_CONES @ linear)
    return lab


def distance(first: str, second: str) -> float:
    """Distance of two colours in Oklab: 0 for the same, 1 between black and white."""
    return float(np.linalg.norm(oklab(first) - oklab(second)))


def method_color(method: str) -> str:
    """The colour of a method; one whose file is gone, or states none, has one by its id alone."""
    known = method_ids()
    declared = load_method(method).color if method in known else None
    return declared or _of_variants().get(method) or _color_of_id(method, _declared())


def _declared() -> list[str]:
    return [color for name in method_ids() if (color := load_method(name).color)]


def _of_variants() -> dict[str, str]:
    scales = [load_scale(name) for name in scale_ids()]
    return _apart(
        tuple(_declared()),
        tuple(sorted({method_id(scale, name) for scale in scales for name in scale.variants})),
    )


@cache
def _apart(taken: tuple[str, ...], methods: tuple[str, ...]) -> dict[str, str]:
    colors: dict[str, str] = {}
    for method in methods:
        colors[method] = _color_of_id(method, (*taken, *colors.values()))
    return colors


def _color_of_id(method: str, taken: Iterable[str]) -> str:
    """The first of a series of colours drawn from the id that is apart from those taken, or else the farthest."""
    others = list(taken)
    best, farthest = "#808080", -1.0
    for place in range(TRIES):
        hue, light, strength = hashlib.sha256(f"{method} {place}".encode()).digest()[:3]
        parts = colorsys.hls_to_rgb(hue / 256, 0.25 + light / 1024, 0.3 + strength / 512)
        color = "#" + "".join(f"{round(255 * part):02x}" for part in parts)
        apart = min((distance(color, other) for other in others), default=1.0)
        if apart >= APART:
            return color
        if apart > farthest:
            best, farthest = color, apart
    return best
