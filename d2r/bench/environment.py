"""Environment steps per second: ours, stock Meta-World in gymnasium's vector environments, and MuJoCo alone.

All have the same tasks, horizon and goals, and random actions. What is compared is measured in turns, whole episodes
with their resets at a time, and the median of the rounds counts.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from metaworld.wrappers import AutoTerminateOnSuccessWrapper, OneHotWrapper

from d2r.bench.about import about
from d2r.config.benchmarks import ACTION_DIM, load_benchmark
from d2r.config.schema import Protocol
from d2r.envs.goals import GoalSource, goal_source
from d2r.envs.tasks import make_fast, make_stock
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError

Side = Callable[[int], None]
"""Steps every task this many times."""


class _Goals(gym.Wrapper[Any, Any, Any, Any]):
    """Chooses a goal before each reset, as Meta-World's own wrapper does."""

    def __init__(self, env: Any, source: GoalSource) -> None:
        super().__init__(env)
        self._source = source

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self._source.prepare(self.env.unwrapped)  # type: ignore[arg-type]
        return self.env.reset(**arguments)


def _make_wrapped(benchmark: str, task: int, protocol: Protocol, source: GoalSource) -> gym.Env[Any, Any]:
    """A stock task in the wrappers that Meta-World's ``make_vec`` puts around it."""
    names = load_benchmark(benchmark).tasks
    env: Any = gym.wrappers.TimeLimit(make_stock(names[task], protocol.reward_version), protocol.horizon)
    env = AutoTerminateOnSuccessWrapper(env)
    env.toggle_terminate_on_success(False)
    env = OneHotWrapper(env, task, len(names))
    return _Goals(gym.wrappers.RecordEpisodeStatistics(env), source)


def _stock(
    kind: type[SyncVectorEnv | AsyncVectorEnv],
    benchmark: str,
    protocol: Protocol,
    seed: np.random.SeedSequence,
) -> SyncVectorEnv | AsyncVectorEnv:
    compared = load_benchmark(benchmark)
    kind_of_goals = protocol.goals_on(compared)
    makers = []
    for task, name in enumerate(compared.tasks):
        source = goal_source(make_fast(name), task, kind_of_goals, seed, False)
        makers.append(partial(_make_wrapped, benchmark, task, protocol, source))
    return kind(makers, autoreset_mode=AutoresetMode.SAME_STEP)


def _actions(count: int, tasks: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (count, tasks, ACTION_DIM)).astype(np.float32)


def _side(env: VectorEnv[Any, Any, Any]) -> Side:
    def steps(count: int) -> None:
        for action in _actions(count, env.num_envs):
            env.step(action)

    return steps


def _our_side(env: MetaWorldVectorEnv) -> Side:
    def steps(count: int) -> None:
        for action in _actions(count, env.num_envs):
            env.step_arrays(action)

    return steps


def measure(benchmark: str, protocol: Protocol, workers: int, rounds: int, seed: int) -> dict[str, Any]:
    """Measure all sides in turns; the result is what ``d2r bench env --json`` prints.

    Raises:
        UserError: if the benchmark does not exist, or workers or rounds are impossible.
    """
    if rounds <= 0:
        raise UserError(f"rounds is {rounds}: must be positive")
    tasks = len(load_benchmark(benchmark).tasks)
    sequence = np.random.SeedSequence(seed)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".*precision lowered by casting")  # of stock's spaces
        ours = stack.enter_context(
            closing(MetaWorldVectorEnv(benchmark, protocol, sequence, workers=workers))
        )
        sync = stack.enter_context(closing(_stock(SyncVectorEnv, benchmark, protocol, sequence)))
        several = stack.enter_context(closing(_stock(AsyncVectorEnv, benchmark, protocol, sequence)))
        sides: dict[str, tuple[Side, int]] = {
            "stock_sync_sps": (_side(sync), 1),
            "stock_async_sps": (_side(several), 1),
            "ours_sps": (_our_side(ours), 4),
            "physics_ceiling_sps": (ours.simulate, 4),
        }
        for env in (ours, sync, several):
            env.reset()
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, (run_steps, episodes) in sides.items():
                if name == "ours_sps":
                    ours.reset()  # the ceiling's simulations left it anywhere
                begin = time.perf_counter()
                run_steps(episodes * protocol.horizon)
                rates[name].append(episodes * protocol.horizon * tasks / (time.perf_counter() - begin))
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "benchmark": benchmark,
        "protocol": protocol.id,
        "tasks": tasks,
        "horizon": protocol.horizon,
        "workers": workers,
        "rounds": rounds,
        **{name: round(rate) for name, rate in median.items()},
        "times_stock_sync": round(median["ours_sps"] / median["stock_sync_sps"], 2),
        "share_of_ceiling": round(median["ours_sps"] / median["physics_ceiling_sps"], 3),
        "by_round": {name: [round(rate) for rate in values] for name, values in rates.items()},
        **about(),
    }
