"""Our environment and stock Meta-World side by side, compared for equality of bits.

Stock means: the task's own class, untouched, in gymnasium's ``TimeLimit``, with the goals that its own
resets draw from streams equal to ours. Both take the same actions, which change every few steps from random
to extreme to those of Meta-World's scripted expert, so that objects are missed, hit and grasped, and both
go through the same resets.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from d2r.config.benchmarks import OBSERVATION_DIM, Benchmark, load_benchmark
from d2r.config.schema import Protocol
from d2r.envs.goals import goal_source
from d2r.envs.slices import simulator_state
from d2r.envs.tasks import INFO_KEYS, make_stock
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError

Floats = npt.NDArray[np.float64]

STEPS_PER_KIND = 100
"""Steps after which the kind of actions changes."""


class Difference(NamedTuple):
    """The first place where ours is not stock."""

    task: str
    step: int
    field: str
    stock: float
    ours: float

    def __str__(self) -> str:
        where = f"{self.task}, step {self.step}, {self.field}"
        return f"{where}: stock has {self.stock!r}, ours has {self.ours!r}"


class Report(NamedTuple):
    """What was compared, and the first difference if there was one."""

    compared: Counter[str]
    """Numbers compared, by field."""
    difference: Difference | None


class StockTask:
    """One task of stock Meta-World, with same-step autoreset and our goals."""

    def __init__(
        self, benchmark: Benchmark, task: int, protocol: Protocol, seed: np.random.SeedSequence
    ) -> None:
        from metaworld.policies import ENV_POLICY_MAP  # noqa: PLC0415 - only needed here, and slow to import

        name = benchmark.tasks[task]
        self._env = make_stock(name, protocol.reward_version)
        self._source = goal_source(self._env, task, protocol.goals_on(benchmark), seed, evaluation=False)
        self._limited = gym.wrappers.TimeLimit(self._env, protocol.horizon)
        self._scale = protocol.reward_scale
        self._expert: Any = ENV_POLICY_MAP[name]()  # type: ignore[abstract]

    def reset(self) -> dict[str, Floats]:
        """Begin an episode; returns what is compared."""
        self._source.prepare(self._env)
        self._observation = self._limited.reset()[0]
        return {"observation": self._observation, "simulator": simulator_state(self._env)}

    def step(self, action: npt.NDArray[np.float32]) -> dict[str, Floats]:
        """Step, and reset at the end of the episode; returns what is compared."""
        observation, reward, _, truncated, info = self._limited.step(action)
        fields = {
            "reward": np.array([float(reward) * self._scale]),
            "truncated": np.array([float(truncated)]),
            **{f"info[{key!r}]": np.array([float(value)]) for key, value in info.items()},
        }
        self._observation = observation
        if truncated:
            fields["final observation"] = observation
            fields.update(self.reset())
        else:
            fields["observation"] = observation
            fields["simulator"] = simulator_state(self._env)
        return fields

    def expert_action(self) -> Floats:
        """What Meta-World's scripted policy does here."""
        action: Floats = self._expert.get_action(self._observation)
        return action.clip(-1, 1)


def verify_environment(
    benchmark: str,
    protocol: Protocol,
    seed: int,
    steps: int,
    workers: int = 0,
) -> Report:
    """Step ours and stock Meta-World with the same actions and goals until they differ.

    Args:
        benchmark: such as ``mt50-rand``.
        protocol: horizon, goals and reward of both.
        seed: of the goals and the actions.
        steps: of every task.
        workers: processes of ours.

    Raises:
        UserError: if the benchmark does not exist or the number of steps is not positive.
    """
    if steps <= 0:
        raise UserError(f"steps is {steps}: must be positive")
    compared_with = load_benchmark(benchmark)
    names = compared_with.tasks
    sequence = np.random.SeedSequence(seed)
    chance = np.random.default_rng(sequence.spawn(1)[0])
    stock = [StockTask(compared_with, task, protocol, sequence) for task in range(len(names))]
    compared: Counter[str] = Counter()
    with closing(MetaWorldVectorEnv(benchmark, protocol, sequence, workers=workers)) as env:
        ours = [{"observation": row} for row in env.reset_arrays()]
        theirs = [task.reset() for task in stock]
        for step in range(steps + 1):
            for task, state in env.simulator_states().items():
                ours[task]["simulator"] = state
            difference = _compare(names, step, theirs, ours, compared)
            if difference is not None or step == steps:
                return Report(compared, difference)
            actions = np.stack([_action(task, step, index, chance) for index, task in enumerate(stock)])
            theirs = [task.step(action) for task, action in zip(stock, actions, strict=True)]
            ours = _our_step(env, actions)
    raise AssertionError("unreachable")


def _action(task: StockTask, step: int, index: int, chance: np.random.Generator) -> npt.NDArray[np.float32]:
    kind = (step // STEPS_PER_KIND + index) % 3
    if kind == 0:
        action = chance.uniform(-1, 1, 4)
    elif kind == 1:
        action = chance.choice([-1.0, 1.0], 4)
    else:
        action = task.expert_action()
    return action.astype(np.float32)


def _our_step(env: MetaWorldVectorEnv, actions: npt.NDArray[np.float32]) -> list[dict[str, Floats]]:
    observations, rewards, _, truncated, infos = env.step(actions)
    rows: list[dict[str, Floats]] = []
    for task in range(env.num_envs):
        fields = {
            "reward": rewards[task : task + 1],
            "truncated": truncated[task : task + 1].astype(np.float64),
            **{f"info[{key!r}]": infos[key][task : task + 1].astype(np.float64) for key in INFO_KEYS},
            "observation": observations[task, :OBSERVATION_DIM],
        }
        if truncated[task]:
            fields["final observation"] = infos["final_obs"][task, :OBSERVATION_DIM]
        rows.append(fields)
    return rows


def _compare(
    names: tuple[str, ...],
    step: int,
    stock: list[dict[str, Floats]],
    ours: list[dict[str, Floats]],
    compared: Counter[str],
) -> Difference | None:
    for name, expected, found in zip(names, stock, ours, strict=True):
        missing = expected.keys() ^ found.keys()
        if missing:
            field = min(missing)
            return Difference(name, step, field, float(field in expected), float(field in found))
        for field, values in expected.items():
            same = np.ascontiguousarray(values).view(np.int64) == np.ascontiguousarray(found[field]).view(
                np.int64
            )
            if not same.all():
                at = int(np.argmin(same))
                return Difference(name, step, f"{field}[{at}]", float(values[at]), float(found[field][at]))
            compared[field] += values.size
    return None
