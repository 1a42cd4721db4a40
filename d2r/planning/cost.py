"""Memory and disk of a run, from its configuration alone."""

from __future__ import annotations

from d2r.config import RunConfig

OBSERVATION_DIM = 39
ACTION_DIM = 4
FLOAT_BYTES = 4

PROCESS_MB = 900
"""A training process before its replay fills: Python, PyTorch, MuJoCo and the models of fifty tasks."""


def replay_bytes(config: RunConfig) -> int:
    """Bytes of a full replay: observation, action, reward and, where routes are replayed, their sources."""
    route = 0
    network = config.network
    if network.type == "routed":
        route = network.num_modules * (network.top_k or network.num_modules)
    transition = FLOAT_BYTES * (OBSERVATION_DIM + ACTION_DIM + 1) + route
    capacity = min(config.budget.replay_capacity, config.budget.steps)
    return capacity * config.num_tasks * transition


def memory_mb(config: RunConfig) -> int:
    """Memory to ask a scheduler for, in MB: the process, its replay, and a margin of a tenth."""
    return round(1.1 * (PROCESS_MB + replay_bytes(config) / 1e6))
