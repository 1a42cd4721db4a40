"""A slice of a benchmark's tasks, stepped one after the other in one process."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM, Benchmark
from d2r.config.schema import Protocol
from d2r.envs.goals import goal_source
from d2r.envs.models import named_or_colliding
from d2r.envs.stepping import FastSawyer
from d2r.envs.tasks import INFO_KEYS, make_fast

Floats = npt.NDArray[np.float64]

_DRIFT_STEPS = 20
_INFO_VALUES = itemgetter(*INFO_KEYS)


class Buffers(NamedTuple):
    """Arrays with one row per task of the benchmark; a slice reads and writes the rows of its tasks."""

    actions: npt.NDArray[np.float32]  # [tasks, 4]
    observations: Floats  # [tasks, 39]
    final_observations: Floats  # [tasks, 39]
    rewards: Floats  # [tasks], scaled
    infos: Floats  # [tasks, len(INFO_KEYS)]
    exceptions: npt.NDArray[np.int64]  # [tasks], simulator exceptions so far

    @classmethod
    def zeros(cls, tasks: int) -> Buffers:
        """Arrays of this process alone."""
        return cls(*(np.zeros(shape, dtype) for shape, dtype in cls.shapes(tasks)))

    @classmethod
    def shapes(cls, tasks: int) -> list[tuple[tuple[int, ...], type[np.generic]]]:
        """Shape and type of each array."""
        return [
            ((tasks, ACTION_DIM), np.float32),
            ((tasks, OBSERVATION_DIM), np.float64),
            ((tasks, OBSERVATION_DIM), np.float64),
            ((tasks,), np.float64),
            ((tasks, len(INFO_KEYS)), np.float64),
            ((tasks,), np.int64),
        ]


def simulator_state(env: SawyerXYZEnv) -> Floats:
    """Everything a simulation goes on from (``mjSTATE_INTEGRATION``, the model's positions) and what follows from it.

    Left out are the places of sites: right after a reset the goal's marker, which nothing reads, still lies where the
    first pass of stock's reset saw it, and ours skips the simulation there (see ``stepping.py``); and the places of
    geoms that are only drawn, most of which ours does not have (see ``models.py``).
    """
    model, data = env.model, getattr(env.data, "raw", env.data)
    state = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    geoms = named_or_colliding(model)
    of_geoms = (data.geom_xpos[geoms], data.geom_xmat[geoms])
    derived = (data.qacc, data.xpos, data.xquat, data.xmat, *of_geoms, data.efc_force)
    parts = (state, *derived, model.body_pos, model.site_pos)
    return np.concatenate([part.ravel() for part in parts])


class TaskSlice:
    """Some of a benchmark's tasks: environments, goal sources, and their rows of the shared arrays."""

    def __init__(
        self,
        benchmark: Benchmark,
        protocol: Protocol,
        seed: np.random.SeedSequence,
        evaluation: bool,
        tasks: Sequence[int],
        buffers: Buffers | None = None,
    ) -> None:
        names, kind = benchmark.tasks, protocol.goals_on(benchmark)
        self._tasks = list(tasks)
        self.buffers = Buffers.zeros(len(names)) if buffers is None else buffers
        self._reward_scale = protocol.reward_scale
        self._envs = [make_fast(names[task], protocol.reward_version) for task in tasks]
        self._action_scales = np.array([[env.action_scale] for env in self._envs], np.float32)
        self._sources = [
            goal_source(env, task, kind, seed, evaluation)
            for env, task in zip(self._envs, tasks, strict=True)
        ]
        self._starts: list[dict[str, Any]] = [source.state() for source in self._sources]

    def restart_goals(self) -> None:
        """Let every task's goals begin again as if new."""
        for source in self._sources:
            source.restart()

    def reset(self) -> None:
        """Begin a new episode of every task; writes observations."""
        for index, (task, env, source) in enumerate(zip(self._tasks, self._envs, self._sources, strict=True)):
            self._starts[index] = source.state()
            source.prepare(env)
            self.buffers.observations[task] = env.reset()[0]

    def begin_step(self, last: bool) -> None:
        """Note what :meth:`end_step` has to do: in one process nothing can happen meanwhile."""
        self._last = last

    def end_step(self) -> None:
        """Do what :meth:`begin_step` noted."""
        self.step(self._last)

    def step(self, last: bool) -> None:
        """Step every task with its action; at the ``last`` step of the episode go on to the next one at once."""
        actions, observations, final_observations, rewards, infos, exceptions = self.buffers
        moves = (actions[self._tasks, :3].clip(-1, 1) * self._action_scales).astype(np.float64)
        for task, env, move in zip(self._tasks, self._envs, moves, strict=True):
            observations[task], reward, _, _, info = env.step_moving(actions[task], move)
            rewards[task] = float(reward) * self._reward_scale
            infos[task] = _INFO_VALUES(info)
            if env.unstable:
                exceptions[task] += 1
        if last:
            final_observations[self._tasks] = observations[self._tasks]
            self.reset()

    def env_of(self, task: int) -> FastSawyer:
        """The environment of one of the slice's tasks, to be looked at."""
        return self._envs[self._tasks.index(task)]

    def goal_states(self) -> dict[int, dict[str, Any]]:
        """State of each task's goal source at the start of the current episode."""
        return dict(zip(self._tasks, self._starts, strict=True))

    def simulator_states(self) -> dict[int, Floats]:
        """State of each task's simulator, for comparisons; see :func:`simulator_state`."""
        return {task: simulator_state(env) for task, env in zip(self._tasks, self._envs, strict=True)}

    def simulate(self, steps: int) -> None:
        """Step the simulators alone, hands drifting at random: what MuJoCo itself takes, for measurements."""
        chance = np.random.default_rng(0)
        for env in self._envs:
            model, data = env.model, env.data.raw
            for step in range(steps):
                if step % _DRIFT_STEPS == 0:
                    data.mocap_pos[0] = chance.uniform(env.mocap_low, env.mocap_high)
                mujoco.mj_step(model, data, env.frame_skip)
                mujoco.mj_forward(model, data)

    def reenact(self, states: dict[int, dict[str, Any]], actions: npt.NDArray[np.float32]) -> None:
        """Restore an episode: the sources' states at its start, and the actions [steps, tasks, 4] since then."""
        for task, source in zip(self._tasks, self._sources, strict=True):
            source.load(states[task])
        self.reset()
        for row in actions:
            self.buffers.actions[self._tasks] = row[self._tasks]
            self.step(last=False)

    def close(self) -> None:
        """Nothing to release; the simulators go with this object."""
