"""Memory and disk of a run, from its configuration alone."""

from __future__ import annotations

from d2r.config import RunConfig
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM

FLOAT_BYTES = 4

PROCESS_MB, TASK_MB, SAMPLE_MB = 340, 11, 0.3
"""Resident memory of a training process without its replay: itself, the models of a task, and what an update holds
for one transition of its batch. Measured on Linux with one thread and small batches: 430 MB on MT10, 910 MB on MT50.
At the official sizes it was 950 MB (D2R on MT10), 2,660 MB and 2,950 MB (D2R and Soft Modularization on MT50) when
models and imports still took 260 MB more on MT10, 440 on MT50."""


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
