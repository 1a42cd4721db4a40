"""What is measured beside success: rows for ``metrics.csv`` and ``routes.csv`` at every evaluation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from d2r.algorithms.sac import MultiTaskSAC, UpdateInfo
from d2r.training.metrics import Row


class Averages:
    """Running sums of what updates report, turned into means at an evaluation."""

    def __init__(self, num_tasks: int) -> None:
        self.count = 0
        self.of_task = torch.zeros(5, num_tasks, dtype=torch.float64)
        self.norms = torch.zeros(4, dtype=torch.float64)

    TASK_QUANTITIES = ("alpha_loss", "policy_loss", "q_loss", "entropy", "masked")
    NORMS = ("grad_norm_actor", "grad_norm_q1", "grad_norm_q2", "grad_norm_log_alpha")

    def add(self, info: UpdateInfo) -> None:
        """Add one update."""
        losses = info.losses
        self.count += 1
        self.of_task += torch.stack(
            [losses.alpha, losses.policy, losses.critics.mean(0), -losses.log_prob, info.masked.to(losses.alpha)]
        ).detach()
        norms = torch.stack([info.actor_norm.mean(), *info.critic_norm.reshape(2, -1).mean(1), info.alpha_norm.mean()])
        self.norms += norms.detach()

    def rows(self, step: int) -> list[Row]:
        """Means since the last call of :meth:`clear`; nothing if there was no update."""
        if self.count == 0:
            return []
        rows: list[Row] = []
        for name, values in zip(self.TASK_QUANTITIES, (self.of_task / self.count).tolist(), strict=True):
            rows += [(step, task, name, value) for task, value in enumerate(values)]
        rows += [(step, "", name, v) for name, v in zip(self.NORMS, (self.norms / self.count).tolist(), strict=True)]
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
    """Rows for the two files."""

    metrics: list[Row]
    routes: list[Row]


def temperatures(learner: MultiTaskSAC, step: int) -> list[Row]:
    """SAC temperature and route temperature of each task."""
    rows: list[Row] = []
    for name, values in (("alpha", learner.alpha), ("route_temperature", learner.route_temperature)):
        rows += [(step, task, name, value) for task, value in enumerate(values.tolist())]
    return rows
