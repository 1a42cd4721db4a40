"""Success rates: the deterministic policy, for whole episodes, success counted at any step.

An episode succeeds if Meta-World's success flag is set at any of its steps; it is not cut short then (official
``async_mt_para_collector.py``). A task's success is the mean over its episodes, a benchmark's the mean over tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from d2r.algorithms.policy import mean_action
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.networks.base import Network

OBSERVED_EVERY = 10
"""Of the evaluation states, the instruments look at every tenth."""


class Evaluation(NamedTuple):
    """One evaluation of a policy.

    Attributes:
        success: [task, episode] boolean.
        returns: [task, episode], sum of Meta-World's own (unscaled) rewards.
        states: [state, task, 39], every tenth visited observation.
    """

    success: npt.NDArray[np.bool_]
    returns: npt.NDArray[np.float64]
    states: npt.NDArray[np.float64]


def evaluate(
    env: MetaWorldVectorEnv,
    actor: Network,
    episodes: int,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Run ``episodes`` episodes of every task with tanh(mean) actions and deterministic routes.

    Args:
        env: built with ``evaluation=True``; it is reset, which starts its goals from the first.
        stop: asked at every step; when true, the evaluation is given up.

    Returns:
        The evaluation, or none if it was stopped.
    """
    horizon, scale = env.protocol.horizon, env.protocol.reward_scale
    success = np.zeros((env.num_envs, episodes), dtype=np.bool_)
    returns = np.zeros((env.num_envs, episodes))
    states = []
    observations = env.reset_arrays()
    parameter = next(actor.parameters())
    with torch.no_grad():
        for episode in range(episodes):
            for step in range(horizon):
                if stop():
                    return None
                if step % OBSERVED_EVERY == 0:
                    states.append(observations)
                seen = torch.from_numpy(observations).to(parameter).view(1, 1, env.num_envs, -1)
                action = mean_action(actor(seen).value)[0, 0].cpu().numpy()
                result = env.step_arrays(action)
                observations = result.observations
                success[:, episode] |= result.successes
                returns[:, episode] += result.rewards / scale
    return Evaluation(success, returns, np.stack(states))
