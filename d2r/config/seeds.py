"""Several seeds as one word: ``1-10`` or ``1-3,7``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from d2r.config.load import check_seed
from d2r.errors import UserError

MOST = 1000
"""Seeds in one word; nobody means more."""


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that are written so, ascending.

    Raises:
        UserError: if they are none, or one is named twice.

    Example:
        >>> parse_seeds("1-3,7")
        [1, 2, 3, 7]
    """
    seeds: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch("([^-]+)(?:-([^-]+))?", part)
        if ends is None:
            raise UserError(f"seeds {text}: must be seeds and ranges of them, such as 1-10 or 1-3,7")
        first = check_seed(ends[1])
        last = first if ends[2] is None else check_seed(ends[2])
        if not first <= last < first + MOST:
            raise UserError(f"seeds {part}: must run upwards, at most {MOST} of them")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds {text}: names a seed twice")
    return sorted(seeds)


def write_seeds(seeds: Iterable[int]) -> str:
    """Write seeds as :func:`parse_seeds` reads them.

    Example:
        >>> write_seeds([7, 1, 2, 3])
        '1-3,7'
    """
    ranges: list[list[int]] = []
    for seed in sorted(seeds):
        if ranges and ranges[-1][1] == seed - 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
