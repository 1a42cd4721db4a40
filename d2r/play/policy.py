"""A published policy to be called: observations in, actions and routes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from d2r.algorithms.policy import mean_action
from d2r.config import RunConfig
from d2r.config.benchmarks import OBSERVATION_DIM
from d2r.errors import UserError
from d2r.networks.base import Network, Output
from d2r.networks.d2r import route_graph
from d2r.runs.record import RunRecord, read_config, read_run
from d2r.verify.policy import load_actor


class Policy:
    """The actor of a run, with tanh(mean) actions and deterministic routes, as evaluations have them.

    An observation is what Meta-World's multi-task benchmarks and :class:`~d2r.envs.vector.MetaWorldVectorEnv` return:
    39 numbers of the state and a one-hot task. Rows may be of any tasks, in any order and number.

    Args:
        actor: in evaluation mode.
        config: of the run.
    """

    def __init__(self, actor: Network, config: RunConfig) -> None:
        self.actor, self.config = actor, config
        self.task_names = config.tasks

    def __repr__(self) -> str:
        config = self.config
        return f"<policy of {config.scale}/{config.benchmark}/{config.method}/seed{config.seed}>"

    def act(self, observation: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Actions [..., 4], each in (-1, 1), for observations [..., 39 + tasks].

        Raises:
            UserError: if the observations have another width, or their tasks are not one-hot.
        """
        output, place, shape = self._decide(observation)
        actions: npt.NDArray[np.float32] = mean_action(output.value)[0][place].float().cpu().numpy()
        return actions.reshape(*shape, actions.shape[-1])

    def route(self, observation: npt.ArrayLike) -> npt.NDArray[np.float32] | None:
        """Weights [..., target, source] of what each target reads, none if the network has no routes.

        Of N modules, row t < N - 1 is what module t + 2 reads, the last one what the output reads; column s is module
        s + 1 (modules are counted from 1).

        Raises:
            UserError: as :meth:`act`.
        """
        output, place, shape = self._decide(observation)
        if output.route is None:
            return None
        edges: npt.NDArray[np.float32] = route_graph.edges(output.route)[0][place].float().cpu().numpy()
        return edges.reshape(*shape, *edges.shape[1:])

    def eval_action(self, observations: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """:meth:`act`, under the name that ``metaworld.evaluation`` calls."""
        return self.act(observations)

    def reset(self, env_mask: npt.NDArray[np.bool_]) -> None:
        """Begin new episodes where the mask says so, as ``metaworld.evaluation`` asks: nothing is remembered."""

    def _decide(self, observation: npt.ArrayLike) -> tuple[Output, tuple[Tensor, Tensor], tuple[int, ...]]:
        """The network's answer to rows laid out by task, where in [batch, task] each lies, and their leading shape.

        One row of every task, in order, is one batch of all tasks, and so the very product of an evaluation.
        """
        given = np.asarray(observation, dtype=np.float64)
        tasks = len(self.task_names)
        if given.ndim == 0 or given.shape[-1] != OBSERVATION_DIM + tasks:
            raise UserError(
                f"observations have shape {given.shape}: the last axis must be {OBSERVATION_DIM} numbers and "
                f"{self.config.benchmark}'s one-hot task, {OBSERVATION_DIM + tasks} together"
            )
        rows = given.reshape(-1, given.shape[-1])
        one_hot = rows[:, OBSERVATION_DIM:]
        task = one_hot.argmax(1)
        if not np.array_equal(one_hot, np.eye(tasks)[task]):
            raise UserError(
                "observations do not end with a one-hot task; make the environment with use_one_hot=True"
            )
        before = (task[:, None] == task[None, :]) & np.tri(len(task), k=-1, dtype=np.bool_)
        batch = before.sum(1)
        states = np.zeros((int(batch.max(initial=0)) + 1, tasks, OBSERVATION_DIM))
        states[batch, task] = rows[:, :OBSERVATION_DIM]
        parameter = next(self.actor.parameters())
        with torch.no_grad():
            output = self.actor(torch.from_numpy(states).to(parameter).unsqueeze(0))
        return output, (torch.from_numpy(batch), torch.from_numpy(task)), given.shape[:-1]


def load_policy(run: str | Path) -> Policy:
    """Load the policy of a finished run, from its folder.

    Args:
        run: such as ``results/smoke/runs/mt10-rand/d2r/seed1``; the policy of a released run comes with ``dvc pull``.

    Raises:
        UserError: if the folder is no finished run, or its policy is absent or not the one that it published.
    """
    return read_policy(Path(run))[1]


def read_policy(run: Path) -> tuple[RunRecord, Policy]:
    """A finished run's record and its policy; raises as :func:`load_policy`."""
    record = read_run(run)
    config = read_config(run, record)
    if not record.finished:
        raise UserError(f"{run}: this run failed; only a finished run has a policy to call")
    return record, Policy(load_actor(run, record, config), config)
