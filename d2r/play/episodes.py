"""The episodes of an evaluation, one task at a time, to be looked at state by state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from d2r.envs.slices import TaskSlice
from d2r.play.policy import Policy
from d2r.training.seeding import Stream, seed_sequence


class Moment(NamedTuple):
    """One state of an episode, the first one included.

    Attributes:
        step: steps made so far.
        succeeded: the step at which Meta-World's success flag was set first; none so far.
        returned: sum of Meta-World's own (unscaled) rewards so far.
        route: [target, source] weights that the policy chooses in this state, none of a network without routes.
    """

    episode: int
    step: int
    succeeded: int | None
    returned: float
    route: npt.NDArray[np.float32] | None


class Episodes:
    """A policy on one task of its benchmark, on the goals of its run's evaluations: the episodes that were published.

    Only this task is simulated. The network is asked about all, as in an evaluation; the states of the others are zero
    and have no part in this one's answer.

    Args:
        task: its index in the benchmark.
    """

    def __init__(self, policy: Policy, task: int) -> None:
        config = policy.config
        seed = seed_sequence(config.seed, Stream.ENVIRONMENT)
        self._policy, self._task, self._protocol = policy, task, config.protocol
        self._slice = TaskSlice(config.trained_on, config.protocol, seed, True, [task])
        self.env = self._slice.env_of(task)

    def play(self, episodes: int) -> Iterator[Moment]:
        """Play so many episodes from the first; at each moment :attr:`env` is in the state that it is about."""
        task, buffers = self._task, self._slice.buffers
        one_hot = np.eye(len(buffers.observations))
        self._slice.restart_goals()
        for episode in range(episodes):
            self._slice.reset()
            succeeded, returned = None, 0.0
            for step in range(self._protocol.horizon + 1):
                seen = np.concatenate([buffers.observations, one_hot], axis=1)
                routes = self._policy.route(seen)
                yield Moment(episode, step, succeeded, returned, None if routes is None else routes[task])
                if step < self._protocol.horizon:
                    buffers.actions[:] = self._policy.act(seen)
                    self._slice.step(last=False)
                    returned += buffers.rewards[task] / self._protocol.reward_scale
                    if succeeded is None and buffers.infos[task, 0] != 0:
                        succeeded = step + 1
