"""Disk of a run, from its configuration and the size of its networks."""

from __future__ import annotations

from d2r.config import RunConfig
from d2r.networks.registry import count_parameters
from d2r.planning.cost import FLOAT_BYTES, replay_bytes

METRICS_BYTES = 1_500
"""Text in the tidy files per evaluation and task: about thirty rows, routes included."""


def output_bytes(config: RunConfig) -> int:
    """Disk of a finished run, roughly: its policy, the last checkpoint without the replay, and tidy metrics."""
    actor, critic = parameter_bytes(config)
    evaluations = -(-config.budget.steps // config.budget.evaluate_every)
    return actor + _learner_bytes(actor, critic) + evaluations * config.num_tasks * METRICS_BYTES


def state_bytes(config: RunConfig) -> int:
    """Disk that a run needs on top while it trains: its replay and a second checkpoint."""
    return replay_bytes(config) + _learner_bytes(*parameter_bytes(config))


def parameter_bytes(config: RunConfig) -> tuple[int, int]:
    """Bytes of the actor's and of one critic's parameters."""
    count = count_parameters(config.network, config.num_tasks)
    return count.actor * FLOAT_BYTES, count.critic * FLOAT_BYTES


def _learner_bytes(actor: int, critic: int) -> int:
    """Parameters with two Adam moments each, and the twin critics' targets."""
    return 3 * actor + 2 * (3 + 1) * critic
