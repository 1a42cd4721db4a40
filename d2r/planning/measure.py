"""What only networks and a machine can tell of a run: its rates, the work of an update, and its disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from d2r.config import RunConfig
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.registry import build_actor, build_critics, check_size, count_parameters
from d2r.planning.cost import FLOAT_BYTES, Rates, replay_bytes
from d2r.runs.folders import RunFolders
from d2r.training.loop import Cohort
from d2r.training.run import Machine
from d2r.training.signals import StopRequest

MEASURE_SECONDS = 0.5
"""Time to spend on measuring steps, and again on updates, at least one of each."""
PATIENCE_SECONDS = 10.0
"""The first call allocates and is not counted, unless it takes longer than this."""
METRICS_BYTES = 1_500
"""Text in the tidy files per evaluation and task: about thirty rows, routes included."""


def measure(config: RunConfig, cohort: int = 1) -> Rates:
    """Take a few steps and updates of this very run in a temporary folder, with one thread.

    Args:
        cohort: seeds side by side; the times are those of all together.

    Raises:
        UserError: if its networks are too large to build.
    """
    check_size(config.network, config.num_tasks, config.method)
    torch.set_num_threads(1)
    acting_only = config.budget.model_copy(update={"warmup_steps": config.budget.steps})
    afresh = {"start_from": None, "adapt": None}  # takes as long, and the run to start from may not be there
    config = config.model_copy(update={"budget": acting_only, **afresh})
    with tempfile.TemporaryDirectory() as folder:
        configs = [config.model_copy(update={"seed": config.seed + place}) for place in range(cohort)]
        folders = [RunFolders(Path(folder), one) for one in configs]
        for own in folders:
            own.create()
        run = Cohort(configs, folders, Machine(), StopRequest())
        try:
            return Rates(_seconds_per_call(run.take_step), _seconds_per_call(run.update))
        finally:
            run.close()


def update_work(config: RunConfig) -> int:
    """What one update computes for each transition of its batch: multiply-adds of the actor and both critics.

    Counted without arithmetic, so that times of methods that are executed alike can be told from each other's.

    Raises:
        UserError: if its networks are too large to build.
    """
    check_size(config.network, config.num_tasks, config.method)
    rows = config.sac.batch_per_task
    actor = build_actor(config.network, config.num_tasks, torch.Generator()).to("meta")
    critics = build_critics(config.network, config.num_tasks, torch.Generator()).to("meta")
    of_actor = dense_multiply_adds(actor, OBSERVATION_DIM, rows)
    return of_actor + critics.ensemble * dense_multiply_adds(critics, OBSERVATION_DIM + ACTION_DIM, rows)


def _seconds_per_call(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    first = time.perf_counter() - began
    if first > PATIENCE_SECONDS:
        return first
    calls = 0
    began = time.perf_counter()
    while calls < 1 or time.perf_counter() - began < MEASURE_SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - began) / calls


def output_bytes(config: RunConfig) -> int:
    """Disk of a finished run, roughly: its policy, the last checkpoint without the replay, and tidy metrics."""
    actor, critic = parameter_bytes(config)
    evaluations = config.evaluations_from(0)
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
