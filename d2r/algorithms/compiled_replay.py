"""Transitions out of the replay by the compiled library: what ``replay.py`` reads, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from torch import Tensor

from d2r.networks.compiled import Functions, numbers, pointers


class Quantity(NamedTuple):
    """What a transition has, of all tasks.

    Attributes:
        rings: [seed, length, task, ...].
        later: how many rows behind the transition's observation; none for what there is once a transition.
    """

    rings: Tensor
    later: int | None


_sizes = cache(numbers)


def transitions(
    kernel: Functions, quantities: Sequence[Quantity], time: Tensor, horizon: int, ends: bool
) -> tuple[list[Tensor], Tensor]:
    """Each quantity at time indices [seed, batch], and which transitions are terminal, [seed, batch, task].

    Args:
        horizon: transitions in an episode; ends: whether its last one is terminal.
    """
    (seeds, size), tasks = time.shape, quantities[0].rings.shape[2]
    time = time.contiguous()
    found = [rings.new_empty(seeds, size, *rings.shape[2:]) for rings, _ in quantities]
    terminal = quantities[0].rings.new_empty(seeds, size, tasks)
    forms = [
        (rings[0, 0].nbytes, rings.shape[1], -1 if later is None else later) for rings, later in quantities
    ]
    kernel["transitions"](
        _sizes(seeds, size, tasks, horizon, ends, len(forms), *(n for form in forms for n in form)),
        pointers([rings for rings, _ in quantities]),
        time.data_ptr(),
        pointers(found),
        terminal.data_ptr(),
    )
    return found, terminal
