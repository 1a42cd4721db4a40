"""What is trained on: sets of Meta-World's tasks with a kind of goals, one file of ``config/benchmarks`` each.

This is the one place that knows what a benchmark's id means; whoever has an id asks :func:`load_benchmark`. A run's
record states tasks and goals beside the id, since files change; only records from before there were files do not,
and :func:`meant_by_name` knows what the four ids of that time meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from d2r.config.files import NAME, config_folder, ids_of, read_named
from d2r.config.parse import parse
from d2r.errors import UserError, closest, nearest
from d2r.text import by_number

OBSERVATION_DIM = 39
"""Current frame (18), previous frame (18) and goal position (3)."""
ACTION_DIM = 4
"""Displacement of the hand (3) and torque of the fingers."""

# fmt: off
TASKS = (
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
)
"""Every task of Meta-World, in the order of MT50."""
_MT10 = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
    "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
)
# fmt: on
_NAMED_ALONE = {"mt10": _MT10, "mt50": TASKS}
"""Tasks of the benchmarks whose records state nothing but the id."""

Goals = Literal["fixed", "rand"]
"""``fixed``: one goal a task for the whole run; ``rand``: a new goal at every reset."""
ONE_TASK = "mt1"
"""As a key of a scale's budgets: any one task."""
_ONE_TASK = re.compile(f"{ONE_TASK}-({'|'.join(TASKS)})-(fixed|rand)")
"""Ids of one task alone, for which there are no files."""


def _tasks_once(tasks: tuple[str, ...]) -> tuple[str, ...]:
    for place, task in enumerate(tasks):
        if task not in TASKS:
            raise ValueError(f"unknown task '{task}'; {nearest(task, TASKS)}")
        if task in tasks[:place]:
            raise ValueError(f"task '{task}' is given twice")
    return tasks


Tasks = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_tasks_once)]
"""Names of different tasks, in the order of one-hot task ids."""


class Benchmark(BaseModel):
    """A set of tasks with a kind of goals."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str
    """Such as ``mt10-rand``."""
    tasks: Tasks = Field(min_length=1)
    goals: Goals

    @property
    def suite(self) -> str:
        """What its set of tasks is called, whatever the goals: ``mt10``."""
        return suite_of(self.id)


class BenchmarkFile(Benchmark):
    """What ``config/benchmarks/<id>.yaml`` holds."""

    description: str


def suite_of(name: str) -> str:
    """What the set of tasks of a benchmark is called: its id without the kind of goals.

    Example:
        >>> suite_of("mt10-rand"), suite_of("mt3-doors")
        ('mt10', 'mt3-doors')
    """
    return re.sub("-(fixed|rand)$", "", name)


def benchmark_ids() -> tuple[str, ...]:
    """Ids of all benchmarks, in the order of tables: those with files, and the two of each single task."""
    return tuple(in_order({*ids_of("benchmarks"), *_ids_of_one_task()}))


def _ids_of_one_task() -> list[str]:
    return [f"{ONE_TASK}-{task}-{goals}" for task in TASKS for goals in ("fixed", "rand")]


def in_order(names: Iterable[str]) -> list[str]:
    """Ids of benchmarks in the order of tables: by name, and numbers in it by size.

    Example:
        >>> in_order(["mt50-rand", "mt10-rand", "mt3-doors", "mt10-fixed"])
        ['mt3-doors', 'mt10-fixed', 'mt10-rand', 'mt50-rand']
    """
    return sorted(names, key=by_number)


@cache
def load_benchmark(name: str) -> Benchmark:
    """The benchmark of an id: what its file says, or one task alone for ``mt1-TASK-fixed`` and ``mt1-TASK-rand``.

    Raises:
        UserError: if there is none, naming the nearest that there is, or its file is unfit.

    Example:
        >>> load_benchmark("mt50-fixed").suite, len(load_benchmark("mt50-fixed").tasks)
        ('mt50', 50)
        >>> load_benchmark("mt1-reach-v3-rand").tasks
        ('reach-v3',)
    """
    files = ids_of("benchmarks")
    one = _ONE_TASK.fullmatch(name)
    if one and name in files:
        path = config_folder("benchmarks") / f"{name}.yaml"
        raise UserError(f"{path}: there is this benchmark of one task without a file; rename the file")
    if one:
        return Benchmark(id=name, tasks=(one[1],), goals="fixed" if one[2] == "fixed" else "rand")
    if name not in files:
        raise unknown_benchmark(name)
    path, found = _read(name)
    for other in _of_suite(found.suite):
        if other != name and other in files and _read(other)[1].tasks != found.tasks:
            raise UserError(
                f"{path}: has other tasks than {other}.yaml, and both are of '{found.suite}'; rename one of them"
            )
    return Benchmark(id=found.id, tasks=found.tasks, goals=found.goals)


def unknown_benchmark(name: str) -> UserError:
    """What is wrong with an id that no benchmark has."""
    near = closest(name, benchmark_ids())
    general = [*ids_of("benchmarks"), *(f"{ONE_TASK}-TASK-{goals}" for goals in ("fixed", "rand"))]
    hint = f"did you mean '{near}'?" if near else f"valid: {', '.join(general)}"
    return UserError(f"unknown benchmark '{name}'; {hint}")


def _read(name: str) -> tuple[Path, Benchmark]:
    path, data = read_named("benchmarks", name)
    found = parse(BenchmarkFile, data, str(path))
    stated = name.removeprefix(f"{found.suite}-")
    if stated != name and stated != found.goals:
        raise UserError(f"{path}: 'goals' must be {stated}, as the name says, not {found.goals}")
    return path, found


def _of_suite(suite: str) -> tuple[str, ...]:
    return f"{suite}-fixed", f"{suite}-rand", suite


def as_benchmark(given: str | Benchmark) -> Benchmark:
    """The benchmark that is given itself or by its id.

    Raises:
        UserError: as :func:`load_benchmark`.
    """
    return given if isinstance(given, Benchmark) else load_benchmark(given)


def suite_tasks(suite: str) -> tuple[str, ...]:
    """Tasks of a set, in order.

    Raises:
        UserError: if no benchmark has it.
    """
    files = ids_of("benchmarks")
    for name in _of_suite(suite):
        if name in files or _ONE_TASK.fullmatch(name):
            return load_benchmark(name).tasks
    raise UserError(f"unknown set of tasks '{suite}'; {nearest(suite, {ONE_TASK, *map(suite_of, files)})}")


def suite_size(suite: str) -> int:
    """Number of tasks of a set; ``mt1`` is any one task.

    Raises:
        UserError: as :func:`suite_tasks`.
    """
    return 1 if suite == ONE_TASK else len(suite_tasks(suite))


def nearest_size(tasks: int, sizes: Mapping[str, int]) -> str:
    """The set whose number of tasks is nearest; of two that are as near, the smaller.

    Example:
        >>> nearest_size(25, {"mt10": 10, "mt50": 50})
        'mt10'
    """
    return min(sizes, key=lambda suite: (abs(sizes[suite] - tasks), sizes[suite]))


def meant_by_name(name: str) -> Benchmark | None:
    """What an id meant before benchmarks were files; none if it was no benchmark then."""
    tasks, goals = _NAMED_ALONE.get(suite_of(name)), name.rpartition("-")[2]
    if tasks is None or goals not in ("fixed", "rand"):
        return None
    return Benchmark(id=name, tasks=tasks, goals="fixed" if goals == "fixed" else "rand")


BenchmarkId = Annotated[str, Field(pattern=f"^{NAME}$")]
"""An id of a benchmark, in configuration."""
