"""Memory of a full replay, measured as what the process holds more of once every transition has been written."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from d2r.algorithms.replay import Replay
from d2r.bench.about import about
from d2r.config import RunConfig
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM
from d2r.errors import UserError
from d2r.networks.registry import build_actor, check_size


def resident_bytes() -> int:
    """Memory of this process that is in use now.

    Raises:
        UserError: where the system does not say.
    """
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        raise UserError("/proc/self/statm does not exist: memory can only be measured on Linux")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(replay: Replay, num_tasks: int) -> None:
    """Write every transition once, as training does."""
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(num_tasks, OBSERVATION_DIM, generator=generator)
    action = torch.rand(num_tasks, ACTION_DIM, generator=generator)
    reward = torch.rand(num_tasks, generator=generator)
    sources = None if replay.sources is None else torch.ones_like(replay.sources[0, 0])
    for step in range(replay.capacity):
        if step % replay.horizon == 0:
            replay.begin_episode(obs)
        replay.add(action, reward, obs, sources)


def measure(config: RunConfig, rounds: int) -> dict[str, Any]:
    """Fill a replay of the scale's capacity and sample from it; what ``d2r bench replay --json`` prints.

    Raises:
        UserError: if rounds are not positive, or the actor whose routes are stored would be too large to build.
    """
    check_size(config.network, config.num_tasks, config.method)
    if rounds <= 0:
        raise UserError(f"rounds is {rounds}: must be positive")
    torch.set_num_threads(1)
    actor = build_actor(config.network, config.num_tasks, torch.Generator().manual_seed(0))
    before = resident_bytes()
    replay = Replay(
        config.budget.replay_capacity,
        config.protocol.horizon,
        config.num_tasks,
        config.protocol.time_limit == "terminal",
        actor.route_shape,
    )
    fill(replay, config.num_tasks)
    held = resident_bytes() - before
    generator = torch.Generator().manual_seed(1)
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        replay.sample(config.sac.batch_per_task, [generator])
        samples.append(time.perf_counter() - began)
    transitions = replay.capacity * config.num_tasks
    return {
        "method": config.method,
        "benchmark": config.benchmark,
        "transitions": transitions,
        "resident_gb": round(held / 1e9, 3),
        "bytes_per_transition": round(held / transitions, 1),
        "batch": config.sac.batch_per_task * config.num_tasks,
        "sample_ms": round(1e3 * min(samples), 3),
        "rounds": rounds,
        **about(),
    }
