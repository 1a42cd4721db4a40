"""What is measured beside success: rows for ``metrics.csv`` and ``routes.csv`` at every evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from d2r.algorithms.replay import Replay
from d2r.algorithms.sac import MultiTaskSAC, UpdateInfo
from d2r.config import RunConfig
from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.config.networks import RoutedConfig
from d2r.evaluation.success import Evaluation
from d2r.networks.base import ModularNetwork
from d2r.networks.compute import dense_multiply_adds
from d2r.runs.tidy import Row
from d2r.training.growth import Growth
from d2r.training.routing_instruments import of_tasks, survey_replay, survey_routes
from d2r.training.seeding import Stream, seed_sequence

ROUTE_SNAPSHOTS = 10
"""``routes.csv`` holds the routes at about this many evaluations, evenly spread."""


class Averages:
    """Running sums of what updates report, kept where it is computed, turned into means at an evaluation."""

    def __init__(self, num_tasks: int, device: torch.device) -> None:
        self.count = 0
        self.of_task = torch.zeros(5, num_tasks, dtype=torch.float64, device=device)
        self.norms = torch.zeros(4, dtype=torch.float64, device=device)

    TASK_QUANTITIES = ("alpha_loss", "policy_loss", "q_loss", "entropy", "masked")
    NORMS = ("grad_norm_actor", "grad_norm_q1", "grad_norm_q2", "grad_norm_log_alpha")

    def add(self, info: UpdateInfo) -> None:
        """Add one update."""
        losses = info.losses
        self.count += 1
        self.of_task += torch.stack(
            [
                losses.alpha,
                losses.policy,
                losses.critics.mean(0),
                -losses.log_prob,
                info.masked.to(losses.alpha),
            ]
        ).detach()
        norms = torch.stack(
            [info.actor_norm.mean(), *info.critic_norm.reshape(2, -1).mean(1), info.alpha_norm.mean()]
        )
        self.norms += norms.detach()

    def rows(self, step: int) -> list[Row]:
        """Means since the last call of :meth:`clear`; nothing if there was no update."""
        if self.count == 0:
            return []
        rows: list[Row] = []
        for name, values in zip(self.TASK_QUANTITIES, (self.of_task / self.count).tolist(), strict=True):
            rows += [(step, task, name, value) for task, value in enumerate(values)]
        rows += [
            (step, "", name, v)
            for name, v in zip(self.NORMS, (self.norms / self.count).tolist(), strict=True)
        ]
        return rows

    def clear(self) -> None:
        """Begin anew."""
        self.count = 0
        self.of_task.zero_()
        self.norms.zero_()

    def state_dict(self) -> dict[str, int | Tensor]:
        """The sums."""
        return {"count": self.count, "of_task": self.of_task.clone(), "norms": self.norms.clone()}

    def load_state_dict(self, state: dict[str, int | Tensor]) -> None:
        """Restore the sums."""
        self.count = int(state["count"])
        self.of_task.copy_(torch.as_tensor(state["of_task"]))
        self.norms.copy_(torch.as_tensor(state["norms"]))


class Measured(NamedTuple):
    """Rows for ``metrics.csv`` and for ``routes.csv``; a task is given by its number."""

    metrics: list[Row]
    routes: list[Row]


class Instruments:
    """Everything that is measured at an evaluation, and what of it must survive a restart.

    Args:
        config: of the run.
        learner: whose updates are averaged and whose networks are looked at.
    """

    def __init__(self, config: RunConfig, learner: MultiTaskSAC):
        self.config, self.learner = config, learner
        self.averages = Averages(config.num_tasks, learner.log_alpha.device)
        self.growth: Growth | None = None
        if isinstance(config.network, RoutedConfig) and config.network.initial_modules is not None:
            self.growth = Growth(learner, config.network.growth_patience)
        self._frequency: Tensor | None = None
        self._last_step = 0

    def measure(self, evaluation: Evaluation, replay: Replay, step: int) -> Measured:
        """Measure after an evaluation at ``step``; averages begin anew, and a growing network may grow."""
        success = evaluation.success.mean(1)
        rows: list[Row] = []
        for name, values in (("success", success), ("return", evaluation.returns.mean(1))):
            rows += [(step, task, name, float(value)) for task, value in enumerate(values)]
        rows += temperatures(self.learner, step)
        rows += self.averages.rows(step)
        rows += alpha_against_success(self.learner.alpha, success, step)
        routes: list[Row] = []
        actor = self.learner.actor
        if isinstance(actor, ModularNetwork):
            survey = survey_routes(actor, evaluation.states, self._frequency, step)
            self._frequency = survey.frequency
            rows += survey.metrics
            if (
                step * ROUTE_SNAPSHOTS // self.config.budget.steps
                > self._last_step * ROUTE_SNAPSHOTS // self.config.budget.steps
            ):
                routes = survey.routes
            if self.averages.count:
                seed = seed_sequence(self.config.seed, Stream.INSTRUMENTS).spawn(1)[0].generate_state(1)[0]
                generator = torch.Generator().manual_seed(int(seed) + step)
                batch = replay.sample(self.config.sac.batch_per_task, generator)
                rows += survey_replay(self.learner, batch, step, generator)
        else:
            rows.append((step, "", "multiply_adds_dense", dense_multiply_adds(actor, OBSERVATION_DIM)))
        if self.growth is not None:
            rows.append((step, "", "modules_in_use", self.growth.modules))
            if step < self.config.budget.steps:  # what is published is the network that was evaluated last
                self.growth.after_evaluation(float(success.mean()))
        self.averages.clear()
        self._last_step = step
        return Measured(rows, routes)

    def state_dict(self) -> dict[str, Any]:
        """Averages so far, the routes last seen, and what decides the next growth."""
        return {
            "averages": self.averages.state_dict(),
            "frequency": self._frequency,
            "last_step": self._last_step,
            "growth": None if self.growth is None else self.growth.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.averages.load_state_dict(state["averages"])
        self._frequency, self._last_step = state["frequency"], state["last_step"]
        if self.growth is not None:
            self.growth.load_state_dict(state["growth"])


def temperatures(learner: MultiTaskSAC, step: int) -> list[Row]:
    """SAC temperature and route temperature of each task."""
    return of_tasks(step, {"alpha": learner.alpha, "route_temperature": learner.route_temperature})


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
