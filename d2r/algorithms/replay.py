"""Replay of whole episodes: every observation is kept once, every route as indices.

All tasks step together and end their episodes together, so the buffer is a ring of episode slots shared by
all tasks. A slot of H transitions holds H + 1 observations; transition h reads rows h and h + 1, so the
next observation costs nothing. A minibatch draws its time indices once, with replacement, for all tasks
(official ``replay_buffers/shared.py``).

At N = 16 and K = 2 a transition takes 39 x 4 (observation) + 4 x 4 (action) + 4 (reward) + 32 (route) = 208
bytes; the official buffer, with the one-hot task and the route as floats and each observation twice, about
1,300 on MT50.

Seeds that learn side by side have a ring each; they step together, so a place in one is the same place in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from d2r.algorithms.compiled_replay import Quantity, transitions
from d2r.algorithms.draws import Streams, per_seed
from d2r.config.benchmarks import ACTION_DIM, OBSERVATION_DIM
from d2r.kernel.library import serving
from d2r.networks.compiled import Functions


class Batch(NamedTuple):
    """Transitions of all tasks at the same time indices, those of each seed its own.

    Attributes:
        obs, next_obs: [seed, batch, task, 39]; action: [seed, batch, task, 4]; reward, terminal: [seed, batch, task];
        sources: [seed, batch, task, group, K] behaviour route, or none.
    """

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminal: Tensor
    sources: Tensor | None


class Replay:
    """Rings of episode slots.

    They lie on the device that learns, so that batches never cross over.

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
        seeds: int = 1,
    ):
        self.horizon, self.time_limit_terminal = horizon, time_limit_terminal
        self.slots = max(2, -(-capacity // horizon))
        self.capacity = self.slots * horizon
        self.totals = [0] * seeds
        """Of each seed, transitions added since the beginning, overwritten ones included."""
        rows = self.slots * (horizon + 1)
        self.obs = torch.empty(seeds, rows, num_tasks, OBSERVATION_DIM, device=device)
        self.action = torch.empty(seeds, self.capacity, num_tasks, ACTION_DIM, device=device)
        self.reward = torch.empty(seeds, self.capacity, num_tasks, device=device)
        self.sources = (
            torch.empty(seeds, self.capacity, num_tasks, *route_shape, dtype=torch.uint8, device=device)
            if route_shape is not None
            else None
        )
        self._known = torch.zeros((), dtype=torch.float64, device=device)
        """How many transitions can be drawn, where a recorded update reads it."""
        self._oldest = torch.zeros((), dtype=torch.long, device=device)
        """And where in the ring they begin."""

    @property
    def seeds(self) -> int:
        """How many rings there are."""
        return len(self.totals)

    @property
    def total(self) -> int:
        """Transitions added to each ring since the beginning, overwritten ones included."""
        assert len(set(self.totals)) == 1, "seeds side by side step together"
        return self.totals[0]

    def __len__(self) -> int:
        """Number of transitions that can be drawn; a full ring has lost the one that is being overwritten."""
        return self.total if self.total < self.capacity else self.capacity - 1

    @property
    def bytes_per_transition(self) -> int:
        """Bytes of one task's transition, the extra observation of an episode left out."""
        tensors = [self.obs[0, 0, 0], self.action[0, 0, 0], self.reward[0, 0, :1]]
        if self.sources is not None:
            tensors.append(self.sources[0, 0, 0])
        return sum(t.numel() * t.element_size() for t in tensors)

    def begin_episode(self, obs: Tensor) -> None:
        """Store the first observation of an episode, [seed, task, 39]."""
        assert self.total % self.horizon == 0, "an episode begins where the last one has ended"
        self.obs[:, self.row(self.total % self.capacity)] = obs

    def add(self, action: Tensor, reward: Tensor, next_obs: Tensor, sources: Tensor | None) -> None:
        """Store a transition of every task: [seed, task, 4], [seed, task], [seed, task, 39], [seed, task, group, K]."""
        time = self.total % self.capacity
        self.action[:, time] = action
        self.reward[:, time] = reward
        self.obs[:, self.row(time) + 1] = next_obs
        if self.sources is not None:
            assert sources is not None, "this replay keeps routes"
            self.sources[:, time] = sources
        self.totals = [total + 1 for total in self.totals]
        if self.obs.device.type != "cpu":
            self.note_filling()

    def note_filling(self) -> None:
        """Write where a recorded update reads it how far the rings are filled."""
        known, oldest = self._drawable()
        self._known.fill_(known)
        self._oldest.fill_(oldest)

    def sample(self, size: int, streams: Streams) -> Batch:
        """Draw ``size`` time indices with replacement from each seed's stream, and return every task's transitions."""
        if streams[0].device.type != "cpu":
            return self.at(self.drawn_where_it_lies(size, streams))
        known, oldest = self._drawable()
        time = per_seed(streams, lambda stream: torch.randint(known, (size,), generator=stream))
        return self.at(((oldest + time) % self.capacity).to(self.action.device))

    def drawn_where_it_lies(self, size: int, streams: Streams) -> Tensor:
        """Time indices [seed, size] by operations alone, which a recording can repeat while the rings fill up."""
        share = per_seed(
            streams, lambda s: torch.rand(size, generator=s, device=s.device, dtype=torch.float64)
        )
        time = torch.minimum((share * self._known).floor(), self._known - 1).long()
        return (self._oldest + time) % self.capacity

    def sample_of(self, place: int, size: int, stream: torch.Generator) -> Batch:
        """A batch of one seed's transitions, as if it were alone, from any stream on the CPU."""
        known, oldest = self._drawable()
        time = (oldest + torch.randint(known, (1, size), generator=stream)) % self.capacity
        return self.at(time.to(self.action.device), slice(place, place + 1))

    def _drawable(self) -> tuple[int, int]:
        """How many transitions can be drawn, and where in the ring they begin."""
        return len(self), 0 if self.total < self.capacity else self.total % self.capacity + 1

    def at(self, time: Tensor, seeds: slice = slice(None)) -> Batch:
        """Return every task's transitions at the given time indices [seed, batch], of all seeds or some."""
        kernel = serving(self.obs)
        if kernel is not None:
            return self._copied(kernel, time, seeds)
        row = time + time // self.horizon
        reward = _at(self.reward[seeds], time)
        if self.time_limit_terminal:
            last = (time % self.horizon == self.horizon - 1).to(reward.dtype)
            terminal = last.unsqueeze(2).expand_as(reward)
        else:
            terminal = torch.zeros_like(reward)
        return Batch(
            _at(self.obs[seeds], row),
            _at(self.action[seeds], time),
            reward,
            _at(self.obs[seeds], row + 1),
            terminal,
            None if self.sources is None else _at(self.sources[seeds], time),
        )

    def _copied(self, kernel: Functions, time: Tensor, seeds: slice) -> Batch:
        """What :meth:`at` returns, by the library."""
        once = [self.action, self.reward, *([] if self.sources is None else [self.sources])]
        quantities = [Quantity(self.obs[seeds], 0), Quantity(self.obs[seeds], 1)]
        quantities += [Quantity(rings[seeds], None) for rings in once]
        found, terminal = transitions(kernel, quantities, time, self.horizon, self.time_limit_terminal)
        obs, next_obs, action, reward, *sources = found
        return Batch(obs, action, reward, next_obs, terminal, sources[0] if sources else None)

    def row(self, time: int) -> int:
        """Row of the observation before transition ``time``: each earlier slot holds one row more than transitions."""
        return time + time // self.horizon

    def ring(self, place: int) -> Ring:
        """The ring of the seed at ``place``."""
        return Ring(self, place)

    def keep(self, places: Sequence[int]) -> None:
        """Give up the rings of all other seeds."""
        self.totals = [self.totals[place] for place in places]
        for name in ("obs", "action", "reward", "sources"):
            whole = getattr(self, name)
            if whole is not None:
                setattr(self, name, whole[list(places)])


class Ring:
    """One seed's part of a replay, to be saved and restored."""

    def __init__(self, replay: Replay, place: int):
        self._replay, self._place = replay, place

    @property
    def capacity(self) -> int:
        """Transitions per task."""
        return self._replay.capacity

    @property
    def total(self) -> int:
        """Transitions added since the beginning, overwritten ones included."""
        return self._replay.totals[self._place]

    @total.setter
    def total(self, total: int) -> None:
        self._replay.totals[self._place] = total

    def export(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return transitions ``start`` to ``stop``, on the CPU, whichever device the replay lies on.

        They are counted since the beginning; the last ``capacity`` can be had.
        """
        index = self._index(start, stop)
        return {name: ring[index[name]].cpu() for name, ring in self._tensors().items()}

    def forms(self, start: int, stop: int) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Shape and type of each tensor that :meth:`export` returns."""
        rows = self._replay.row(stop - 1) + 2 - self._replay.row(start)
        return {
            name: (torch.Size((rows if name == "obs" else stop - start, *ring.shape[1:])), ring.dtype)
            for name, ring in self._tensors().items()
        }

    def restore(self, start: int, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`export` returned, and continue after it."""
        stop = start + len(tensors["action"])
        index = self._index(start, stop)
        for name, ring in self._tensors().items():
            ring[index[name]] = tensors[name].to(ring)
        self.total = stop

    def _tensors(self) -> dict[str, Tensor]:
        replay, place = self._replay, self._place
        rings = {"obs": replay.obs[place], "action": replay.action[place], "reward": replay.reward[place]}
        if replay.sources is not None:
            rings["sources"] = replay.sources[place]
        return rings

    def _index(self, start: int, stop: int) -> dict[str, Tensor]:
        """Where in each tensor transitions ``start`` to ``stop`` lie."""
        replay = self._replay
        device = replay.obs.device
        rows = torch.arange(replay.row(start), replay.row(stop - 1) + 2, device=device) % replay.obs.shape[1]
        time = torch.arange(start, stop, device=device) % replay.capacity
        return {"obs": rows, "action": time, "reward": time, "sources": time}


def _at(rings: Tensor, index: Tensor) -> Tensor:
    """Rows of each seed's ring: [seed, length, ...] at [seed, batch] is [seed, batch, ...]."""
    seeds, length = rings.shape[:2]
    if seeds > 1:
        index = index + length * torch.arange(seeds, device=index.device).unsqueeze(1)
    found = rings.flatten(0, 1).index_select(0, index.flatten())
    return found.view(seeds, -1, *found.shape[1:])
