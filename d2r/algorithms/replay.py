"""Replay of whole episodes: every observation is kept once, every route as indices.

All tasks step together and end their episodes together, so the buffer is a ring of episode slots shared by
all tasks. A slot of H transitions holds H + 1 observations; transition h reads rows h and h + 1, so the
next observation costs nothing. A minibatch draws its time indices once, with replacement, for all tasks
(official ``replay_buffers/shared.py``).

At N = 16 and K = 2 a transition takes 39 x 4 (observation) + 4 x 4 (action) + 4 (reward) + 32 (route) = 208
bytes; the official buffer, with the one-hot task and the route as floats and each observation twice, about
1,300 on MT50.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM


class Batch(NamedTuple):
    """Transitions of all tasks at the same time indices.

    Attributes:
        obs, next_obs: [batch, task, 39]; action: [batch, task, 4]; reward, terminal: [batch, task];
        sources: [batch, task, group, K] behaviour route, or none.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminal: Tensor
    sources: Tensor | None


class Replay:
    """Ring of episode slots.

    It lies on the device that learns, so that batches never cross over. Which transitions they hold is drawn
    on the CPU, and so is the same for every device.

    Args:
        capacity: transitions per task, rounded up to whole episodes, at least two of them.
        horizon: transitions in an episode.
        time_limit_terminal: whether the last transition of an episode is terminal in the TD target.
        route_shape: (groups, K) of the behaviour routes to keep, or none.
    """

    def __init__(
        self,
        capacity: int,
        horizon: int,
        num_tasks: int,
        time_limit_terminal: bool,
        route_shape: tuple[int, int] | None,
        device: torch.device | str = "cpu",
    ):
        self.horizon, self.time_limit_terminal = horizon, time_limit_terminal
        self.slots = max(2, -(-capacity // horizon))
        self.capacity = self.slots * horizon
        self.total = 0
        """Transitions added since the beginning, overwritten ones included."""
        self.obs = torch.empty(self.slots * (horizon + 1), num_tasks, OBSERVATION_DIM, device=device)
        self.action = torch.empty(self.capacity, num_tasks, ACTION_DIM, device=device)
        self.reward = torch.empty(self.capacity, num_tasks, device=device)
        self.sources = (
            torch.empty(self.capacity, num_tasks, *route_shape, dtype=torch.uint8, device=device)
            if route_shape is not None
            else None
        )

    def __len__(self) -> int:
        """Number of transitions that can be drawn; a full ring has lost the one that is being overwritten."""
        return self.total if self.total < self.capacity else self.capacity - 1

    @property
    def bytes_per_transition(self) -> int:
        """Bytes of one task's transition, the extra observation of an episode left out."""
        tensors = [self.obs[0, 0], self.action[0, 0], self.reward[0, :1]]
        if self.sources is not None:
            tensors.append(self.sources[0, 0])
        return sum(t.numel() * t.element_size() for t in tensors)

    def begin_episode(self, obs: Tensor) -> None:
        """Store the first observation of an episode, [task, 39]."""
        assert self.total % self.horizon == 0, "an episode begins where the last one has ended"
        self.obs[self._row(self.total % self.capacity)] = obs

    def add(self, action: Tensor, reward: Tensor, next_obs: Tensor, sources: Tensor | None) -> None:
        """Store a transition of every task: [task, 4], [task], [task, 39], [task, group, K]."""
        time = self.total % self.capacity
        self.action[time] = action
        self.reward[time] = reward
        self.obs[self._row(time) + 1] = next_obs
        if self.sources is not None:
            assert sources is not None, "this replay keeps routes"
            self.sources[time] = sources
        self.total += 1

    def sample(self, size: int, generator: torch.Generator) -> Batch:
        """Draw ``size`` time indices with replacement and return every task's transitions there."""
        if self.total < self.capacity:
            time = torch.randint(self.total, (size,), generator=generator)
        else:
            oldest = self.total % self.capacity + 1
            time = (oldest + torch.randint(self.capacity - 1, (size,), generator=generator)) % self.capacity
        return self.at(time.to(self.action.device))

    def at(self, time: Tensor) -> Batch:
        """Return every task's transitions at the given time indices [batch]."""
        row = time + time // self.horizon
        reward = self.reward.index_select(0, time)
        if self.time_limit_terminal:
            last = (time % self.horizon == self.horizon - 1).to(reward.dtype)
            terminal = last.unsqueeze(1).expand_as(reward)
        else:
            terminal = torch.zeros_like(reward)
        return Batch(
            self.obs.index_select(0, row),
            self.action.index_select(0, time),
            reward,
            self.obs.index_select(0, row + 1),
            terminal,
            None if self.sources is None else self.sources.index_select(0, time),
        )

    def export(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return transitions ``start`` to ``stop``, on the CPU, whichever device the replay lies on.

        They are counted since the beginning; the last ``capacity`` can be had.
        """
        time = torch.arange(start, stop) % self.capacity
        rows = torch.arange(self._row(start), self._row(stop - 1) + 2) % len(self.obs)
        rings = {"obs": (self.obs, rows), "action": (self.action, time), "reward": (self.reward, time)}
        if self.sources is not None:
            rings["sources"] = (self.sources, time)
        return {name: ring[index.to(ring.device)].cpu() for name, (ring, index) in rings.items()}

    def forms(self, start: int, stop: int) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Shape and type of each tensor that :meth:`export` returns."""
        rows = self._row(stop - 1) + 2 - self._row(start)
        rings = {
            "obs": (self.obs, rows),
            "action": (self.action, stop - start),
            "reward": (self.reward, stop - start),
        }
        if self.sources is not None:
            rings["sources"] = (self.sources, stop - start)
        return {
            name: (torch.Size((length, *ring.shape[1:])), ring.dtype)
            for name, (ring, length) in rings.items()
        }

    def restore(self, start: int, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`export` returned, and continue after it."""
        stop = start + len(tensors["action"])
        time = torch.arange(start, stop, device=self.obs.device) % self.capacity
        rows = torch.arange(self._row(start), self._row(stop - 1) + 2, device=self.obs.device)
        self.obs[rows % len(self.obs)] = tensors["obs"].to(self.obs)
        self.action[time] = tensors["action"].to(self.action)
        self.reward[time] = tensors["reward"].to(self.reward)
        if self.sources is not None:
            self.sources[time] = tensors["sources"].to(self.sources)
        self.total = stop

    def _row(self, time: int) -> int:
        """Row of the observation before transition ``time``: each earlier slot holds one row more than transitions."""
        return time + time // self.horizon
