"""Parameter-matched control networks: the hidden widths that give a plain network another one's parameter count.

At equal parameter counts a plain multi-head network rivals modular ones (McLean et al., arXiv 2503.05126),
so a fair comparison needs this control. Widths are chosen for actor and critic separately, since their
inputs and outputs differ: first the widest common width that fits, then the widest inner layers, which at
small scales bring the count within 1 %. Where they do not, the network is refused.
"""

from __future__ import annotations

from collections.abc import Callable

TOLERANCE = 0.01
"""By how much of the other network's count a matched one may differ."""


def widest(count: Callable[[int], int], limit: int) -> int:
    """Return the largest width (at least 1) whose parameter count is at most ``limit``.

    Args:
        count: number of parameters at a width; must grow with it.
    """
    high = 2
    while count(high) <= limit:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if count(middle) <= limit:
            low = middle
        else:
            high = middle
    return low
