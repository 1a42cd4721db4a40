"""A benchmark as one vector environment: one Meta-World task per row, all episodes of the protocol's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM, Benchmark, as_benchmark
from d2r.config.schema import Protocol
from d2r.envs.slices import TaskSlice
from d2r.envs.tasks import INFO_KEYS
from d2r.envs.workers import PoolSeat, WorkerPool
from d2r.errors import Unfit, UserError

Floats = npt.NDArray[np.float64]

_PROTOCOL_FIELDS = {"horizon", "reward_scale", "reward_version", "rand_goals"}
"""What of the protocol the environment depends on."""


class StepArrays(NamedTuple):
    """One vector step as arrays. They are fresh copies: the caller may keep them."""

    observations: Floats
    """[tasks, 39]; after the last step of an episode, the first observations of the next."""
    rewards: Floats
    """[tasks], times the protocol's reward scale."""
    successes: npt.NDArray[np.bool_]
    """[tasks], Meta-World's success flag at this step."""
    done: bool
    """Whether the episodes (all of them) ended with this step."""
    final_observations: Floats | None
    """[tasks, 39], where the episodes ended, if they did."""


class MetaWorldVectorEnv(VectorEnv[Floats, npt.NDArray[np.float32], Floats]):
    """All tasks of a benchmark, one environment each, stepped together.

    Args:
        benchmark: itself, or its id, such as ``mt10-rand``.
        protocol: horizon, reward and goals.
        seed: the run's sequence, or a child of it; the same sequence gives the same goals, whatever
        ``evaluation`` is.
        evaluation: draws goals from another stream than training does (``seeded-50``: visits each of the 50
        in order),
            and each :meth:`reset` starts that stream again, so that every evaluation sees the same goals.
        workers: processes that own a slice of the tasks each; 0 steps in this process. Results do not
        depend on it.
        seat: this environment's place in processes that several are stepped by together; see :func:`vector_envs`.

    Raises:
        UserError: if the benchmark does not exist or the number of workers is impossible.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        benchmark: str | Benchmark,
        protocol: Protocol,
        seed: np.random.SeedSequence,
        *,
        evaluation: bool = False,
        workers: int = 0,
        seat: PoolSeat | None = None,
    ) -> None:
        benchmark = as_benchmark(benchmark)
        self.task_names = benchmark.tasks
        self.num_envs = len(self.task_names)
        self.benchmark = benchmark.id
        self.protocol = protocol
        self._evaluation = evaluation
        self._identity = {
            "benchmark": benchmark.id,
            "evaluation": evaluation,
            "protocol": protocol.model_dump(include=_PROTOCOL_FIELDS),
            "seed": {"entropy": str(seed.entropy), "spawn_key": list(seed.spawn_key)},
        }
        self.single_observation_space = gym.spaces.Box(
            -np.inf, np.inf, (OBSERVATION_DIM + self.num_envs,), np.float64
        )
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._one_hot = np.eye(self.num_envs)
        self._tasks: TaskSlice | PoolSeat
        if seat is not None:
            self._tasks = seat
        elif workers:
            (self._tasks,) = _pool_seats(benchmark, protocol, [seed], evaluation, workers)
        else:
            self._tasks = TaskSlice(benchmark, protocol, seed, evaluation, range(self.num_envs))
        self._buffers = self._tasks.buffers
        self._history = np.zeros((protocol.horizon, self.num_envs, ACTION_DIM), np.float32)
        self._steps: int | None = None  # of the current episode; None before the first reset

    @property
    def simulator_exceptions(self) -> npt.NDArray[np.int64]:
        """Steps per task, since the start, at which the simulator failed."""
        return self._buffers.exceptions.copy()

    @property
    def observations(self) -> Floats:
        """Current observations, [tasks, 39]."""
        return self._buffers.observations.copy()

    def reset_arrays(self) -> Floats:
        """Begin new episodes; returns observations [tasks, 39]."""
        if self._evaluation:
            self._tasks.restart_goals()
        self._tasks.reset()
        self._steps = 0
        return self._buffers.observations.copy()

    def step_arrays(self, actions: npt.ArrayLike) -> StepArrays:
        """Step every task: ``actions`` [tasks, 4], used as float32.

        Raises:
            UserError: before the first reset, or if the actions have another shape.
        """
        self.begin_step(actions)
        return self.end_step()

    def begin_step(self, actions: npt.ArrayLike) -> None:
        """Take the actions of a step, which worker processes begin at once; without any, :meth:`end_step` does it all.

        Nothing else may be asked of the environment in between.

        Raises:
            UserError: before the first reset, or if the actions have another shape.
        """
        if self._steps is None:
            raise UserError("the environment was stepped before its first reset; call reset() first")
        taken = np.asarray(actions, dtype=np.float32)
        if taken.shape != (self.num_envs, ACTION_DIM):
            raise UserError(f"actions have shape {taken.shape}: expected ({self.num_envs}, {ACTION_DIM})")
        self._buffers.actions[:] = taken
        self._history[self._steps] = taken
        self._steps += 1
        self._tasks.begin_step(self._steps == self.protocol.horizon)

    def end_step(self) -> StepArrays:
        """Wait for the step that :meth:`begin_step` began, and return what it led to."""
        self._tasks.end_step()
        done = self._steps == self.protocol.horizon
        if done:
            self._steps = 0
        return StepArrays(
            self._buffers.observations.copy(),
            self._buffers.rewards.copy(),
            self._buffers.infos[:, 0] != 0,
            done,
            self._buffers.final_observations.copy() if done else None,
        )

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Begin new episodes: observations [tasks, 39 + tasks] and an empty info.

        Raises:
            UserError: if a seed is given; all randomness comes from the ``SeedSequence`` of the constructor.
        """
        if seed is not None:
            raise UserError(
                "reset(seed=...) is not possible: build the environment from another SeedSequence"
            )
        return self._with_one_hot(self.reset_arrays()), {}

    def step(  # type: ignore[override]
        self, actions: npt.NDArray[np.float32]
    ) -> tuple[Floats, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]:
        """Step every task; see :class:`gymnasium.vector.VectorEnv`. ``terminated`` is always False."""
        result = self.step_arrays(actions)
        everyone = np.ones(self.num_envs, np.bool_)
        infos: dict[str, Any] = {}
        for column, key in enumerate(INFO_KEYS):
            infos[key] = result.successes if key == "success" else self._buffers.infos[:, column].copy()
            infos[f"_{key}"] = everyone
        if result.final_observations is not None:
            final_info = infos.copy()
            infos |= {"final_info": final_info, "_final_info": everyone}
            infos |= {"final_obs": self._with_one_hot(result.final_observations), "_final_obs": everyone}
        truncated = np.full(self.num_envs, result.done)
        return self._with_one_hot(result.observations), result.rewards, ~everyone, truncated, infos

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue with the same bits in another process: JSON values and arrays only.

        An episode is kept as what its reset needs and the actions taken since; stock resets do not depend on anything
        that happened before them (``tests/envs/test_stepping.py``).
        """
        return {
            **self._identity,
            "steps": self._steps,
            "goals": [state for _, state in sorted(self._tasks.goal_states().items())],
            "actions": self._history[: self._steps or 0].copy(),
            "simulator_exceptions": self._buffers.exceptions.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Floats:
        """Continue from ``state_dict()`` of any environment with the same arguments, whatever its workers.

        Returns:
            The current observations [tasks, 39 + tasks].

        Raises:
            Unfit: if the state belongs to another benchmark, protocol or seed, or is damaged.
        """
        for key, value in self._identity.items():
            if state.get(key) != value:
                raise Unfit(f"environment state is of another run: {key} {state.get(key)!r}, here {value!r}")
        steps, goals, actions = state.get("steps", -1), state.get("goals"), state.get("actions")
        exceptions = state.get("simulator_exceptions")
        if steps is not None and (type(steps) is not int or not 0 <= steps <= len(self._history)):
            raise Unfit("environment state is damaged: 'steps' is no step of an episode")
        if not (
            isinstance(goals, list)
            and len(goals) == self.num_envs
            and all(isinstance(g, dict) for g in goals)
        ):
            raise Unfit("environment state is damaged: 'goals' does not hold a state for each task")
        if not _is_array(actions, np.float32, (steps or 0, self.num_envs, ACTION_DIM)):
            raise Unfit("environment state is damaged: 'actions' does not hold those of its steps")
        if not _is_array(exceptions, np.int64, (self.num_envs,)):
            raise Unfit(
                "environment state is damaged: 'simulator_exceptions' does not hold a count for each task"
            )
        self._steps = steps
        self._history[: len(actions)] = actions
        if steps is not None:
            self._tasks.reenact(dict(enumerate(goals)), actions)
        self._buffers.exceptions[:] = exceptions
        return self._with_one_hot(self._buffers.observations)

    def simulator_states(self) -> dict[int, Floats]:
        """State of each task's simulator and its derived quantities as one vector, for comparisons."""
        return self._tasks.simulator_states()

    def simulate(self, steps: int) -> None:
        """Step the simulators alone, for measurements; the next reset is as ever."""
        self._tasks.simulate(steps)

    def _with_one_hot(self, observations: Floats) -> Floats:
        return np.concatenate((observations, self._one_hot), axis=1)

    def close_extras(self, **kwargs: Any) -> None:
        """Release what the environment holds (called once by :meth:`close`)."""
        del kwargs
        self._tasks.close()


def vector_envs(
    benchmark: str | Benchmark,
    protocol: Protocol,
    seeds: Sequence[np.random.SeedSequence],
    *,
    evaluation: bool = False,
    workers: int = 0,
) -> list[MetaWorldVectorEnv]:
    """Environments that differ in their seed alone and are stepped together.

    Each of them begins its step before one of them ends it. Processes, if there are any, share out all tasks of all
    seeds; so what holds for one environment holds for each.

    Raises:
        UserError: if the benchmark does not exist or the number of workers is impossible.
    """
    benchmark = as_benchmark(benchmark)
    seats: Sequence[PoolSeat | None] = [None] * len(seeds)
    if workers:
        seats = _pool_seats(benchmark, protocol, seeds, evaluation, workers)
    return [
        MetaWorldVectorEnv(benchmark, protocol, seed, evaluation=evaluation, seat=seat)
        for seed, seat in zip(seeds, seats, strict=True)
    ]


def _pool_seats(
    benchmark: Benchmark,
    protocol: Protocol,
    seeds: Sequence[np.random.SeedSequence],
    evaluation: bool,
    workers: int,
) -> list[PoolSeat]:
    most = len(benchmark.tasks) * len(seeds)
    if not 0 < workers <= most:
        raise UserError(f"workers is {workers}: must be from 0 to the number of tasks, {most}")
    return WorkerPool(benchmark, protocol, seeds, evaluation, workers).seats()


def _is_array(value: object, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> TypeGuard[npt.NDArray[Any]]:
    return isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape
