"""What runs cost: memory from a configuration alone, time from finished runs or from rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from d2r.config import RunConfig, RunKey, Scale, budget_suite, is_run, plan_runs
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM, suite_of
from d2r.errors import UserError
from d2r.runs.layout import TIMING
from d2r.runs.record import read_run
from d2r.runs.tidy import read_rows

FLOAT_BYTES = 4

PROCESS_MB, TASK_MB, SAMPLE_MB = 340, 11, 0.3
"""Resident memory of a training process without its replay: itself, the models of a task, and what an update holds
for one transition of its batch. Measured on Linux with one thread and small batches: 430 MB on MT10, 910 MB on MT50.
At the official sizes it was 950 MB (D2R on MT10), 2,660 MB and 2,950 MB (D2R and Soft Modularization on MT50) when
models and imports still took 260 MB more on MT10, 440 on MT50."""

START_SECONDS = 5.0
"""A process before its first step: imports, models of the tasks, networks."""


def replay_bytes(config: RunConfig) -> int:
    """Bytes of a full replay: observation, action, reward and, of networks with routes, their sources."""
    groups, sources = config.network.route_shape or (0, 0)  # a byte for each source
    transition = FLOAT_BYTES * (OBSERVATION_DIM + ACTION_DIM + 1) + groups * sources
    capacity = min(config.budget.replay_capacity, config.budget.steps)
    return capacity * config.num_tasks * transition


def memory_mb(config: RunConfig, seeds: int = 1) -> int:
    """Memory to ask a scheduler for, in MB, with a margin of a tenth.

    Args:
        seeds: that one process trains side by side; all of it is each seed's own but the process itself.
    """
    samples = config.num_tasks * config.sac.batch_per_task
    of_seed = TASK_MB * config.num_tasks + SAMPLE_MB * samples + replay_bytes(config) / 1e6
    return round(1.1 * (PROCESS_MB + seeds * of_seed))


def budgets_of_others(scale: Scale) -> dict[str, str]:
    """Sets of tasks that a scale runs and names no budget for, and the set whose budget holds for each."""
    suites = dict.fromkeys(suite_of(key.benchmark) for key in plan_runs(scale))
    return {suite: budget_suite(scale, suite) for suite in suites if suite not in scale.budget}


@dataclass(frozen=True)
class Rates:
    """Seconds of one step of all environments, acting included, and of one update."""

    step_seconds: float
    update_seconds: float


@dataclass(frozen=True)
class Estimate:
    """Time for one run, and where the figure comes from."""

    seconds: float
    source: Literal["finished runs", "measured now", "multiply-adds"]
    rates: Rates | None = None


def seconds_of_run(config: RunConfig, rates: Rates) -> float:
    """Time for a whole run with one core: acting, updates, and the evaluations on the way."""
    budget = config.budget
    updates = (budget.steps - budget.warmup_steps) // budget.update_every
    episodes = sum(config.evaluation_episodes_at(step) for step in config.evaluation_steps)
    evaluation_steps = episodes * config.protocol.horizon
    return (
        START_SECONDS
        + (budget.steps + evaluation_steps) * rates.step_seconds
        + updates * rates.update_seconds
    )


def seconds_of_finished(key: RunKey, results: Path, config: RunConfig, cohort: int = 1) -> float | None:
    """Wall-clock time of a run that finished without interruption with this very configuration, or none.

    Args:
        cohort: that it was trained in, since others take another time.
    """
    folder = key.folder(results)
    try:
        record = read_run(folder)
        if not is_run(record, config) or record.resumes or not record.finished:
            return None
        if (record.cohort or 1) != cohort:
            return None
        totals = [row["value"] for row in read_rows(folder / TIMING) if row["quantity"] == "total"]
    except UserError:
        return None
    return START_SECONDS + max(totals) if totals else None


@dataclass(frozen=True)
class Block:
    """All runs of one method on one benchmark."""

    benchmark: str
    method: str
    runs: int
    finished: int
    estimate: Estimate
    """Of one run, or of as many side by side as a cohort has."""
    memory_mb: int
    """Of one process."""
    disk_bytes: int
    """Of one run when it has finished."""
    working_bytes: int
    """Of one run just before it finishes, when its replay is on disk too."""

    cohort: int = 1
    """Runs that one process trains side by side."""

    @property
    def processes(self) -> int:
        """That the runs which have not finished take."""
        return -(-(self.runs - self.finished) // self.cohort)

    @property
    def core_seconds(self) -> float:
        """Time of the runs that have not finished, one core for each process."""
        return self.processes * self.estimate.seconds


def wall_seconds(blocks: Sequence[Block], cores: int) -> float:
    """Time until all runs have finished with ``cores`` processes at a time, the longest first."""
    lengths = [b.estimate.seconds for b in blocks for _ in range(b.processes)]
    ends = [0.0] * max(1, cores)
    for length in sorted(lengths, reverse=True):
        first = min(range(len(ends)), key=ends.__getitem__)
        ends[first] += length
    return max(ends)
