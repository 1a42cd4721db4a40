"""Time of one update beside its floor: the matrix products that cannot be avoided, at this machine's best rate.

The floor is 16 forward passes of one network's worth: actor 3 (forward and backward are three) and 1 for the next
action, targets 2, critics in the TD loss 6, critics in the policy loss 4 (no gradient of their weights), each with the
multiply-adds of its matrix products and nothing else, over the best float32 rate of square products with as many
threads. An update is one of every seed of a cohort, from drawing its batch to moving the targets. Updates and products
are measured in turns, and the best of each counts, because whatever else the machine does only adds to either. What
counts is the first update after a product, which finds in the caches what that left there; how long one takes that
follows another, as in training, stands beside it (``update_in_a_row_ms``). On a
machine shared with others the ratio of processor times (``times_floor_cpu``) says more than the ratio of times; it
holds for one thread, where waiting threads do not add to it. ``peak_mb`` is the largest resident memory of the process
after the first updates, interpreter and replay included (on a GPU that of the host). With ``--tf32`` the square
products are in TF32, too; with ``--autocast bf16`` they stay in float32.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from d2r.algorithms.draws import Draws
from d2r.algorithms.execution.prepare import check_threads
from d2r.algorithms.execution.recorded import WARM_UPS
from d2r.algorithms.execution.update import Updates
from d2r.algorithms.members import side_by_side
from d2r.algorithms.replay import Batch, Replay
from d2r.algorithms.sac import MultiTaskSAC
from d2r.bench.about import about
from d2r.config import RunConfig
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM
from d2r.config.execution import PLAIN, Execution
from d2r.config.schema import MOST_BATCH
from d2r.errors import UserError
from d2r.networks.base import Network
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.registry import (
    build_actor,
    build_critics,
    check_size,
)
from d2r.training.memory import keep_freed_memory

ACTOR_PASSES = 3 + 1
CRITIC_PASSES = 2 + 6 + 4
SQUARES = (1024, 2048, 4096)
UPDATES_IN_A_ROW = 4


class Setting(NamedTuple):
    """A learner with a replay of random transitions, and each seed's stream that both draw from."""

    config: RunConfig
    learner: MultiTaskSAC
    replay: Replay
    streams: list[torch.Generator]

    def inputs(self) -> tuple[Batch, Draws]:
        """What an update works on."""
        batch = self.replay.sample(self.config.sac.batch_per_task, self.streams)
        return batch, self.learner.draw(batch, self.streams)


def with_batch(config: RunConfig, batch_per_task: int | None) -> RunConfig:
    """``config`` with another batch size.

    Raises:
        UserError: if no run can have it.
    """
    if batch_per_task is None:
        return config
    if not 1 <= batch_per_task <= MOST_BATCH:
        raise UserError(f"batch per task is {batch_per_task}: must be from 1 to {MOST_BATCH}")
    return config.model_copy(update={"sac": config.sac.model_copy(update={"batch_per_task": batch_per_task})})


def build_setting(
    config: RunConfig,
    transitions: int = 4000,
    execution: Execution = PLAIN,
    device: str = "cpu",
    cohort: int = 1,
) -> Setting:
    """Build what an update of ``cohort`` seeds needs; routes in the replay are drawn by the actor itself.

    Raises:
        UserError: if the networks would be too large to build.
    """
    check_size(config.network, config.num_tasks, config.method)
    generator = torch.Generator().manual_seed(0)
    streams = [torch.Generator(device).manual_seed(seed) for seed in range(cohort)]

    def of_all(build: Callable[..., Network]) -> Network:
        each = [build(config.network, config.num_tasks, generator) for _ in streams]
        return side_by_side(each).to(device)

    actor, critics = of_all(build_actor), of_all(build_critics)
    learner = MultiTaskSAC(actor, critics, config.sac, execution.autocast != "none")
    protocol = config.protocol
    replay = Replay(
        transitions,
        protocol.horizon,
        config.num_tasks,
        protocol.time_limit == "terminal",
        actor.route_shape,
        device,
        cohort,
    )
    replay.obs.copy_(torch.empty(replay.obs.shape).normal_(generator=generator))
    replay.action.copy_(torch.empty(replay.action.shape).uniform_(-1, 1, generator=generator))
    replay.reward.copy_(torch.empty(replay.reward.shape).uniform_(generator=generator))
    if replay.sources is not None:
        with torch.no_grad():
            seen = replay.obs[:, : protocol.horizon]
            route = actor(seen, learner.sampled(actor, protocol.horizon, streams)).route
        assert route is not None
        replay.sources.copy_(route.sources.to(torch.uint8).repeat(1, replay.slots, 1, 1, 1))
    for place in range(cohort):
        replay.ring(place).total = replay.capacity
    replay.note_filling()
    return Setting(config, learner, replay, streams)


def floor_flop(learner: MultiTaskSAC, batch_per_task: int) -> float:
    """Floating-point operations of an update's floor, of all seeds."""
    rows = learner.seeds * batch_per_task * learner.actor.num_tasks

    def passes(network: Network, inputs: int, count: int) -> int:
        return 2 * count * rows * dense_multiply_adds(network, inputs)

    of_actor = passes(learner.actor, OBSERVATION_DIM, ACTOR_PASSES)
    return of_actor + passes(learner.critics, OBSERVATION_DIM + ACTION_DIM, CRITIC_PASSES)


class Seconds(NamedTuple):
    """Time by two clocks: on the wall, and of this process on all processors."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """Read both clocks, once a GPU has done what it was given."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
        return cls(time.perf_counter(), time.process_time())

    def since(self, began: Seconds) -> Seconds:
        """Time from ``began`` to this."""
        return Seconds(self.wall - began.wall, self.cpu - began.cpu)


class SquareProducts:
    """Float32 rate of square matrix products."""

    def __init__(self, device: str = "cpu") -> None:
        self.matrices = {
            n: (torch.randn(n, n, device=device), torch.empty(n, n, device=device)) for n in SQUARES
        }

    def gflops(self, size: int) -> Seconds:
        """Rates of one product by both clocks."""
        matrix, out = self.matrices[size]
        began = Seconds.now()
        torch.mm(matrix, matrix, out=out)
        spent = Seconds.now().since(began)
        return Seconds(*(2e-9 * size**3 / part for part in spent))


def measure(
    config: RunConfig,
    threads: int,
    rounds: int,
    execution: Execution = PLAIN,
    device: str = "cpu",
    cohort: int = 1,
) -> dict[str, Any]:
    """Measure updates and square products in turns; the result is what ``d2r bench learner --json`` prints.

    Args:
        cohort: seeds that learn side by side; an update is one of each.

    Raises:
        UserError: if threads or rounds are impossible.
    """
    check_threads(threads)
    if rounds <= 0:
        raise UserError(f"rounds is {rounds}: must be positive")
    torch.set_num_threads(threads)
    keep_freed_memory()
    setting = build_setting(config, execution=execution, device=device, cohort=cohort)
    learner, replay, streams = setting.learner, setting.replay, setting.streams
    batch_per_task = config.sac.batch_per_task
    updating = Updates(learner, execution, setting.inputs, streams)
    for _ in range(WARM_UPS + 1):
        updating.update()
    in_bytes = 1 if sys.platform == "darwin" else 1024
    peak = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * in_bytes
    )  # before there are matrices to compare with
    products = SquareProducts(device)
    for size in SQUARES[:-1]:
        products.gflops(size)
    updates: list[Seconds] = []
    in_a_row: list[Seconds] = []
    samples: list[Seconds] = []
    rates: list[Seconds] = []
    for turn in range(rounds):
        began = Seconds.now()
        replay.sample(batch_per_task, streams)
        sampled = Seconds.now()
        updating.update()
        updates.append(Seconds.now().since(sampled))
        samples.append(sampled.since(began))
        for _ in range(UPDATES_IN_A_ROW):
            began = Seconds.now()
            updating.update()
            in_a_row.append(Seconds.now().since(began))
        rates.append(products.gflops(SQUARES[turn % len(SQUARES)]))
        rates.append(products.gflops(SQUARES[0]))
    floor = floor_flop(learner, batch_per_task)
    gflops = max(rate.wall for rate in rates)
    floor_ms = floor / gflops / 1e6
    update_ms = 1e3 * min(update.wall for update in updates)
    sample_ms = 1e3 * min(sample.wall for sample in samples)
    update_cpu_ms = 1e3 * min(update.cpu for update in updates)
    floor_cpu_ms = floor / max(rate.cpu for rate in rates) / 1e6
    return {
        "method": config.method,
        "benchmark": config.benchmark,
        "batch_per_task": batch_per_task,
        "batch": batch_per_task * config.num_tasks,
        "threads": threads,
        "device": device,
        "execution": execution.model_dump(),
        "cohort": cohort,
        "rounds": rounds,
        "updates_per_second": round(1e3 / update_ms, 1),
        "update_ms": round(update_ms, 2),
        "update_ms_median": round(1e3 * statistics.median(update.wall for update in updates), 2),
        "update_in_a_row_ms": round(1e3 * min(update.wall for update in in_a_row), 2),
        "floor_ms": round(floor_ms, 2),
        "floor_gflop": round(floor / 1e9, 3),
        "sgemm_gflops": round(gflops, 1),
        "times_floor": round(update_ms / floor_ms, 2),
        "update_cpu_ms": round(update_cpu_ms, 2),
        "times_floor_cpu": round(update_cpu_ms / floor_cpu_ms, 2),
        "sample_ms": round(sample_ms, 3),
        "sample_share": round(sample_ms / update_ms, 4),
        "peak_mb": round(peak / 1e6, 1),
        **about(),
    }
