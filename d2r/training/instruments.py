"""What is measured beside success: rows for ``metrics.csv`` and ``routes.csv`` at every evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from d2r.algorithms.replay import Replay, Ring
from d2r.algorithms.sac import MultiTaskSAC, UpdateInfo
from d2r.config import RunConfig
from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.config.networks import RoutedConfig
from d2r.evaluation.success import Evaluation
from d2r.networks.compute import dense_multiply_adds
from d2r.networks.d2r.network import RoutedNetwork
from d2r.runs.tidy import Row
from d2r.training.growth import Growth, grow, modules_in_use
from d2r.training.routing_instruments import of_tasks, survey_replay, survey_routes
from d2r.training.seeding import Stream, seed_sequence

ROUTE_SNAPSHOTS = 10
"""``routes.csv`` holds the routes at about this many evaluations, evenly spread."""


class Averages:
    """Running sums of what updates report, kept where it is computed, turned into means at an evaluation.

    Seeds side by side update together, but each may have begun elsewhere: sums and counts are each seed's own.
    """

    def __init__(self, seeds: int, num_tasks: int, device: torch.device) -> None:
        self.counts = [0] * seeds
        self.of_task = torch.zeros(seeds, 5, num_tasks, dtype=torch.float64, device=device)
        self.norms = torch.zeros(seeds, 4, dtype=torch.float64, device=device)

    TASK_QUANTITIES = ("alpha_loss", "policy_loss", "q_loss", "entropy", "masked")
    NORMS = ("grad_norm_actor", "grad_norm_q1", "grad_norm_q2", "grad_norm_log_alpha")

    def add(self, info: UpdateInfo) -> None:
        """Add one update."""
        losses = info.losses
        self.counts = [count + 1 for count in self.counts]
        self.of_task += torch.stack(
            [
                losses.alpha,
                losses.policy,
                losses.critics.mean(1),
                -losses.log_prob,
                info.masked.to(losses.alpha),
            ],
            1,
        ).detach()
        seeds = len(info.masked)
        of_twins = info.critic_norm.reshape(seeds, 2, -1).mean(2)
        of_others = [norm.reshape(seeds, -1).mean(1) for norm in (info.actor_norm, info.alpha_norm)]
        self.norms += torch.stack([of_others[0], *of_twins.unbind(1), of_others[1]], 1).detach()

    def rows(self, place: int, step: int) -> list[Row]:
        """A seed's means since the last call of :meth:`clear`; nothing if there was no update."""
        count = self.counts[place]
        if count == 0:
            return []
        rows: list[Row] = []
        of_task, norms = (
            (self.of_task[place] / count).tolist(),
            (self.norms[place] / count).tolist(),
        )
        for name, values in zip(self.TASK_QUANTITIES, of_task, strict=True):
            rows += [(step, task, name, value) for task, value in enumerate(values)]
        rows += [(step, "", name, v) for name, v in zip(self.NORMS, norms, strict=True)]
        return rows

    def clear(self) -> None:
        """Begin anew."""
        self.counts = [0] * len(self.counts)
        self.of_task.zero_()
        self.norms.zero_()

    def of_seeds(self, places: Sequence[int]) -> Averages:
        """Those of some of the seeds."""
        kept = Averages(len(places), self.of_task.shape[2], self.of_task.device)
        kept.counts = [self.counts[place] for place in places]
        kept.of_task, kept.norms = self.of_task[list(places)], self.norms[list(places)]
        return kept

    def state_dict(self, place: int) -> dict[str, int | Tensor]:
        """A seed's sums."""
        return {
            "count": self.counts[place],
            "of_task": self.of_task[place].clone(),
            "norms": self.norms[place].clone(),
        }

    def load_state_dict(self, state: Mapping[str, int | Tensor], place: int) -> None:
        """Restore a seed's sums."""
        self.counts[place] = int(state["count"])
        self.of_task[place].copy_(torch.as_tensor(state["of_task"]))
        self.norms[place].copy_(torch.as_tensor(state["norms"]))


class Seat(NamedTuple):
    """A run's place in what the seeds of a cohort share."""

    learner: MultiTaskSAC
    averages: Averages
    replay: Replay
    place: int

    @property
    def ring(self) -> Ring:
        """Its part of the replay."""
        return self.replay.ring(self.place)


class Measured(NamedTuple):
    """Rows for ``metrics.csv`` and ``routes.csv``, a task given by its number; and whether the network has grown."""

    metrics: list[Row]
    routes: list[Row]
    grown: bool


class Instruments:
    """Everything that is measured of a run at an evaluation, and what of it must survive a restart."""

    def __init__(self, config: RunConfig):
        self.config = config
        self.growth: Growth | None = None
        if isinstance(config.network, RoutedConfig) and config.network.initial_modules is not None:
            self.growth = Growth(config.network.growth_patience, config.network.growth)
        self._frequency: Tensor | None = None
        self._last_step = 0

    def measure(self, evaluation: Evaluation, seat: Seat, step: int) -> Measured:
        """Measure after an evaluation at ``step``; a growing network may grow."""
        learner = seat.learner.alone(seat.place)
        success = evaluation.success.mean(1)
        rows: list[Row] = []
        for name, values in (("success", success), ("return", evaluation.returns.mean(1))):
            rows += [(step, task, name, float(value)) for task, value in enumerate(values)]
        rows += temperatures(learner, step)
        rows += seat.averages.rows(seat.place, step)
        rows += alpha_against_success(learner.alpha[0], success, step)
        routes: list[Row] = []
        actor = learner.actor
        if isinstance(actor, RoutedNetwork):
            survey = survey_routes(
                actor, evaluation.states, evaluation.success.shape[1], self._frequency, step
            )
            self._frequency = survey.frequency
            rows += survey.metrics
            if (
                step * ROUTE_SNAPSHOTS // self.config.budget.steps
                > self._last_step * ROUTE_SNAPSHOTS // self.config.budget.steps
            ):
                routes = survey.routes
            if seat.averages.counts[seat.place]:
                seed = seed_sequence(self.config.seed, Stream.INSTRUMENTS).spawn(1)[0].generate_state(1)[0]
                generator = torch.Generator().manual_seed(int(seed) + step)
                batch = seat.replay.sample_of(seat.place, self.config.sac.batch_per_task, generator)
                rows += survey_replay(learner, batch, step, generator)
        else:
            rows.append((step, "", "multiply_adds_dense", dense_multiply_adds(actor, OBSERVATION_DIM)))
        grown = False
        if self.growth is not None:
            rows.append((step, "", "modules_in_use", modules_in_use(seat.learner, seat.place)))
            if step < self.config.budget.steps:  # what is published is the network that was evaluated last
                grown = self.growth.is_due(float(success.mean())) and grow(seat.learner, seat.place)
        self._last_step = step
        return Measured(rows, routes, grown)

    def state_dict(self) -> dict[str, Any]:
        """The routes last seen, and what decides the next growth."""
        return {
            "frequency": self._frequency,
            "last_step": self._last_step,
            "growth": None if self.growth is None else self.growth.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._frequency, self._last_step = state["frequency"], state["last_step"]
        if self.growth is not None:
            self.growth.load_state_dict(state["growth"])


def temperatures(learner: MultiTaskSAC, step: int) -> list[Row]:
    """SAC temperature and route temperature of each task."""
    return of_tasks(step, {"alpha": learner.alpha[0], "route_temperature": learner.route_temperature[0]})


def alpha_against_success(alpha: Tensor, success: npt.NDArray[np.float64], step: int) -> list[Row]:
    """Spearman's rank correlation of alpha with success over tasks.

    It asks whether alpha is the proxy of mastery that route balancing takes it for. No row while either is the same for
    all tasks, where no rank correlation exists.
    """
    values = alpha.cpu().double().numpy()
    if np.ptp(values) == 0 or np.ptp(success) == 0:
        return []
    from scipy.stats import spearmanr  # noqa: PLC0415 - slow to import, and many short runs never come here

    return [(step, "", "alpha_success_rho", float(spearmanr(values, success).statistic))]
