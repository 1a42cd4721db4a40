"""What is trained on: Meta-World's tasks, and benchmarks, which are a suite of them with a kind of goals.

This is the one place that knows what a benchmark's id means; whoever has an id asks :func:`load_benchmark`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

from d2r.errors import UserError, nearest

OBSERVATION_DIM = 39
"""Current frame (18), previous frame (18) and goal position (3)."""
ACTION_DIM = 4
"""Displacement of the hand (3) and torque of the fingers."""

# fmt: off
SUITES: dict[str, tuple[str, ...]] = {
    "mt10": (
        "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
        "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
    ),
    "mt50": (
        "assembly-v3", "basketball-v3", "bin-picking-v3", "box-close-v3", "button-press-topdown-v3",
        "button-press-topdown-wall-v3", "button-press-v3", "button-press-wall-v3", "coffee-button-v3",
        "coffee-pull-v3", "coffee-push-v3", "dial-turn-v3", "disassemble-v3", "door-close-v3", "door-lock-v3",
        "door-open-v3", "door-unlock-v3", "hand-insert-v3", "drawer-close-v3", "drawer-open-v3",
        "faucet-open-v3", "faucet-close-v3", "hammer-v3", "handle-press-side-v3", "handle-press-v3",
        "handle-pull-side-v3", "handle-pull-v3", "lever-pull-v3", "pick-place-wall-v3", "pick-out-of-hole-v3",
        "pick-place-v3", "plate-slide-v3", "plate-slide-side-v3", "plate-slide-back-v3",
        "plate-slide-back-side-v3", "peg-insert-side-v3", "peg-unplug-side-v3", "soccer-v3", "stick-push-v3",
        "stick-pull-v3", "push-v3", "push-wall-v3", "push-back-v3", "reach-v3", "reach-wall-v3",
        "shelf-place-v3", "sweep-into-v3", "sweep-v3", "window-open-v3", "window-close-v3",
    ),
}
"""Names of the tasks of each suite, in Meta-World's order, which is that of one-hot task ids."""
# fmt: on


@dataclass(frozen=True)
class Benchmark:
    """A suite of tasks with a kind of goals.

    Attributes:
        id: such as ``mt10-rand``.
        suite: ``mt10`` or ``mt50``.
        goals: ``fixed``: one goal a task for the whole run; ``rand``: a new goal at every reset.
        tasks: names of its tasks, in Meta-World's order.
    """

    id: str
    suite: str
    goals: Literal["fixed", "rand"]
    tasks: tuple[str, ...]


_GOALS: tuple[Literal["fixed", "rand"], ...] = ("fixed", "rand")
_BENCHMARKS = {
    f"{suite}-{goals}": Benchmark(f"{suite}-{goals}", suite, goals, tasks)
    for suite, tasks in SUITES.items()
    for goals in _GOALS
}


def benchmark_ids() -> tuple[str, ...]:
    """Ids of all benchmarks, in the order of tables."""
    return tuple(_BENCHMARKS)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of an id.

    Raises:
        UserError: if there is none; names the nearest that there is.

    Example:
        >>> load_benchmark("mt50-fixed").suite, len(load_benchmark("mt50-fixed").tasks)
        ('mt50', 50)
    """
    if name not in _BENCHMARKS:
        raise UserError(f"unknown benchmark '{name}'; {nearest(name, _BENCHMARKS)}")
    return _BENCHMARKS[name]


def _one_of(name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise ValueError(f"must be {', '.join(known[:-1])} or {known[-1]}")
    return name


BenchmarkId = Annotated[
    str,
    AfterValidator(lambda name: _one_of(name, benchmark_ids())),
    WithJsonSchema({"enum": list(benchmark_ids()), "type": "string"}),
]
"""An id of a benchmark, in configuration."""
Suite = Annotated[
    str,
    AfterValidator(lambda name: _one_of(name, tuple(SUITES))),
    WithJsonSchema({"enum": list(SUITES), "type": "string"}),
]
"""An id of a suite, in configuration."""
